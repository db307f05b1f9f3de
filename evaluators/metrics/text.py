"""The quality of answers: what the untouched target thinks of them, and what can be counted.

The negative log-likelihood of an answer under the target rewards text that repeats itself: a model
is sure of a loop. So repetition is measured beside it, and an answer that repeats far more than the
plain decoder's is refused (`check_repetition`), not scored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from paretoken.evaluators.timing import mean_and_error
from paretoken.spaces.errors import MeasurementFailed
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Quantity

OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective("nll", "nats/token", False, "surprise of answers under the untouched target"),
        Objective("agreement", "fraction", True, "tokens that the target likes best there"),
        Objective("as_plain", "fraction", True, "answers equal to plain greedy decoding's"),
        Objective("excess", "nats/token", False, "surprise beyond the target's own entropy"),
        Objective("distinct_2", "fraction", True, "different pairs of tokens among all pairs"),
        Objective("repetition", "fraction", False, "tokens that end four tokens said before"),
        Objective("task_score", "fraction", True, "right answers, where they can be checked"),
    )
}

_LOOP = 4  # tokens that, said again, count as repetition
# Repetition beyond the plain decoder's that no front is to be made of.
_MOST_REPETITION = 0.2


@dataclass(frozen=True)
class Answer:
    """One judged answer.

    kind: of its prompt. tokens: how many it has, the end included. nll, entropy: sums in nats
    under the target; agreed: tokens that the target likes best. right: None where nobody can tell.
    """

    kind: str
    tokens: int
    nll: float
    entropy: float
    agreed: int
    as_plain: bool
    distinct_2: float
    repetition: float
    right: bool | None


def distinct(tokens: Sequence[int], size: int = 2) -> float:
    """Different n-grams of `size` among all of them; 1 where there is none."""
    grams = list(zip(*(tokens[i:] for i in range(size)), strict=False))
    return len(set(grams)) / len(grams) if grams else 1.0


def repetition(tokens: Sequence[int]) -> float:
    """The share of tokens that end an n-gram of four which occurred before."""
    seen: set[tuple[int, ...]] = set()
    again = 0
    for i in range(_LOOP, len(tokens) + 1):
        gram = tuple(tokens[i - _LOOP : i])
        again += gram in seen
        seen.add(gram)
    return again / len(tokens) if tokens else 0.0


def check_repetition(answers: Sequence[Answer], of_plain: Sequence[Answer]) -> None:
    """Raise MeasurementFailed where answers repeat themselves much more than plain decoding's."""
    found, usual = (
        math.fsum(answer.repetition for answer in some) / len(some) for some in (answers, of_plain)
    )
    if found > usual + _MOST_REPETITION:
        raise MeasurementFailed(
            "degenerate",
            f"{100 * found:.0f} % of the tokens repeat four tokens said before, under plain "
            f"decoding {100 * usual:.0f} %: a low NLL means nothing there",
        )


def quality(answers: Sequence[Answer], comparable: str) -> tuple[Quantity, ...]:
    """One quantity for each of OBJECTIVES that applies, over all answers and for each kind alone.

    Values are per token where the unit says so: sums over tokens. Spread: standard error over
    prompts. comparable: what else must be equal for two values to compare.
    """
    found = list(_of(answers, comparable))
    for kind in sorted({answer.kind for answer in answers}):
        of_kind = [answer for answer in answers if answer.kind == kind]
        for quantity in _of(of_kind, comparable, f"_{kind}"):
            if not quantity.name.startswith(("distinct", "excess")):
                found.append(quantity)
    return tuple(found)


def _of(answers: Sequence[Answer], comparable: str, suffix: str = "") -> list[Quantity]:
    sizes = [answer.tokens for answer in answers]
    checked = [answer for answer in answers if answer.right is not None]
    ones = [1.0] * len(answers)
    per: dict[str, tuple[Sequence[float], Sequence[float]]] = {
        "nll": ([a.nll for a in answers], sizes),
        "agreement": ([a.agreed for a in answers], sizes),
        "as_plain": ([float(a.as_plain) for a in answers], ones),
        "excess": ([a.nll - a.entropy for a in answers], sizes),
        "distinct_2": ([a.distinct_2 for a in answers], ones),
        "repetition": ([a.repetition for a in answers], ones),
    }
    if checked:
        per["task_score"] = ([float(bool(a.right)) for a in checked], [1.0] * len(checked))
    quantities = []
    for name, (sums, weights) in per.items():
        value, spread = ratio(sums, weights)
        objective = OBJECTIVES[name]
        quantities.append(
            Quantity(
                name + suffix, value, spread, len(sums), objective.unit, objective.higher,
                f"{name}{suffix}|{comparable}", {"spread_from": "standard error over prompts"},
            )
        )  # fmt: skip
    return quantities


def ratio(sums: Sequence[float], weights: Sequence[float]) -> tuple[float, float]:
    """sum(sums) / sum(weights) and its standard error over the pairs (linearised)."""
    total = math.fsum(weights)
    value = math.fsum(sums) / total
    rest = [s - value * w for s, w in zip(sums, weights, strict=True)]
    _, error = mean_and_error(rest)
    return value, (error * len(sums) / total if math.isfinite(error) else 0.0)
