"""Coarse to fine: a causal model of clusters, then all codes in one pass of an auxiliary model.

The first stage predicts the cluster of every token, one after the other; the second sees all
clusters at once and chooses a code in each, independently of each other.
Equivalences: one cluster leaves the first stage nothing to say, so its sampling law is inert, and
so is the mask; a fine target of ranks knows no code outside of a cluster, so it is masked anyhow.
With as many clusters as codes the second stage is the identity (the workload knows how many there
are: such candidates share their measurements).
Source: Guo et al., "Improving autoregressive image generation through coarse-to-fine token
prediction" (2025, arXiv:2503.16194). Restricting codes to their cluster is ours.
"""

from __future__ import annotations

from typing import Any

from paretoken.evaluators.clusters.clustering import Clustering
from paretoken.evaluators.engine.sampling import Sampling
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.component import Component, knob, part


class CoarseToFine(Component):
    """A clustering of the codes, two models that are trained for it, and how both are sampled."""

    kind = "candidates"

    clustering: Clustering = part(
        "clusterings", default="kmeans", doc="Which codes the first stage does not tell apart."
    )
    aux_depth: int = knob(
        2, low=1, high=8, grid=(1, 2, 4), log=True, doc="Layers of the auxiliary model."
    )
    aux_width: float = knob(
        1.0, low=0.25, high=4.0, grid=(0.5, 1.0), log=True,
        doc="Its width, as a multiple of the first stage's; in whole heads.",
    )  # fmt: skip
    aux_attention: str = knob(
        "full", among=("full", "causal"), doc="What it sees of the clusters: all, or none ahead."
    )
    aux_masked: bool = knob(True, doc="Whether it may choose codes of the given cluster only.")
    fine_target: str = knob(
        "code",
        among=("code", "rank"),
        doc="What it predicts: the code, or its place in the cluster.",
    )
    aux_share: float = knob(
        0.5, low=0.0, high=1.0, grid=(0.25, 0.5),
        doc="Share of the training arithmetic that it is given, where there are two stages.",
    )  # fmt: skip
    coarse: Sampling = part(
        "samplings", default="standard", doc="How clusters are drawn (temperature, top-k, cfg)."
    )
    fine: Sampling = part("samplings", default="standard", doc="How codes are drawn.")
    runtime: Component = part("runtimes", default="local", doc="Precision, batch and capture.")
    budget: float = knob(
        1.0, low=0.001, high=1.0, grid=(1.0,), doc="Share of the workload's arithmetic."
    )

    def simplified(self) -> Component:
        simpler: dict[str, Any] = {}
        alone = self.clustering.count == 1
        if not self.aux_masked and (alone or self.fine_target == "rank"):
            simpler["aux_masked"] = True
        if alone:
            if self.fine_target != "code":  # both are the same number
                simpler["fine_target"] = "code"
            if self.aux_share != self.fields["aux_share"].default:
                simpler["aux_share"] = self.fields["aux_share"].default
            usual = from_tree({"is": "samplings/standard"}, "samplings")
            if self.coarse != usual:
                simpler["coarse"] = usual
        simplest: Component = self.clone(override=simpler) if simpler else self
        return simplest


plugin = CoarseToFine
