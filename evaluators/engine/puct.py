"""A tree search by PUCT over tables of successors: the chain of tokens it visits most.

Source: Liu et al., "Adaptive Draft-Verification" (ADED, AAAI 2025, arXiv:2407.12021); its score
and constants from liuxukun2000/Adaptix, mcts_sub.rs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

# The successors of two tokens with their weights, the heaviest first.
After = Callable[[int, int], list[tuple[int, float]]]


@dataclass(frozen=True)
class Search:
    """iterations: walks from the root. depth: tokens of a walk. c1, c2: weight of the unexplored.

    Without iterations the chain is the heaviest successor, again and again.
    """

    iterations: int
    depth: int
    c1: float
    c2: float

    def chain(self, after: After, a: int, b: int, size: int, chance: Random) -> list[int]:
        """Up to `size` tokens behind a, b: the walk visited most, and the heaviest from there on.

        chance: draws the roll-outs; equal seeds give equal chains.
        """
        found = self._searched(after, a, b, chance)[:size] if self.iterations else []
        line = [a, b, *found]
        while len(line) < size + 2 and (known := after(line[-2], line[-1])):
            line.append(known[0][0])
        return line[2:]

    def _searched(self, after: After, a: int, b: int, chance: Random) -> list[int]:
        root = _Node(a, b, 0.0)
        if not after(a, b):
            return []
        for _ in range(self.iterations):
            self._walk(root, after, chance)
        chain: list[int] = []
        node = root
        while node.children and (best := max(node.children, key=lambda one: one.visits)).visits:
            chain.append(best.b)
            node = best
        return chain

    def _walk(self, root: _Node, after: After, chance: Random) -> None:
        node, path = root, [root]
        while node.children and len(path) <= self.depth:
            node = self._best(node)
            path.append(node)
        if node.children is None and len(path) <= self.depth:
            node.children = [_Node(node.b, token, w) for token, w in after(node.a, node.b)]
            if node.children:
                node = node.children[-1]
                path.append(node)
        reward = 1.0 + sum(one.weight for one in path)
        a, b = node.a, node.b
        for _ in range(self.depth + 1 - len(path)):
            known = after(a, b)
            if not known:
                break
            token, weight = chance.choices(known, [weight for _, weight in known])[0]
            reward += weight
            a, b = b, token
        for one in path:
            one.visits += 1
            one.reward += reward

    def _best(self, node: _Node) -> _Node:
        """The child of the highest score, the first of equal ones; one never visited goes first."""
        explore = self.c1 + math.log((node.visits + self.c2 + 1.0) / self.c2)
        explore *= math.sqrt(node.visits)
        best, most = node, -math.inf
        for child in node.children or ():
            if not child.visits:
                return child
            score = child.reward / child.visits + explore * child.weight / (1 + child.visits)
            if score > most:
                best, most = child, score
        return best


class _Node:
    """A pair of tokens, reached with a weight."""

    __slots__ = ("a", "b", "children", "reward", "visits", "weight")

    def __init__(self, a: int, b: int, weight: float) -> None:
        self.a, self.b, self.weight = a, b, weight
        self.visits, self.reward = 0, 0.0
        self.children: list[_Node] | None = None
