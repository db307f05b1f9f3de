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
_MOST = 12  # sheets of the front; of a larger one so many are taken, evenly from its whole length


@dataclass(frozen=True)
class Sheet:
    """Samples. png: base64, empty for texts. number: of the trial it was drawn for. texts: kind,
    prompt and answer of each."""

    png: str
    number: int
    texts: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Answer:
    """An answer beside plain decoding's. numbers: of the trials that gave it. same: how it begins
    just as plain decoding's does; rest: what follows, empty in an equal answer."""

    numbers: tuple[int, ...]
    same: str
    rest: str


@dataclass(frozen=True)
class Compared:
    """One prompt with what plain decoding answered, None where unknown, and the others."""

    kind: str
    prompt: str
    plain: str | None
    answers: tuple[Answer, ...]


def sheets(store: Store, results: Results) -> dict[int, Sheet]:
    """The sheets of plain decoding and of the front, by trial number; those that exist.

    A candidate whose quality was reused shows the sheet of the one that was measured: equal law,
    equal numbers.
    """
    front = [trial for trial in results.fastest_first(results.front) if trial.number != 0]
    if len(front) > _MOST:
        front = [front[place * (len(front) - 1) // (_MOST - 1)] for place in range(_MOST)]
    wanted = [trial for trial in results.done if trial.number == 0] + front
    found: dict[int, Sheet] = {}
    for trial in wanted:
        sheet = _own(store, trial) or _of_equal_law(store, trial, results)
        if sheet is not None:
            found[trial.number] = sheet
    return found


def compared(found: Mapping[int, Sheet]) -> list[Compared]:
    """The texts of all sheets by prompt; equal answers once, with everyone who gave them."""
    answers: dict[tuple[str, str], dict[int, str]] = {}
    for number, sheet in found.items():
        for kind, prompt, answer in sheet.texts:
            answers.setdefault((kind, prompt), {})[number] = answer
    return [
        Compared(kind, prompt, of.get(0), _grouped(of)) for (kind, prompt), of in answers.items()
    ]


def _grouped(answers: Mapping[int, str]) -> tuple[Answer, ...]:
    numbers: dict[str, list[int]] = {}
    for number, answer in answers.items():
        if number != 0:
            numbers.setdefault(answer, []).append(number)
    plain = answers.get(0, "")
    return tuple(Answer(tuple(by), *_parted(plain, answer)) for answer, by in numbers.items())


def _parted(plain: str, answer: str) -> tuple[str, str]:
    """The answer up to the word in which it leaves plain decoding's, and from there on."""
    if plain == answer:
        return answer, ""
    alike = next(
        (place for place, (a, b) in enumerate(zip(plain, answer, strict=False)) if a != b),
        min(len(plain), len(answer)),
    )
    while alike and not answer[alike - 1].isspace():
        alike -= 1
    return answer[:alike], answer[alike:]


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
