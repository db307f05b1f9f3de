"""Trials as a table for people, wide or narrow."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from paretoken.search.report.results import Results, summaries
from paretoken.search.report.wording import (
    at_last_rung,
    columns,
    confirmed,
    heading,
    quantity,
    reused,
)
from paretoken.spaces.records import Trial

FRONT, CLOSE, REUSED, UNCONFIRMED = "●", "≈", "↺", "?"
_WIDE = 130  # columns from which settings fit beside the numbers
_FILE_WIDTH = 180  # where there is no terminal to ask


def console(*, error: bool = False) -> Console:
    """A console on standard output (or error) that does not squeeze what goes into a file."""
    found = Console(stderr=error, highlight=False)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found = Console(stderr=error, highlight=False, width=_FILE_WIDTH)
    return found


def table(results: Results, trials: Sequence[Trial], width: int, title: str = "") -> RenderableType:
    """The trials, one a row, in the order given; below a certain width settings go underneath."""
    names = columns(results.done, [objective.name for objective in results.objectives])
    lines, shared = summaries(results, trials)
    wide = width >= _WIDE
    # On a narrow terminal only what the front is judged by keeps its spread.
    spreads = set(names) if wide else {"speedup", *(o.name for o in results.objectives)}
    grid = Table(
        title=title or None,
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1) if wide else (0, 0, 0, 1),
    )
    grid.add_column("", no_wrap=True)
    grid.add_column("#", justify="right", no_wrap=True)
    for name in names:
        grid.add_column(heading(name), justify="right", no_wrap=wide)
    if wide:
        grid.add_column("id", no_wrap=True)
        grid.add_column("settings", overflow="fold")
    for trial, line in zip(trials, lines, strict=True):
        cells = [_mark(trial, results), str(trial.number)]
        cells += [quantity(trial, name, spread=name in spreads) for name in names]
        cells += [trial.candidate_id[:8], escape(line)] if wide else []
        grid.add_row(*cells, style=_style(trial, results))
    parts: list[RenderableType] = [grid]
    if not wide:
        parts += [
            Text(f"{trial.number:>4}  {trial.candidate_id[:8]}  {line}")
            for trial, line in zip(trials, lines, strict=True)
        ]
    if shared:
        parts.append(Text(f"the same wherever it applies: {shared}", style="dim"))
    return Group(*parts)


def legend(results: Results, shown: Sequence[Trial]) -> RenderableType:
    """What the marks of the rows shown mean, and what the comparison leaves out."""
    lines = [f"{FRONT} on the front"]
    if any(trial.number in results.close for trial in shown):
        lines[0] += f"   {CLOSE} indistinguishable from it: not significantly worse than any point"
    lines[0] += f"   {REUSED} quality or speed reused" if any(map(reused, shown)) else ""
    if any(trial.number in results.front and not confirmed(trial) for trial in shown):
        lines.append(
            f"{UNCONFIRMED} chosen but not yet measured afresh: the best of many noisy numbers are "
            "too good; search --resume goes on with that"
        )
    spreads = "± is one standard deviation"
    if any("speedup" in trial.quantities for trial in shown):
        spreads += f"; speed-up is against {results.info.baseline} (number 0)"
    return Text("\n".join([*lines, spreads, *([results.note] if results.note else [])]), "dim")


def stopped_ones(results: Results, width: int) -> RenderableType:
    """The candidates stopped at a rung, with what they showed there, by the number of samples."""
    shown = sorted(
        map(at_last_rung, results.stopped), key=lambda t: (t.rungs[-1].samples, t.number)
    )
    names = columns(shown, [objective.name for objective in results.objectives])
    grid = Table(
        title="stopped at a rung: equal N compare, and no others",
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for name in ("#", "N", *map(heading, names)):
        grid.add_column(name, justify="right", no_wrap=width >= _WIDE)
    grid.add_column("settings", overflow="fold")
    lines, _ = summaries(results, shown)
    for trial, line in zip(shown, lines, strict=True):
        numbers = [quantity(trial, name) for name in names]
        at = str(trial.rungs[-1].samples)
        grid.add_row(str(trial.number), at, *numbers, escape(line), style="dim")
    return grid


def failures(results: Results) -> RenderableType:
    """The candidates that could not be measured, each with its reason."""
    grid = Table(
        title="not measured",
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for name in ("#", "reason", "detail", "settings"):
        grid.add_column(name, overflow="fold")
    lines, _ = summaries(results, results.failed)
    for trial, line in zip(results.failed, lines, strict=True):
        reason, detail = (
            (trial.failure.reason, trial.failure.detail) if trial.failure else ("unknown", "")
        )
        grid.add_row(str(trial.number), escape(reason), escape(detail), escape(line))
    return grid


def _mark(trial: Trial, results: Results) -> str:
    again = REUSED if reused(trial) else ""
    if trial.number in results.front:
        return FRONT + again + ("" if confirmed(trial) else UNCONFIRMED)
    return (CLOSE if trial.number in results.close else " ") + again


def _style(trial: Trial, results: Results) -> str:
    if trial.number in results.front:
        return "bold" if trial.number == 0 else ""
    return "dim"
