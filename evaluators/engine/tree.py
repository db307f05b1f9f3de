"""The shape of a tree of drafts: which levels it has, and what each of its nodes may look at.

Nodes come level by level, so that a shallower tree is the front of a deeper one. Slot 0 is the
pending token, slot n + 1 is node n. A shape is known on the host and made into tensors once, which
are kept for good: a CUDA graph of a round reads them where they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from paretoken.spaces.errors import BadInput


def side_by_side(drafts: int, depth: int) -> tuple[int, ...]:
    """The parents of so many chains of `depth` nodes each."""
    return tuple(max(-1, node - drafts) for node in range(drafts * depth))


@cache
def levels(parents: tuple[int, ...]) -> tuple[slice, ...]:
    """The nodes of each level; raises BadInput where nodes do not come level by level."""
    depth = _depths(parents)
    if list(depth) != sorted(depth):
        raise BadInput(
            f"the nodes of a tree come level by level, but with parents {parents} their depths are "
            f"{depth}: sort them by depth."
        )
    first = [depth.index(level) for level in range(1, max(depth, default=0) + 1)]
    return tuple(map(slice, first, [*first[1:], len(depth)]))


def _depths(parents: tuple[int, ...]) -> tuple[int, ...]:
    depth: list[int] = []
    for node, parent in enumerate(parents):
        if not -1 <= parent < node:
            raise BadInput(f"the parent of node {node} comes before it, and is not {parent}.")
        depth.append(1 if parent < 0 else depth[parent] + 1)
    return tuple(depth)


@dataclass(frozen=True)
class Tree:
    """A stretch of W slots of a tree, of which `first` slots came before.

    depth: [W], tokens between a slot and the pending token. sees: [W, first + W] bool, the slots on
    the way to each, its own included. lineage: [nodes, levels] int64, the nodes on the way to every
    node, its own last and repeated behind. above: [nodes] int64, which of the level above is each
    node's parent.
    """

    first: int
    depth: Tensor
    sees: Tensor
    lineage: Tensor
    above: Tensor

    def part(self, begin: int, end: int) -> Tree:
        """Slots begin … end - 1 of a whole tree, fed when those before have been."""
        return Tree(
            begin, self.depth[begin:end], self.sees[begin:end, :end], self.lineage, self.above
        )


@cache
def tree_of(parents: tuple[int, ...], device: torch.device) -> Tree:
    """The whole tree whose node n hangs at node parents[n], -1 being the pending token."""
    depth, ways = _depths(parents), [[0]]
    for node, parent in enumerate(parents):
        ways.append([*ways[parent + 1], node + 1])
    sees = torch.zeros(len(ways), len(ways), dtype=torch.bool)
    for slot, way in enumerate(ways):
        sees[slot, way] = True
    most = max(depth, default=0)
    padded = [[slot - 1 for slot in way[1:] + way[-1:] * (most + 1 - len(way))] for way in ways[1:]]
    starts = [-1, *(level.start for level in levels(parents))]
    above = [parent - starts[depth[node] - 1] for node, parent in enumerate(parents)]
    return Tree(
        0,
        torch.tensor([0, *depth], device=device),
        sees.to(device),
        torch.tensor(padded, dtype=torch.int64, device=device).view(len(parents), most),
        torch.tensor(above, dtype=torch.int64, device=device),
    )
