"""Everything paretoken can vary about a subword tokenizer: families, vocabularies, words, bytes."""

from __future__ import annotations

from paretoken.spaces.derive import derive
from paretoken.spaces.space import Space


def subword() -> Space:
    """The derived space of a candidate that is a tokenizer."""
    return Space(derive("candidates/tokenizing"))


plugin = subword
