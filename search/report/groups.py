"""Fronts by batch size and device: speeds compare within one of each only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paretoken.search.report.results import Results, judge, loss
from paretoken.spaces.records import StudyInfo, Trial


@dataclass(frozen=True)
class Group:
    """The candidates that were timed on one device at one batch size, and their own front.

    batch: rows at a time; None where the timing does not say.
    """

    device: str
    batch: int | None
    results: Results

    @property
    def name(self) -> str:
        """How people call it."""
        return self.device if self.batch is None else f"{self.device}, batch {self.batch}"


def groups(info: StudyInfo, trials: Sequence[Trial], objectives: str = "") -> list[Group]:
    """One group for each device and batch size, by device (the most used first) and batch."""
    found: dict[tuple[str, int | None], list[Trial]] = {}
    for trial in trials:
        if trial.state == "done" and trial.environment is not None:
            found.setdefault((trial.environment.device, batch(trial)), []).append(trial)
    devices: dict[str, int] = {}
    for (device, _), members in found.items():
        devices[device] = devices.get(device, 0) + len(members)
    order = sorted(found, key=lambda key: (-devices[key[0]], key[0], key[1] or 0))
    return [
        Group(device, size, judge(info, found[device, size], objectives, device))
        for device, size in order
    ]


def batch(trial: Trial) -> int | None:
    """The batch size that a trial's speed was timed at: `--batch` may differ from its settings'."""
    told = (q.detail["batch"] for q in trial.quantities.values() if "batch" in q.detail)
    of_settings = trial.tree.get("runtime", {}).get("batch")
    found = next(told, of_settings)
    return found if isinstance(found, int) else None


def without_loss(results: Results) -> Trial | None:
    """The fastest candidate that is no worse than plain decoding in any objective, by value.

    Among equally fast ones the best in the next objective, and so on. Only those measured under
    plain decoding's conditions count: of its batch size, say. None where plain decoding was not
    measured, or nothing is better than it in anything without being worse in something.
    """
    plain = next((trial for trial in results.done if trial.number == 0), None)
    if plain is None:
        return None

    def losses(trial: Trial) -> tuple[float, ...]:
        return tuple(loss(trial, objective) for objective in results.objectives)

    having = [
        trial
        for trial in results.done
        if _conditions(trial, results) == _conditions(plain, results)
        and all(a <= b for a, b in zip(losses(trial), losses(plain), strict=True))
    ]
    fastest = min(having, key=lambda trial: (*losses(trial), trial.number))
    return fastest if losses(fastest) != losses(plain) else None


def _conditions(trial: Trial, results: Results) -> list[str]:
    found = [trial.quantities.get(objective.name) for objective in results.objectives]
    return [quantity.comparable if quantity else "" for quantity in found]
