"""Everything paretoken can vary about coarse-to-fine prediction, sampled near the models' laws."""

from __future__ import annotations

from paretoken.spaces.derive import derive
from paretoken.spaces.space import Space


def clusters() -> Space:
    """The derived space of a candidate of two stages, at the workload's full budget."""
    return (
        Space(derive("candidates/coarse_to_fine"))
        .narrow("coarse.temperature", (0.9, 1.0, 1.1))
        .narrow("fine.temperature", (0.0, 0.7, 0.9, 1.0))
        .narrow("coarse.top_k", (0, 8, 32, 128))
        .narrow("fine.top_k", (0, 2, 8))
        .fix("coarse.top_p", 1.0)
        .fix("fine.top_p", 1.0)
        .narrow("coarse.cfg", (1.0, 1.25, 1.5, 2.0))
        .narrow("fine.cfg", (1.0, 1.25, 1.5, 2.0))
        .fix("coarse.cfg_interval", -1)
        .fix("fine.cfg_interval", -1)
        .fix("runtime.dtype", "auto")
        .fix("runtime.batch", 1)
        .fix("runtime.graphs", True)
    )


plugin = clusters
