"""What a trained candidate's learning rates were, as runs of a trainer: read from what was stored.

The phases come from the measurement itself, so exporters see the rates that were trained with, and
not by which name: two schedules of equal rates export alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from paretoken.evaluators.training.curves import Phase, length, rates
from paretoken.search.exporting.asked import Asked
from paretoken.spaces.errors import BadInput


@dataclass(frozen=True)
class Run:
    """One call of a trainer. name: its folder, "" where there is only one.

    phases: the rates of all its steps. leaves: the step whose weights and optimizer state the next
    data set goes on from; None where that is the end, or where nothing follows.
    """

    name: str
    phases: tuple[Phase, ...]
    leaves: int | None = None

    @property
    def steps(self) -> int:
        """Optimizer steps of the run."""
        return length(self.phases)

    @property
    def peak(self) -> float:
        """The highest rate: the `lr` of the optimizer."""
        return max(max(phase.start, phase.end) for phase in self.phases)

    def file(self, name: str) -> str:
        """A file of the run."""
        return f"{self.name}/{name}" if self.name else name

    def sampled(self) -> list[list[float]]:
        """[step, rate] at the borders and in the middle of every phase: to check a trainer by."""
        found = rates(self.phases)
        steps = set()
        begun = 0
        for phase in self.phases:
            steps |= {begun, begun + phase.steps // 2, begun + phase.steps - 1}
            begun += phase.steps
        return [[step, float(found[step])] for step in sorted(steps)]


def runs(asked: Asked) -> tuple[Run, ...]:
    """The runs that the candidate is; raises BadInput where the store does not say.

    One over all data sets where a schedule is one curve over them, and one for each otherwise.
    """
    measured = asked.trial.quantities.get("steps")
    legs = None if measured is None else measured.detail.get("legs")
    if not legs:
        raise BadInput(
            f"number {asked.trial.number} does not say at which rates it was trained: it is no "
            "schedule, or was stored by another version; search again."
        )
    trunks = [_phases(leg["trunk"]) for leg in legs]
    anneals = [_phases(leg["anneal"]) for leg in legs]
    if not any(anneals):
        joined = _joined(phase for trunk in trunks for phase in trunk)
        if len(joined) < sum(map(len, trunks)) or len(trunks) == 1:
            return (Run("", joined),)
    found = []
    for nth, (trunk, anneal) in enumerate(zip(trunks, anneals, strict=True), start=1):
        follows = nth < len(trunks) and anneal
        found.append(Run(f"data_set_{nth}", (*trunk, *anneal), length(trunk) if follows else None))
    return tuple(found)


def _phases(plain: list[dict[str, Any]]) -> tuple[Phase, ...]:
    return tuple(Phase(**one) for one in plain)


def _joined(phases: Any) -> tuple[Phase, ...]:
    """Phases with what was cut in two put together again."""
    found: list[Phase] = []
    for phase in phases:
        last = found[-1] if found else None
        if last is not None and phase == replace(
            last, steps=phase.steps, begun=last.begun + last.steps
        ):
            found[-1] = replace(last, steps=last.steps + phase.steps)
        else:
            found.append(phase)
    return tuple(found)
