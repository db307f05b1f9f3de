"""What rungs spared: where candidates stopped, and the samples drawn beside those without rungs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from paretoken.spaces.records import StudyInfo, Trial

_SAMPLED = ("measured", "transcript")  # otherwise the store answered


@dataclass(frozen=True)
class RungAccount:
    """Counts over the trials of a study with rungs; measuring the front afresh is left out.

    stopped: trials by rung (a number of samples). finished: at the last rung. sampled: samples
    drawn; sampled_without: had the same proposals been measured at the last rung alone.
    """

    stopped: dict[int, int]
    finished: int
    sampled: int
    sampled_without: int


def account(info: StudyInfo, trials: Sequence[Trial]) -> RungAccount:
    """The account of a study's trials."""
    *below, last = info.rungs
    stopped = Counter(trial.rungs[-1].samples for trial in trials if trial.state == "stopped")
    drawn = [
        rung.samples for trial in trials for rung in trial.rungs if rung.origin in _SAMPLED
    ] + [last for trial in trials if trial.origin.get("quality") in _SAMPLED]
    return RungAccount(
        stopped={rung: stopped[rung] for rung in below},
        finished=sum(trial.state == "done" for trial in trials),
        sampled=sum(drawn),
        sampled_without=last * drawn.count(info.rungs[0]),
    )


def told(found: RungAccount) -> str:
    """The account in a sentence."""
    halted = ", ".join(f"{count} stopped at N = {rung}" for rung, count in found.stopped.items())
    return (
        f"Rungs: {halted}, {found.finished} finished; {found.sampled:,} samples drawn, without "
        f"rungs {found.sampled_without:,} (the front's fresh measurements aside)."
    )
