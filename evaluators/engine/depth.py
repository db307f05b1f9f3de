"""Depths: which layers of the target run for which token, so that the target is another model."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor

from paretoken.evaluators.shortening.teaching import Recovery
from paretoken.spaces.component import Component, knob

if TYPE_CHECKING:
    from paretoken.evaluators.models.lora import LoRA
    from paretoken.evaluators.shortening.routers import Routers


class Depth(Component):
    """Leaves layers of a model out. Lossy, unless it leaves out none.

    What it is asked about is a target in float32, whatever precision decoding has.
    """

    kind = "depths"

    @property
    def whole(self) -> bool:
        """Whether its knobs alone say that the model is as it was."""
        return False

    @abstractmethod
    def kept(self, target: Any) -> Tensor:
        """The layers that run, bool [P or 1, 1 + N, L], on the CPU.

        By prompt or class (1: the same for all); while the prompt is read, then for each token of
        the answer that is fed, the pending one first; by layer. A layer that was left out for a
        token is left out for all later ones: it lacks the keys that they would look at.
        """

    def adapter(self, target: Any) -> LoRA | None:
        """What its matrices are changed by, to live without the layers; None for nothing."""
        return None


class Recovering(Depth):
    """A depth whose losses a LoRA may make up for, learnt with the layers left out."""

    rank: int = knob(
        0, low=0, high=256, grid=(0, 16), doc="Rank of the LoRA that is learnt; 0: none is."
    )
    alpha: float = knob(16.0, low=0.0, high=1024.0, grid=(16.0,), doc="Its weight is alpha / rank.")
    matrices: str = knob("all", among=("all", "attention"), doc="Which matrices it changes.")

    @abstractmethod
    def without(self, target: Any) -> Tensor | Routers:
        """What it is learnt with: a table [1, 1 + N, L] as of `kept`, or what decides."""

    def adapter(self, target: Any) -> LoRA | None:
        if not self.rank:
            return None
        recovery = Recovery(int(self.rank), float(self.alpha), str(self.matrices))
        found: LoRA = target.school().recovered(recovery, self.without(target))
        return found

    def simplified(self) -> Component:
        if self.rank and self.alpha:
            return self
        plain = {"rank": 0, "alpha": 16.0, "matrices": "all"}
        if all(self.sym_getattr(name) == value for name, value in plain.items()):
            return self
        return cast(Component, self.clone(override=plain))
