"""Grouped acceptance (GSD): compare the mass of a group around the draft under p and q.

ratio(x) = P/Q over the group of x; on acceptance the draft itself is kept. Groups by `source`:
  target     the size tokens around x in the target's own ranking (what GSD runs); these overlap
  draft      the same in the draft's ranking
  blocks     the target's ranking cut into blocks of `size`: a true partition
  clustering a fixed partition of the tokens, by a component of its own, whatever `size` is: the
             baseline that GSD found ineffective. Nobody counts tokens here, so all weigh the same
Filters keep y with |p(y) - p(x)| < probability and squared distance below the `distance` quantile
of all pairs; x itself always stays (the released code drops it at a threshold of 0, and then every
draft is rejected from a wrong law). A draft with p(x) = 0 is refused whatever its group. The
ranking is sorted once per window, not once per slot.
Equivalences: size 1, probability 0 or distance 0 is exact; a filter of 1 is off.
Source: So et al., "Grouped speculative decoding" (ICCV 2025, arXiv:2508.07747).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from paretoken.evaluators.clusters.clustering import Clustering
from paretoken.evaluators.components.verifiers.exact import Exact
from paretoken.evaluators.engine.geometry import SPACES, Geometry, Space
from paretoken.evaluators.engine.verifier import PerToken
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.component import Component, knob, part


class Grouped(PerToken):
    """Keep a draft as often as the target would have something of its group."""

    modality = "image"

    size: int = knob(
        14, low=1, high=1024, grid=(2, 3, 5, 8, 10, 14, 25, 50), log=True, doc="Group size."
    )
    probability: float = knob(
        0.15,
        low=0.0,
        high=1.0,
        grid=(0.02, 0.05, 0.15, 1.0),
        doc="Largest |p(y) - p(x)| in a group.",
    )
    distance: float = knob(
        1.0,
        low=0.0,
        high=1.0,
        grid=(0.01, 0.05, 0.2, 1.0),
        doc="Distance threshold, as a quantile.",
    )
    space: Space = knob("normalised", among=SPACES, doc="Where distances are measured.")
    source: str = knob(
        "target", among=("target", "draft", "blocks", "clustering"), doc="What forms the groups."
    )
    clustering: Clustering = part(
        "clusterings", default="kmeans", doc="The fixed partition, of source clustering."
    )

    @property
    def relaxes_only(self) -> bool:
        return False  # a group may hold less of p than of q although its member does not

    def ratio(
        self, p: Tensor, q: Tensor, tokens: Tensor, slot: Tensor, geometry: Geometry
    ) -> Tensor:
        if self.source == "clustering" and self.probability == 1.0 and self.distance == 1.0:
            return self._of_clusters(p, q, tokens, geometry)
        members, present = self._members(p, q, tokens, geometry)
        flat = members.flatten(-2)
        p_members = p.gather(-1, flat).view(members.shape)
        q_members = q.gather(-1, flat).view(members.shape)
        own = tokens.unsqueeze(-1)
        near = torch.ones_like(present)
        if self.probability < 1.0:
            gap = (p_members - p.gather(-1, tokens).unsqueeze(-1)).abs()
            near = near & (gap < self.probability)
        if self.distance < 1.0:
            limit = geometry.quantile(self.space, self.distance)
            near = near & (geometry.squared_distance(self.space, members, own) < limit)
        # x stays, but once: at the edges of the ranking, places that do not exist point at it too.
        present = present & (near | (members == own))
        return (p_members * present).sum(-1) / (q_members * present).sum(-1)

    def _of_clusters(self, p: Tensor, q: Tensor, tokens: Tensor, geometry: Geometry) -> Tensor:
        """The ratio where nothing filters a fixed partition: masses are summed once for all."""
        found = geometry.clusters(self.space, self.clustering)
        of = found.labels.expand_as(p)
        mass = [law.new_zeros(*law.shape[:-1], found.number) for law in (p, q)]
        over, under = (
            total.scatter_add_(-1, of, law).gather(-1, found.labels[tokens])
            for total, law in zip(mass, (p, q), strict=True)
        )
        return over / under

    def _members(
        self, p: Tensor, q: Tensor, tokens: Tensor, geometry: Geometry
    ) -> tuple[Tensor, Tensor]:
        """Tokens of each group, [..., K, G] int64, and which of them exist, the same shape."""
        vocabulary = p.shape[-1]
        if self.source == "clustering":
            found = geometry.clusters(self.space, self.clustering)
            label = found.labels
            offset = torch.arange(found.largest, device=p.device)
            place = found.starts[tokens].unsqueeze(-1) + offset
            members = found.order[place.clamp(max=vocabulary - 1)]
            return members, (place < vocabulary) & (label[members] == label[tokens].unsqueeze(-1))
        ranking = (
            (q if self.source == "draft" else p).sort(dim=-1, descending=True, stable=True).indices
        )
        places = torch.arange(vocabulary, device=p.device).expand_as(ranking)
        rank = torch.empty_like(ranking).scatter_(-1, ranking, places).gather(-1, tokens)
        offsets = torch.arange(self.size, device=p.device)
        if self.source == "blocks":
            place = (rank // self.size * self.size).unsqueeze(-1) + offsets
        else:  # as many likelier as less likely tokens; of an even size, one more of the latter
            place = rank.unsqueeze(-1) + offsets - (self.size - 1) // 2
        exists = (place >= 0) & (place < vocabulary)
        inside = place.clamp(0, vocabulary - 1)
        return ranking.gather(-1, inside.flatten(-2)).view(inside.shape), exists

    def simplified(self) -> Component:
        fixed = self.source == "clustering"
        if (self.size == 1 and not fixed) or self.probability == 0.0 or self.distance == 0.0:
            return Exact()
        simpler: dict[str, Any] = {}
        if fixed:
            if self.size != self.fields["size"].default:
                simpler["size"] = self.fields["size"].default
            if self.clustering.weighting != "uniform":
                simpler["clustering.weighting"] = "uniform"
        else:
            if self.clustering != _usual():
                simpler["clustering"] = _usual()
            if self.distance == 1.0 and self.space != SPACES[0]:
                simpler["space"] = SPACES[0]
        simplest: Component = self.clone(override=simpler) if simpler else self
        return simplest


@cache
def _usual() -> Component:
    """What stands for a clustering that nobody asks."""
    return from_tree({"is": "clusterings/kmeans"}, "clusterings")


plugin = Grouped
