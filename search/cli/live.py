"""What a running search shows: a live picture on a terminal, one line a trial anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from paretoken.search.cli.tables import legend, table
from paretoken.search.progress import Progress as Moment
from paretoken.search.progress import Watcher
from paretoken.search.report.results import Results
from paretoken.search.report.wording import (
    at_last_rung,
    columns,
    heading,
    quantity,
    reused,
    stopped,
)
from paretoken.spaces.records import StudyInfo, Trial
from paretoken.spaces.settings import summary

# Asked when the first trial has ended: the search stores its study before it measures anything.
FindStudy = Callable[[], StudyInfo]
FindResults = Callable[[], Results]

_MOST_ROWS = 12  # of the front, while the search runs; the whole of it is printed at the end
_SHARE = 0.05  # of the time at most goes into reading the front to be shown


@contextmanager
def watching(console: Console, study: FindStudy, results: FindResults) -> Iterator[Watcher]:
    """A watcher to hand to the search, for as long as the context lasts."""
    if not console.is_terminal:
        yield _Lines(console, study)
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield _Picture(live, results)


class _Lines:
    """One plain line for each trial that ends: for logs and pipes."""

    def __init__(self, console: Console, study: FindStudy) -> None:
        self._console = console
        self._study = study
        self._started = time.monotonic()

    def __call__(self, moment: Moment) -> None:
        trial = moment.finished
        if trial is None:
            return
        of = f"/{moment.wanted}" if moment.wanted else ""
        spent = f"{time.monotonic() - self._started:.0f} s"
        left = f", {_minutes(moment.seconds_left)} left" if moment.seconds_left else ""
        if trial.state == "stopped":
            trial = at_last_rung(trial)
        names = columns([trial], [objective.name for objective in self._study().objectives])
        facts = ", ".join(f"{heading(name)} {quantity(trial, name)}" for name in names)
        line = f"[{moment.done}{of}, {spent}{left}] #{trial.number} {_outcome(trial, facts)}"
        self._console.print(line, markup=False, soft_wrap=True)


class _Picture:
    """The phase, the candidates done, the time left and the front so far, redrawn in place."""

    def __init__(self, live: Live, results: FindResults) -> None:
        self._live = live
        self._results = results
        self._next_draw = 0.0
        self._front: RenderableType = Text(
            "what all is compared with is measured first …", style="dim"
        )
        self._bars = Progress(
            TextColumn("{task.fields[name]:<10}"),
            BarColumn(bar_width=30),
            TextColumn("{task.description}"),
            console=live.console,
        )
        self._phase = self._bars.add_task("starting", name="now", total=1.0)
        self._all = self._bars.add_task("", name="candidates", total=None)

    def __call__(self, moment: Moment) -> None:
        self._bars.update(self._phase, completed=moment.fraction, description=moment.phase)
        told = f"{moment.done} of {moment.wanted}" if moment.wanted else str(moment.done)
        if moment.seconds_left is not None:
            told += f", {_minutes(moment.seconds_left)} left"
        self._bars.update(self._all, completed=moment.done, total=moment.wanted, description=told)
        begun = time.monotonic()
        if moment.finished is not None and begun >= self._next_draw:
            self._front = self._draw(self._results())
            ended = time.monotonic()
            self._next_draw = ended + (ended - begun) / _SHARE
        self._live.update(Group(self._bars, self._front))

    def _draw(self, results: Results) -> RenderableType:
        shown = results.fastest_first(results.front)
        title = f"front so far: {len(shown)} of {len(results.done)}"
        if len(shown) > _MOST_ROWS:
            shown = shown[:_MOST_ROWS]
            title += f" (the fastest {_MOST_ROWS})"
        width = self._live.console.width
        parts = [table(results, shown, width, title), legend(results, shown)] if shown else []
        if results.stopped:
            parts.append(Text(f"stopped at a rung: {len(results.stopped)}", "dim"))
        if results.failed:
            last = results.failed[-1]
            parts.append(Text(f"failed: {len(results.failed)}, last {_outcome(last, '')}", "dim"))
        return Group(*parts)


def _outcome(trial: Trial, facts: str) -> str:
    if trial.state == "failed" and trial.failure is not None:
        return f"failed, {trial.failure.reason}: {trial.failure.detail} | {summary(trial.tree)}"
    if trial.state == "stopped":
        facts = f"{stopped(trial)}, {facts}"
    again = f" ({reused(trial)} reused)" if reused(trial) else ""
    return f"{facts}{again} | {summary(trial.tree)}"


def _minutes(seconds: float) -> str:
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"
