"""What the parts of the page say: numbers, rows and lines, ready for `sections.html`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any

from paretoken.search.report.how import facts
from paretoken.search.report.results import Results, summaries
from paretoken.search.report.samples import compared
from paretoken.search.report.view import View
from paretoken.search.report.wording import (
    at_last_rung,
    columns,
    confirmed,
    heading,
    number,
    quantity,
    reused,
)
from paretoken.spaces.records import Trial

_MOST_ROWS = 200  # of a table of the front, of failures, or of stopped candidates
_MOST_CLASSES, _MOST_MEMBERS = 25, 12


def told(view: View, now: datetime) -> dict[str, Any]:
    """What the macros write, in words and numbers for people."""
    results = view.results
    names = columns(results.done, [objective.name for objective in results.objectives])
    lines, shared = summaries(results, view.everyone)
    line_of = {trial.number: line for trial, line in zip(view.everyone, lines, strict=True)}
    shown = results.fastest_first([*results.front, *results.close, 0])[:_MOST_ROWS]
    return {
        "info": results.info,
        "results": results,
        "account": view.account,
        "pending": view.pending,
        "headline": _headline(view),
        "cards": _cards(view, line_of),
        "headings": [heading(name) for name in names],
        "front": [_row(trial, results, names, line_of) for trial in shown],
        "front_cut": len({*results.front, *results.close, 0}) > _MOST_ROWS,
        "shared": shared,
        "groups": [_group(view, at) for at in range(len(view.groups))],
        "importances": view.importances,
        "pictures": [_picture(view, at, line_of) for at, s in view.sheets.items() if s.png],
        "texts": compared(view.sheets),
        "line_of": line_of,
        "levels": view.levels,
        "alike": [_alike(view, at, line_of) for at in range(min(len(view.alike), _MOST_CLASSES))],
        "alike_cut": max(0, len(view.alike) - _MOST_CLASSES),
        "disagreements": view.disagreements[:_MOST_ROWS],
        "stopped": _stopped(results),
        "failed": _failed(results),
        "failures": _reasons(results.failed),
        "facts": facts(results),
        "date": now.strftime("%Y-%m-%d %H:%M UTC"),
        "version": version("paretoken"),
        "most_rows": _MOST_ROWS,
    }


def _headline(view: View) -> str:
    """What was found, in one sentence."""
    results = view.results
    if not results.front:
        return "No candidate has been measured yet."
    told = f"{len(results.done):,} candidates measured, {len(results.front):,} on the front"
    fastest = results.fastest_first(results.front)[0]
    gain = fastest.quantities.get("speedup")
    if gain is None or fastest.number == 0:
        return f"{told}."
    times = number(gain.value, gain.spread)
    return f"{told}; the fastest is {times} times as fast as {results.info.baseline}."


def _cards(view: View, line_of: Mapping[int, str]) -> list[dict[str, str]]:
    """The few numbers that a reader wants first."""
    results, found = view.results, view.account
    cards = []
    if results.front:
        best = view.best
        sped = any("speedup" in trial.quantities for trial in results.done)
        lossless = "no loss of quality" if sped else "nothing lost elsewhere"
        cards.append(
            _winner(lossless, best, results, line_of)
            if best is not None
            else {
                "title": lossless,
                "value": "none",
                "about": f"nothing better was found that is as good as {results.info.baseline}",
            }
        )
        fastest = results.fastest_first(results.front)[0]
        if fastest is not best and fastest.number != 0:
            leads = "fastest" if sped else f"best {heading(results.objectives[0].name)}"
            cards.append(_winner(f"{leads} on the front", fastest, results, line_of))
    others = [f"{len(results.failed)} failed"] if results.failed else []
    others += [f"{len(results.stopped)} stopped early"] if results.stopped else []
    others += [f"{view.pending} unfinished"] if view.pending else []
    cards.append(
        {
            "title": "candidates measured",
            "value": f"{len(results.done):,}",
            "about": ", ".join([f"of {found.proposals:,} proposals", *others]),
        }
    )
    asked = 2 * sum(trial.state == "done" for trial in view.trials)
    share = f"{100 * found.saved / asked:.0f} %" if asked else "-"
    cards.append(
        {
            "title": "saved by hashing",
            "value": share,
            "about": f"{found.saved:,} of {asked:,} measurements were known already"
            + (f", worth {_duration(found.seconds_saved)}" if found.saved else ""),
        }
    )
    return cards


def _winner(
    title: str, trial: Trial, results: Results, line_of: Mapping[int, str]
) -> dict[str, str]:
    gain = trial.quantities.get("speedup")
    first = results.objectives[0].name
    value = number(gain.value, gain.spread) if gain else quantity(trial, first)
    names = [o.name for o in results.objectives if gain is None or o.name != first]
    numbers = ", ".join(
        f"{heading(name)} {quantity(trial, name)}" for name in names if name in trial.quantities
    )
    doubt = "" if confirmed(trial) else "; not measured afresh yet"
    return {
        "title": title,
        "value": value,
        "unit": "times" if gain else trial.quantities[first].unit,
        "about": f"#{trial.number}: {numbers}{doubt}",
        "settings": line_of[trial.number],
    }


def _row(
    trial: Trial, results: Results, names: Sequence[str], line_of: Mapping[int, str]
) -> dict[str, Any]:
    kind = "close" if trial.number in results.close else "other"
    return {
        "number": trial.number,
        "kind": "front" if trial.number in results.front else kind,
        "unconfirmed": trial.number in results.front and not confirmed(trial),
        "cells": [quantity(trial, name) for name in names],
        "reused": reused(trial),
        "settings": line_of[trial.number],
        "id": trial.candidate_id[:12],
    }


def _group(view: View, at: int) -> dict[str, Any]:
    group = view.groups[at]
    results = group.results
    names = columns(results.done, [objective.name for objective in results.objectives])
    lines, _ = summaries(results, results.done)
    line_of = {trial.number: line for trial, line in zip(results.done, lines, strict=True)}
    front = results.fastest_first(results.front)
    return {
        "name": group.name,
        "measured": len(results.done),
        "size": len(front),
        "headings": [heading(name) for name in names],
        "rows": [_row(trial, results, names, line_of) for trial in front[:_MOST_ROWS]],
        "note": results.note,
    }


def _picture(view: View, at: int, line_of: Mapping[int, str]) -> dict[str, Any]:
    trial = next(trial for trial in view.results.done if trial.number == at)
    sheet = view.sheets[at]
    names = ["speedup", *(objective.name for objective in view.results.objectives[1:])]
    told = [f"{heading(n)} {quantity(trial, n)}" for n in names if n in trial.quantities]
    return {
        "number": at,
        "png": sheet.png,
        "told": ", ".join(told),
        "settings": line_of[at],
        "drawn_for": "" if sheet.number == at else f"drawn for number {sheet.number}, equal law",
    }


def _alike(view: View, at: int, line_of: Mapping[int, str]) -> dict[str, Any]:
    found = view.alike[at]
    example = found.members[0]
    speed, *others = (objective.name for objective in view.results.objectives)
    names = [speed] if found.aspect == "speed" else others
    return {
        "aspect": found.aspect,
        "told": ", ".join(
            f"{heading(name)} {quantity(example, name)}"
            for name in names
            if name in example.quantities
        ),
        "count": len(found.members),
        "proposals": found.proposals,
        "observations": found.observations,
        "seconds": _duration(found.seconds) if found.seconds else "",
        "split": found.split,
        "members": [
            (trial.number, line_of.get(trial.number, "")) for trial in found.members[:_MOST_MEMBERS]
        ],
        "more": max(0, len(found.members) - _MOST_MEMBERS),
    }


def _stopped(results: Results) -> list[dict[str, Any]]:
    shown = [at_last_rung(trial) for trial in results.stopped[:_MOST_ROWS]]
    names = columns(shown, [objective.name for objective in results.objectives])
    return _with_lines(
        results,
        shown,
        lambda trial: {
            "samples": trial.rungs[-1].samples,
            "told": ", ".join(f"{heading(name)} {quantity(trial, name)}" for name in names),
        },
    )


def _failed(results: Results) -> list[dict[str, Any]]:
    shown = results.failed[:_MOST_ROWS]
    return _with_lines(results, shown, lambda trial: {"failure": trial.failure})


def _with_lines(
    results: Results, trials: Sequence[Trial], more: Callable[[Trial], dict[str, Any]]
) -> list[dict[str, Any]]:
    lines, _ = summaries(results, trials)
    return [
        {"number": trial.number, "settings": line, **more(trial)}
        for trial, line in zip(trials, lines, strict=True)
    ]


def _reasons(failed: Sequence[Trial]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for trial in failed:
        reason = trial.failure.reason if trial.failure else "unknown"
        counts[reason] = counts.get(reason, 0) + 1
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
