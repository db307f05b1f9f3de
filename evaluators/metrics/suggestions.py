"""The quality of sets of suggestions: each by itself, the best, and how much they differ.

k good suggestions that say the same are one: what the target thinks of them does not show that. So
difference is measured beside it, and sets of equal suggestions are refused, not scored.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from paretoken.evaluators.metrics.text import Answer, ratio
from paretoken.evaluators.timing import mean_and_error
from paretoken.spaces.errors import MeasurementFailed
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Quantity

OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective("nll", "nats/token", False, "surprise of suggestions under the untouched target"),
        Objective("best_nll", "nats/token", False, "surprise of the best of each set"),
        Objective("precision_at_k", "fraction", True, "sets that hold a right answer"),
        Objective("has_plain", "fraction", True, "sets that hold the greedy answer"),
        Objective("different", "fraction", True, "suggestions that no other of their set equals"),
        Objective("self_bleu", "fraction", False, "how far suggestions repeat others of their set"),
        Objective("repetition", "fraction", False, "tokens that end four tokens said before"),
        Objective("suggestion_tokens", "tokens", True, "length of a suggestion, its end included"),
    )
}

# Where fewer differ, a set is not what was asked for.
_LEAST_DIFFERENT = 0.5
_LONGEST = 3  # n-grams of self-BLEU: suggestions are short


@dataclass(frozen=True)
class SuggestionSet:
    """The judged suggestions of one prompt. answers: k of them. texts: what they say."""

    answers: tuple[Answer, ...]
    texts: tuple[str, ...]


def different(texts: Sequence[str]) -> float:
    """How many suggestions say something new, the first left out: 0 if all are equal, 1 if none.

    Only words count: where they are broken and spaced does not make a suggestion another one.
    """
    if len(texts) < 2:
        return 1.0
    return (len({" ".join(text.split()) for text in texts}) - 1) / (len(texts) - 1)


def self_bleu(texts: Sequence[str]) -> float:
    """The mean BLEU of each suggestion, in words, against the others; 0 for a single one.

    N-grams of up to three words, counts above one word smoothed by one (Lin and Och, 2004).
    Source: Zhu et al., "Texygen" (SIGIR 2018, arXiv:1802.01886).
    """
    words = [text.split() for text in texts]
    if len(words) < 2:
        return 0.0
    scores = [_bleu(one, words[:i] + words[i + 1 :]) for i, one in enumerate(words)]
    return math.fsum(scores) / len(scores)


def _bleu(words: list[str], others: list[list[str]]) -> float:
    if not words:
        return float(any(not other for other in others))
    logs = []
    for size in range(1, _LONGEST + 1):
        own = _grams(words, size)
        known: Counter[tuple[str, ...]] = Counter()
        for other in others:
            known |= _grams(other, size)
        smooth = size > 1
        matched = (own & known).total() + smooth
        if not matched:
            return 0.0
        logs.append(math.log(matched / (own.total() + smooth)))
    nearest = min((abs(len(other) - len(words)), len(other)) for other in others)[1]
    brevity = min(0.0, 1.0 - nearest / len(words))
    return math.exp(brevity + math.fsum(logs) / _LONGEST)


def _grams(words: list[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[i:] for i in range(size)), strict=False))


def check_different(sets: Sequence[SuggestionSet]) -> None:
    """Raise MeasurementFailed where most suggestions only say again what another one says."""
    found = math.fsum(different(one.texts) for one in sets) / len(sets)
    if found < _LEAST_DIFFERENT:
        raise MeasurementFailed(
            "degenerate",
            f"only {100 * found:.0f} % of the suggestions beside the first say something else: "
            "these are no sets to choose from",
        )


def quality(sets: Sequence[SuggestionSet], comparable: str) -> tuple[Quantity, ...]:
    """One quantity for each of OBJECTIVES that applies. Spread: standard error over prompts.

    comparable: what else must be equal for two values to compare.
    """
    checked = [one for one in sets if one.answers[0].right is not None]
    nll, spread = ratio(
        [math.fsum(a.nll for a in one.answers) for one in sets],
        [sum(a.tokens for a in one.answers) for one in sets],
    )
    found = [_quantity("nll", nll, spread, len(sets), comparable)]
    per = {
        "best_nll": [min(a.nll / a.tokens for a in one.answers) for one in sets],
        "precision_at_k": [float(any(a.right for a in one.answers)) for one in checked],
        "has_plain": [float(any(a.as_plain for a in one.answers)) for one in sets],
        "different": [different(one.texts) for one in sets],
        "self_bleu": [self_bleu(one.texts) for one in sets],
        "repetition": [_mean([a.repetition for a in one.answers]) for one in sets],
        "suggestion_tokens": [_mean([float(a.tokens) for a in one.answers]) for one in sets],
    }
    for name, values in per.items():
        if values:
            mean, error = mean_and_error(values)
            spread = error if math.isfinite(error) else 0.0
            found.append(_quantity(name, mean, spread, len(values), comparable))
    return tuple(found)


def _quantity(name: str, value: float, spread: float, samples: int, comparable: str) -> Quantity:
    objective = OBJECTIVES[name]
    return Quantity(
        name, value, spread, samples, objective.unit, objective.higher, f"{name}|{comparable}",
        {"spread_from": "standard error over prompts"},
    )  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
