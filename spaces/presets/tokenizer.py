"""Everything paretoken can vary about an image tokenizer: families, grids, codebooks, decoding."""

from __future__ import annotations

from paretoken.spaces.derive import derive
from paretoken.spaces.space import Space


def tokenizer() -> Space:
    """The derived space of a candidate that is an image tokenizer."""
    return Space(derive("candidates/image_tokenizing"))


plugin = tokenizer
