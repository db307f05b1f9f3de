"""How a study was run: device, samples, extractor, reference, and the command that asks for it."""

from __future__ import annotations

import shlex
from typing import Any

from paretoken.search.report.results import Results
from paretoken.search.report.wording import heading
from paretoken.spaces.records import StudyInfo


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
    if info.rungs:
        words += ["--rungs", ",".join(map(str, info.rungs))]
    for key, value in info.options.items():
        if key in ("samples", "batch", "device"):
            words += [f"--{key}", str(value)]
        elif _is_plain(value):
            words += ["--option", f"{key}={value}"]
    return shlex.join(words)


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and len(str(value)) < 200
