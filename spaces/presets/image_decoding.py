"""Everything paretoken can vary when a model decodes images: a large space.

Every decoder part and knob is derived; the sampling law keeps near the model's own, where image
models are used (`temperature`, `top_k`, `cfg`), and the runtime is the user's to fix.
"""

from __future__ import annotations

from paretoken.spaces.candidate import Candidate
from paretoken.spaces.derive import derive
from paretoken.spaces.space import Space


def image_decoding() -> Space:
    """The derived space of a candidate, with sensible sampling laws and the default runtime."""
    return (
        Space(derive(Candidate, modality="image"))
        .fix("decoder", "speculative")
        .fix("grouped.clustering", "kmeans")
        .fix("kmeans.metric", "euclidean")
        .narrow("sampling.temperature", (0.9, 0.95, 1.0, 1.05, 1.1))
        .narrow("sampling.top_k", (0, 500, 1000, 2000, 8000))
        .narrow("sampling.top_p", (0.9, 0.95, 1.0))
        .narrow("sampling.cfg", (1.0, 1.25, 1.5, 2.0, 3.0, 4.0))
        .fix("sampling.cfg_interval", -1)
        .fix("runtime.dtype", "auto")
        .fix("runtime.batch", 1)
        .fix("runtime.graphs", True)
    )


plugin = image_decoding
