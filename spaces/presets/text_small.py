"""A space for a first search with a language model on two CPU cores: drafts that cost no model."""

from __future__ import annotations

from paretoken.spaces.presets.text_decoding import text_decoding
from paretoken.spaces.space import Space


def text_small() -> Space:
    """Prompt lookup and aggressive decoding, exact and a little relaxed."""
    return (
        text_decoding()
        .fix("decoder", "speculative")
        .narrow("decoder.drafter", ("prompt_lookup", "aggressive"))
        .narrow("prompt_lookup.window", (5, 8, 11))
        .narrow("prompt_lookup.ngram", (1, 2, 3))
        .fix("prompt_lookup.which", "first")
        .fix("prompt_lookup.drafts", 1)
        .narrow("aggressive.window", (9, 17))
        .fix("aggressive.ngram", 3)
        .narrow("decoder.verifier", ("exact", "top_beta"))
        .narrow("top_beta.beta", (3, 5))
        .narrow("top_beta.tau", (0.5, 1.0, 2.0))
        .fix("decoder.length", "fixed")
    )


plugin = text_small
