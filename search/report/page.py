"""The report: one HTML file with everything in it, made from `page.html` beside this module.

plotly.js is inlined, sample sheets are data URLs, and the data stand in the page as JSON, so the
file works without a network and can be read by other programs (the script element `data`).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from paretoken.search.report.results import Results, as_json, summaries
from paretoken.search.report.samples import Sheet
from paretoken.search.report.wording import columns, heading, number, quantity, reused
from paretoken.spaces.records import StudyInfo, Trial


def render(results: Results, sheets: Mapping[int, Sheet], now: datetime | None = None) -> str:
    """The page as text. now: the time it states; left out, the present."""
    from plotly.offline import get_plotlyjs

    names = columns(results.done, [objective.name for objective in results.objectives])
    lines, shared = summaries(results, results.done)
    line_of = {trial.number: line for trial, line in zip(results.done, lines, strict=True)}
    template = (files(__package__) / "page.html").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template).render(
        results=results,
        info=results.info,
        headings=[heading(name) for name in names],
        front=[_cells(trial, results, names, line_of) for trial in _shown(results)],
        everyone=[_cells(t, results, names, line_of) for t in results.fastest_first()],
        failed=_failed(results),
        shared=shared,
        sheets=[_sheet(at, sheet, results, line_of) for at, sheet in sheets.items()],
        facts=facts(results),
        headline=_headline(results),
        date=(now or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC"),
        version=version("paretoken"),
        data=Markup(_embedded(results, line_of)),
        plotly=Markup(get_plotlyjs()),
    )


def facts(results: Results) -> list[tuple[str, str]]:
    """How the study was run, as (what, how): device, samples, extractor, reference, command, …"""
    info = results.info
    seen = {trial.environment for trial in results.trials if trial.environment is not None}
    found = [
        ("workload", info.workload),
        ("algorithm", f"{info.algorithm}, seed {info.seed}"),
        ("started", info.created[:19].replace("T", " ") + " UTC"),
        ("device", " / ".join(sorted({environment.device for environment in seen}))),
        ("software", " / ".join(sorted({environment.software for environment in seen}))),
        ("commit", " / ".join(sorted({e.commit for e in seen if e.commit}))),
    ]
    for objective in results.objectives:
        example = next(
            (t.quantities[objective.name] for t in results.done if objective.name in t.quantities),
            None,
        )
        if example is None:
            continue
        details = [f"{key} {value}" for key, value in example.detail.items() if _is_plain(value)]
        direction = "higher is better" if example.higher else "lower is better"
        unit = f"in {example.unit}" if example.unit else ""
        told = [direction, unit, f"N = {example.samples}", example.comparable, *details]
        found.append((heading(objective.name), ", ".join(part for part in told if part)))
    found.append(("command", command(info)))
    return [(what, how) for what, how in found if how]


def command(info: StudyInfo) -> str:
    """The command that asks for the study again, as far as the store knows it."""
    words = ["paretoken", "search", info.workload, "--study", info.name]
    words += ["--algorithm", info.algorithm, "--seed", str(info.seed)]
    for key, value in info.options.items():
        if key in ("samples", "batch", "device"):
            words += [f"--{key}", str(value)]
        elif _is_plain(value):
            words += ["--option", f"{key}={value}"]
    return shlex.join(words)


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and len(str(value)) < 200


def _shown(results: Results) -> list[Trial]:
    """The front and plain decoding, fastest first: the rows to look at."""
    return results.fastest_first([*results.front, *results.close, 0])


def _headline(results: Results) -> str:
    """What was found, in one sentence."""
    if not results.front:
        return "No candidate has been measured yet."
    fastest = results.fastest_first(results.front)[0]
    told = f"{len(results.done)} candidates measured, {len(results.front)} on the front"
    gain = fastest.quantities.get("speedup")
    if gain is None or fastest.number == 0:
        return f"{told}."
    return f"{told}; the fastest is {number(gain.value, gain.spread)} times as fast as plain."


def _cells(
    trial: Trial, results: Results, names: list[str], line_of: Mapping[int, str]
) -> dict[str, Any]:
    return {
        "number": trial.number,
        "kind": _kind(trial, results),
        "values": [
            (quantity(trial, n), trial.quantities[n].value if n in trial.quantities else "")
            for n in names
        ],
        "reused": reused(trial),
        "settings": line_of[trial.number],
        "id": trial.candidate_id[:12],
    }


def _kind(trial: Trial, results: Results) -> str:
    if trial.number in results.front:
        return "front"
    return "close" if trial.number in results.close else "other"


def _failed(results: Results) -> list[dict[str, Any]]:
    lines, _ = summaries(results, results.failed)
    return [
        {"number": trial.number, "failure": trial.failure, "settings": line}
        for trial, line in zip(results.failed, lines, strict=True)
    ]


def _sheet(at: int, sheet: Sheet, results: Results, line_of: Mapping[int, str]) -> dict[str, Any]:
    trial = next(trial for trial in results.done if trial.number == at)
    names = ["speedup", *(objective.name for objective in results.objectives[1:])]
    told = [f"{heading(n)} {quantity(trial, n)}" for n in names if n in trial.quantities]
    return {
        "number": at,
        "png": sheet.png,
        "texts": sheet.texts,
        "told": ", ".join(told),
        "settings": line_of[at],
        "drawn_for": "" if sheet.number == at else f"drawn for number {sheet.number}, equal law",
    }


def _embedded(results: Results, line_of: Mapping[int, str]) -> str:
    """The data of the picture as JSON that cannot end its script element."""
    units = {
        name: {"heading": heading(name), "unit": found.unit, "higher": found.higher}
        for trial in results.done
        for name, found in trial.quantities.items()
    }
    axes = [objective.name for objective in results.objectives]
    document = {
        "study": results.info.name,
        "workload": results.info.workload,
        "axes": (axes + axes)[:2] if len(axes) == 1 else axes[:2],
        "quantities": dict(sorted(units.items())),
        "trials": [
            as_json(trial, results) | {"line": line_of.get(trial.number, "")}
            for trial in results.trials
        ],
    }
    text = json.dumps(document, allow_nan=False, default=str)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
