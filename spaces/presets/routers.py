"""Layers of a language model left out: by routers, schedules and sets, with LoRA or not.

Searched under greedy decoding. The baselines are in it: static sets by rule and by calibration at
the same shares, and LoRA with nothing left out; so are lossless drafters that use what was learnt.
It is learnt when it is first met. `--set decoder=shortened` leaves the drafters out.
"""

from __future__ import annotations

from paretoken.spaces.candidate import Candidate
from paretoken.spaces.derive import derive
from paretoken.spaces.space import Space


def routers() -> Space:
    """Depths that learn, and calibrated sets, as the model itself or as its drafter."""
    return (
        Space(derive(Candidate, modality="text"))
        .fix("shortened.drafter", "none")
        .narrow("shortened.depth", ("fixed", "routed", "by_position"))
        .narrow("speculative.drafter", ("fewer_layers", "skip_layers"))
        .narrow("fewer_layers.depth", ("fixed", "routed"))
        .narrow("fixed.skipped", (0.0, 0.1, 0.2, 0.3))
        .fix("by_position.first", 1.0)
        .fix("by_position.warm_up", 16)
        .fix("decoder.verifier", "exact")
        .fix("decoder.residual", "exact")
        .fix("decoder.length", "fixed")
        .fix("decoder.drafts", 1)
        .fix("decoder.choice", "likeliest")
        .narrow("decoder.window", (2, 3, 4))
        .fix("sampling.temperature", 0.0)
        .fix("sampling.top_k", 0)
        .fix("sampling.top_p", 1.0)
        .fix("sampling.cfg", 1.0)
        .fix("sampling.cfg_interval", -1)
        .fix("runtime.dtype", "auto")
        .fix("runtime.batch", 1)
        .fix("runtime.graphs", True)
    )


plugin = routers
