"""Length rules: how many drafts a row submits next, up to the drafter's window."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from paretoken.spaces.component import Component


class Length(Component):
    """Decides, row by row, how many tokens the next window holds (the pending one included).

    Of a tree of drafts: each of its paths.
    """

    kind = "lengths"

    # Whether it asks for the law that drafts come from (`goes_on`).
    asks_law = False

    @abstractmethod
    def first(self, window: int) -> int:
        """The length of a sample's first window, 1 … window."""

    @abstractmethod
    def following(self, length: Tensor, accepted: Tensor, window: int) -> Tensor:
        """The next length of every row. length: [B] of the round that ends, in which `accepted` [B]
        of its length - 1 drafts were kept. Returns [B] int64 in 1 … window, free of host syncs."""

    def longest(self, length: int, window: int) -> int:
        """The longest that a row may be given after a round of `length`, 1 … window."""
        return window

    def goes_on(self, law: Tensor, token: Tensor) -> Tensor | None:
        """Whether a drafter that has just drafted `token` [B], in its own model's law [B, V], is to
        draft another; None where the rule never asks. The token itself is checked all the same."""
        return None

    @property
    def constant(self) -> bool:
        """Whether every window has the same length, so that nobody needs to ask."""
        return False
