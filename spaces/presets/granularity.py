"""How many clusters, and by which algorithm, all else equal: for a grid.

Number 0 of a study has as many clusters as codes already, and one cluster is the same whoever finds
it; `--set clusters=1,16,256` leaves fewer.
"""

from __future__ import annotations

from paretoken.spaces.derive import derive
from paretoken.spaces.space import Space


def granularity() -> Space:
    """Three algorithms at nine numbers of clusters, each stage sampled as it was trained."""
    space = (
        Space(derive("candidates/coarse_to_fine"))
        .narrow("clustering", ("agglomerative", "balanced", "kmeans"))
        .fix("clustering.metric", "euclidean")
        .fix("aux_depth", 2)
        .fix("aux_width", 1.0)
        .fix("aux_attention", "full")
        .fix("aux_masked", True)
        .fix("fine_target", "code")
        .fix("aux_share", 0.5)
        .fix("runtime.dtype", "auto")
        .fix("runtime.batch", 1)
        .fix("runtime.graphs", True)
    )
    usual = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "cfg": 1.0, "cfg_interval": -1}
    for stage in ("coarse", "fine"):
        for name, value in usual.items():
            space = space.fix(f"{stage}.{name}", value)
    return space


plugin = granularity
