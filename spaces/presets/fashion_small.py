"""A space for a first search on two CPU cores: Jacobi drafts, and four ways to be less exact.

Plain decoding is measured by every study, so it is no choice here. Groups are compared by
probability alone; the sampling law is the model's own.
"""

from __future__ import annotations

from paretoken.spaces.candidate import Candidate
from paretoken.spaces.derive import derive
from paretoken.spaces.space import Space


def fashion_small() -> Space:
    """One decoder family with windows, couplings and relaxed verifiers; runtime as it is."""
    return (
        Space(derive(Candidate, modality="image"))
        .fix("decoder", "speculative")
        .fix("decoder.drafter", "jacobi")
        .narrow("jacobi.window", (4, 8, 16))
        .narrow("jacobi.coupling", ("none", "gumbel"))
        .fix("jacobi.init", "random")
        .narrow("decoder.verifier", ("exact", "amplified", "grouped", "latent_neighbour"))
        .narrow("amplified.factor", (1.5, 2.0, 3.0))
        .narrow("grouped.size", (2, 3, 4, 8))
        .narrow("grouped.source", ("target", "blocks"))
        .fix("grouped.probability", 1.0)
        .fix("grouped.distance", 1.0)
        .fix("grouped.space", "normalised")
        .fix("grouped.clustering", "kmeans")
        .fix("kmeans.clusters", 32)
        .fix("kmeans.metric", "euclidean")
        .narrow("latent_neighbour.k", (5, 10, 30))
        .fix("latent_neighbour.bound_kind", "additive")
        .narrow("latent_neighbour.bound", (0.1, 0.2, 0.4))
        .fix("latent_neighbour.space", "normalised")
        .narrow("decoder.residual", ("exact", "matched"))
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


plugin = fashion_small
