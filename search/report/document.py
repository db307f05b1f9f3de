"""The data of the page: every trial of the study in columns, as JSON.

Columns, and settings as places in a list of levels, keep ten thousand candidates within a few
megabytes. Values have seven significant digits and spreads three: more than was ever measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from paretoken.search.report.devices import devices_of
from paretoken.search.report.groups import batch
from paretoken.search.report.knobs import Knob, flat, knobs, short
from paretoken.search.report.results import Results, summaries
from paretoken.search.report.wording import columns, confirmed, heading, reused
from paretoken.spaces.records import Quantity, Trial

STATES = ("done", "failed", "stopped", "pending")


def document(results: Results, trials: Sequence[Trial]) -> dict[str, Any]:
    """The study as plain JSON. trials: of all devices, each candidate once a device.

    number, candidate, state, kind ("front", "close", "other"), settings (in words), reused,
    device, batch: a list with one entry a trial. quantities: by name, with value and spread.
    knobs: by path, the levels and each trial's place among them, -1 where it has no such setting.
    """
    lines, shared = summaries(results, trials)
    names = sorted({name for trial in trials for name in trial.quantities})
    axes = [objective.name for objective in results.objectives if objective.name in names]
    found = knobs(trials)
    labels = short([knob.path for knob in found if knob.varies])
    settings = [flat(trial.tree) for trial in trials]
    return {
        "study": results.info.name,
        "workload": results.info.workload,
        "axes": (axes * 2)[:2],
        "objectives": axes,
        "columns": columns(results.done, [objective.name for objective in results.objectives]),
        "devices": list(devices_of(trials)),
        "shared": shared,
        "number": [trial.number for trial in trials],
        "candidate": [trial.candidate_id for trial in trials],
        "state": [trial.state for trial in trials],
        "kind": [_kind(trial, results) for trial in trials],
        "confirmed": [confirmed(trial) for trial in trials],
        "settings": lines,
        "reused": [reused(trial) for trial in trials],
        "device": [trial.environment.device if trial.environment else None for trial in trials],
        "batch": [batch(trial) for trial in trials],
        "quantities": {name: _quantity(name, trials) for name in names},
        "knobs": {
            knob.path: {"label": labels[knob.path], **_places(knob, settings)}
            for knob in found
            if knob.varies
        },
    }


def _kind(trial: Trial, results: Results) -> str:
    if trial.number in results.front:
        return "front"
    return "close" if trial.number in results.close else "other"


def _quantity(name: str, trials: Sequence[Trial]) -> dict[str, Any]:
    example = next(trial.quantities[name] for trial in trials if name in trial.quantities)

    def column(part: Callable[[Quantity], float], digits: int) -> list[float | None]:
        return [
            _rounded(part(trial.quantities[name]), digits) if name in trial.quantities else None
            for trial in trials
        ]

    return {
        "heading": heading(name),
        "unit": example.unit,
        "higher": example.higher,
        "value": column(lambda quantity: quantity.value, 7),
        "spread": column(lambda quantity: quantity.spread, 3),
    }


def _rounded(value: float, digits: int) -> float | int | None:
    if not math.isfinite(value):
        return None
    found = float(f"{value:.{digits}g}")
    return int(found) if found.is_integer() else found


def _places(knob: Knob, settings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    places = {(type(level).__name__, level): place for place, level in enumerate(knob.levels)}
    return {
        "numeric": knob.numeric,
        "levels": list(knob.levels),
        "places": [
            places[type(own[knob.path]).__name__, own[knob.path]] if knob.path in own else -1
            for own in settings
        ],
    }
