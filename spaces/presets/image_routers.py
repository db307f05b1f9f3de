"""Ways to leave layers of an image model out: routers by class, schedules and static sets."""

from __future__ import annotations

from paretoken.spaces.candidate import Candidate
from paretoken.spaces.derive import derive
from paretoken.spaces.space import Space


def image_routers() -> Space:
    """Depths that learn, and calibrated sets; one token a forward, of the model's own law."""
    return (
        Space(derive(Candidate, modality="image"))
        .fix("decoder", "shortened")
        .fix("decoder.drafter", "none")
        .fix("decoder.verifier", "exact")
        .fix("decoder.residual", "exact")
        .fix("decoder.length", "fixed")
        .fix("sampling.temperature", 1.0)
        .fix("sampling.top_k", 0)
        .fix("sampling.top_p", 1.0)
        .fix("sampling.cfg", 1.0)
        .fix("sampling.cfg_interval", -1)
        .fix("runtime.dtype", "auto")
        .fix("runtime.batch", 1)
        .fix("runtime.graphs", True)
    )


plugin = image_routers
