"""Depths: which layers of the target run for which token, so that the target is another model."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor

from paretoken.spaces.component import Component


class Depth(Component):
    """Leaves layers of a language model out. Lossy, unless it leaves out none."""

    kind = "depths"
    modality = "text"

    @property
    def whole(self) -> bool:
        """Whether its knobs alone say that no layer of any model is left out."""
        return False

    @abstractmethod
    def kept(self, target: Any) -> Tensor:
        """The layers that run, bool [P or 1, 1 + N, L], on the CPU.

        By prompt (1: the same for all); while the prompt is read, then for each token of the answer
        that is fed, the pending one first; by layer. A layer that was left out for a token is left
        out for all later ones: it lacks the keys that they would look at.
        """
