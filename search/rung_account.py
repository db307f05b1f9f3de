"""What rungs spared: where candidates stopped, and the samples drawn beside those without rungs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from paretoken.spaces.records import StudyInfo, Trial

_SAMPLED = ("measured", "transcript")  # otherwise the store answered


@dataclass(frozen=True)
class RungAccount:
    """Counts over the trials of a study with rungs; measuring the front afresh is left out.

    stopped, went_on: trials by rung (a number of samples). top: the study's own number; finished:
    trials that were measured at it. sampled: samples drawn, and seconds: judging included.
    sampled_without, seconds_without: had the same proposals been measured at the top alone, which
    would have answered the same of them from the store; the seconds by the mean of those that were.
    """

    stopped: dict[int, int]
    went_on: dict[int, int]
    top: int
    finished: int
    sampled: int
    sampled_without: int
    seconds: float
    seconds_without: float


def account(info: StudyInfo, trials: Sequence[Trial], top: int) -> RungAccount:
    """The account of a study's trials; top: the number of samples above all rungs."""
    last = [(trial.state, trial.rungs[-1].samples) for trial in trials if trial.rungs]
    stopped = {rung: last.count(("stopped", rung)) for rung in info.rungs}
    spent = [draw for trial in trials for draw in _drawn(trial, top)]
    at_top = [
        trial.seconds.get("quality", 0.0)
        for trial in trials
        if trial.state == "done" and trial.origin.get("quality") in _SAMPLED
    ]
    anew = sum(bool(trial.rungs) and trial.rungs[0].origin in _SAMPLED for trial in trials)
    return RungAccount(
        stopped=stopped,
        went_on={rung: _went_on(trials, rung) for rung in info.rungs},
        top=top,
        finished=sum(trial.state == "done" for trial in trials),
        sampled=sum(samples for samples, _ in spent),
        sampled_without=anew * top,
        seconds=sum(seconds for _, seconds in spent),
        seconds_without=anew * sum(at_top) / len(at_top) if at_top else 0.0,
    )


def told(found: RungAccount) -> str:
    """The account in two sentences."""
    parts = [
        f"at N = {rung} {found.stopped[rung]} stopped and {count} went on"
        for rung, count in found.went_on.items()
    ]
    return (
        f"Rungs: {', '.join(parts)}; {found.finished} finished at N = {found.top}. "
        f"{found.sampled:,} samples were drawn and judged in {found.seconds:.0f} s; without rungs "
        f"{found.sampled_without:,} in about {found.seconds_without:.0f} s (the front's fresh "
        "measurements aside)."
    )


def _drawn(trial: Trial, top: int) -> Iterator[tuple[int, float]]:
    """How many samples a trial drew each time, and the seconds that took."""
    for rung in trial.rungs:
        if rung.origin in _SAMPLED:
            yield rung.samples, rung.seconds
    if trial.state == "done" and trial.origin.get("quality") in _SAMPLED:
        yield top, trial.seconds.get("quality", 0.0)


def _went_on(trials: Sequence[Trial], rung: int) -> int:
    """How many trials were measured beyond a rung, or finished."""
    return sum(
        trial.state == "done" or any(one.samples > rung for one in trial.rungs)
        for trial in trials
        if any(one.samples == rung for one in trial.rungs)
    )
