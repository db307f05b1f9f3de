"""Superposed decoding beside beam search, branching and nucleus sampling: several suggestions."""

from __future__ import annotations

from paretoken.spaces.candidate import Candidate
from paretoken.spaces.derive import derive
from paretoken.spaces.space import Space


def suggestions() -> Space:
    """Every decoder of suggestions with its knobs; sampling, which they ignore, as it is."""
    return (
        Space(derive(Candidate, modality="suggestions"))
        .narrow("decoder", ("superposed", "beam_search", "branching", "nucleus"))
        # N-grams alone, without the model, are no decoder of the model.
        .narrow("superposed.smoothing", ("geom", "none"))
        .fix("sampling.temperature", 1.0)
        .fix("sampling.top_k", 0)
        .fix("sampling.top_p", 1.0)
        .fix("sampling.cfg", 1.0)
        .fix("sampling.cfg_interval", -1)
        .fix("runtime.dtype", "auto")
        .fix("runtime.batch", 1)
        .fix("runtime.graphs", True)
    )


plugin = suggestions
