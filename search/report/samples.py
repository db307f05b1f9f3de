"""Samples of a study: small pictures or texts that the quality measurements brought along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paretoken.cache.store import Store
from paretoken.search.report.results import Results
from paretoken.spaces.records import Trial

# In the detail of a quality measurement: base64 of a PNG; lists of kind, prompt and answer.
_PICTURE, _TEXTS = "samples_png", "samples_text"


@dataclass(frozen=True)
class Sheet:
    """Samples. png: base64, empty for texts. number: of the trial it was drawn for. texts: kind,
    prompt and answer of each."""

    png: str
    number: int
    texts: tuple[tuple[str, str, str], ...] = ()


def sheets(store: Store, results: Results) -> dict[int, Sheet]:
    """The sheets of plain decoding and of the front, by trial number; those that exist.

    A candidate whose quality was reused shows the sheet of the one that was measured: equal law,
    equal numbers.
    """
    wanted = [trial for trial in results.done if trial.number == 0]
    wanted += [t for t in results.fastest_first(results.front) if t.number != 0]
    found: dict[int, Sheet] = {}
    for trial in wanted:
        sheet = _own(store, trial) or _of_equal_law(store, trial, results)
        if sheet is not None:
            found[trial.number] = sheet
    return found


def _own(store: Store, trial: Trial) -> Sheet | None:
    for measurement in store.measurements(trial.candidate_id):
        if measurement.aspect != "quality":
            continue
        png, texts = measurement.detail.get(_PICTURE), measurement.detail.get(_TEXTS)
        if isinstance(png, str) and png:
            return Sheet(png, trial.number)
        if isinstance(texts, list) and texts:
            told = ((str(kind), str(prompt), str(answer)) for kind, prompt, answer in texts)
            return Sheet("", trial.number, tuple(told))
    return None


def _of_equal_law(store: Store, trial: Trial, results: Results) -> Sheet | None:
    if trial.origin.get("quality", "measured") == "measured":
        return None
    mine = _quality(trial, results)
    for other in results.done:
        if other.number != trial.number and mine and _quality(other, results) == mine:
            sheet = _own(store, other)
            if sheet is not None:
                return sheet
    return None


def _quality(trial: Trial, results: Results) -> Mapping[str, Any]:
    """The values of the quality objectives: those not ordered by speed."""
    names = [objective.name for objective in results.objectives[1:]]
    return {n: trial.quantities[n].value for n in names if n in trial.quantities}
