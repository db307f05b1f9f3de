"""The space text-decoding for a model with a trained draft head, which drafts as well.

Searched where a head ships with the model or is named (`--option head=FILE`).
"""

from __future__ import annotations

from paretoken.spaces.presets.text_decoding import ALONE, text_decoding
from paretoken.spaces.space import Space


def text_with_head() -> Space:
    """The derived space of a candidate for text, with all drafters that need no second model."""
    return text_decoding((*ALONE, "head"))


plugin = text_with_head
