"""Algorithm: proposes decisions, and is told what became of them. All losses are minimised.

    algorithm = KINDS["algorithms"].load("nsga2")(decisions, objectives, seed)
    algorithm.restore(history)          # a resumed study: what was proposed before, in order
    while (numbers := algorithm.ask()) is not None:
        algorithm.tell(numbers, losses)

Asked and told in turn, a restored algorithm goes on exactly as if it had never stopped. Several
proposals may be open at once; then it has learnt the same, but may go on differently, because the
history does not say which answers had arrived when a proposal was made.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from paretoken.search.decisions import Decisions, Numbers
from paretoken.spaces.errors import BadInput, BadValue
from paretoken.spaces.objectives import Objective

Losses = tuple[float, ...]

_STEPS = 1000  # 15 ms at most: enough to find the last few candidates of a small space


@dataclass(frozen=True)
class Told:
    """One proposal and what is known of it.

    losses, no reason: measured. losses and a reason: measured, but infeasible (it breaks a
    constraint). No losses and a reason: failed. Neither: still open; it is told later.
    """

    numbers: Numbers
    losses: Losses | None = None
    reason: str = ""

    @property
    def open(self) -> bool:
        return self.losses is None and not self.reason


class Algorithm(ABC):
    """Base of the plug-ins in `search/algorithms/`."""

    def __init__(self, decisions: Decisions, objectives: Sequence[Objective], seed: int) -> None:
        self.decisions = decisions
        self.objectives = tuple(objectives)
        self.seed = seed
        self._asked = 0
        self._open: Counter[Numbers] = Counter()
        self._known: set[Numbers] = set()
        self._met: Counter[tuple[str, float]] = Counter()  # choices, in all proposals

    def ask(self) -> Numbers | None:
        """The next proposal; None when every candidate has been proposed.

        It may equal an earlier one: see `new`. Different numbers may still be equal candidates.
        """
        if len(self._known) >= self.decisions.count:
            return None
        numbers = self.propose(self._asked)
        if numbers is not None:
            self._note(numbers)
        return numbers

    def tell(self, numbers: Numbers, losses: Losses | None, reason: str = "") -> None:
        """What became of a proposal: see `Told`.

        Raises BadInput for numbers that are not open, BadValue for losses that are not finite.
        """
        told = Told(tuple(numbers), None if losses is None else tuple(losses), reason)
        if not self._open[told.numbers]:
            raise BadInput(f"{told.numbers} was not proposed, or was answered already.")
        if told.open:
            raise BadInput(f"{told.numbers} has neither losses nor a reason for having none.")
        if told.losses is not None:
            if len(told.losses) != len(self.objectives) or not all(map(math.isfinite, told.losses)):
                raise BadValue(
                    f"losses are {len(self.objectives)} finite numbers; they cannot be "
                    f"{told.losses!r}: tell what could not be measured as failed."
                )
        self._open[told.numbers] -= 1
        self.learn(told)

    def restore(self, history: Iterable[Told]) -> None:
        """Take over the proposals of an interrupted study, in the order in which they were made."""
        for told in history:
            self.decisions.tree(told.numbers)  # refuses what is not of this space
            self.replay(self._asked, told.numbers)
            self._note(told.numbers)
            if not told.open:
                self.tell(told.numbers, told.losses, told.reason)

    @abstractmethod
    def propose(self, n: int) -> Numbers | None:
        """Proposal number n, counted from 0. All chance comes from `chance(n)`."""

    @abstractmethod
    def learn(self, told: Told) -> None:
        """Learn from an answered proposal."""

    @abstractmethod
    def replay(self, n: int, numbers: Numbers) -> None:
        """Take `numbers` for proposal number n, as if `propose` had returned it."""

    def chance(self, n: int, purpose: str = "") -> Random:
        """The random numbers of proposal n: the same in every process."""
        return Random(f"{self.seed}/{n}/{purpose}")

    def beginning(self, n: int) -> Numbers:
        """Proposal n of an algorithm that has nothing to learn from yet.

        Together the first ones meet every component, and every value, as evenly as can be.
        """
        return self.new(self.decisions.spread(self._met, self.chance(n)), n)

    def new(self, numbers: Numbers, n: int) -> Numbers:
        """The numbers, or those at the end of a walk from them to some that were not proposed yet.

        In a small space an algorithm that learns soon proposes little but repeats. The walk changes
        one decision a step and gives up after some: then it is a repeat after all.
        """
        rng = self.chance(n, "walk")
        for _ in range(_STEPS):
            if numbers not in self._known:
                break
            numbers = self.decisions.neighbour(numbers, rng)
        return numbers

    def _note(self, numbers: Numbers) -> None:
        self._asked += 1
        self._open[numbers] += 1
        self._known.add(numbers)
        self._met.update(self.decisions.choices(numbers).items())
