"""Answers: what an algorithm is told of a trial that has ended.

Losses compare on one kind of device only, the one where speeds are timed now. Of a trial that was
timed elsewhere an algorithm learns that it was proposed, and no more. Nor do unequal numbers of
samples compare: in a study with rungs every loss is that of the first one, which all have reached.
"""

from __future__ import annotations

from paretoken.search.algorithm import Losses, Told
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Environment, Trial


def answer(
    trial: Trial, objectives: tuple[Objective, ...], here: Environment
) -> tuple[Losses | None, str]:
    """Its losses, or the reason for having none."""
    if trial.state not in ("done", "stopped"):
        return None, trial.failure.reason if trial.failure else "failed"
    if trial.environment is not None and trial.environment.device != here.device:
        return None, "another-device"
    first = trial.rungs[0].quantities if trial.rungs else {}
    known = {**trial.quantities, **first}
    return tuple(o.loss(known[o.name].value) for o in objectives), ""


def told(trial: Trial, objectives: tuple[Objective, ...], here: Environment) -> Told:
    """A stored trial as an algorithm's history; a pending one is still open."""
    if trial.state == "pending":
        return Told(trial.numbers)
    return Told(trial.numbers, *answer(trial, objectives, here))
