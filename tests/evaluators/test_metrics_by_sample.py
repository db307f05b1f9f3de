"""Metrics that give every sample a number: known values, and how workloads ask for them."""

from __future__ import annotations

import math

import pytest
import torch

from paretoken.evaluators.metrics.by_sample import (
    Said,
    TextMetric,
    identities,
    load_metrics,
    scored,
)
from paretoken.evaluators.text_prompts import Prompt
from paretoken.spaces.errors import BadInput, MeasurementFailed, UnknownName
from paretoken.spaces.objectives import Objective
from paretoken.spaces.plugins import KINDS

ASKED = Prompt("p", "chat", "Go on.")


class Vowels(TextMetric):
    """Vowels in an answer."""

    objective = Objective("vowels", "vowels", True, "")

    def values(self, answers: list[Said]) -> list[float]:  # type: ignore[override]
        return [sum(letter in "aeiou" for letter in answer.text) for answer in answers]


def said(*texts: str) -> list[Said]:
    return [Said(ASKED, text, "") for text in texts]


def test_a_quantity_is_the_mean_with_its_standard_error() -> None:
    (found,) = scored([Vowels()], said("a", "aa", "aaa", "aaaa"), "tiny")
    assert found.name == "vowels" and found.samples == 4 and found.value == 2.5
    # The standard deviation of 1, 2, 3, 4 with three degrees of freedom, by the root of four.
    assert found.spread == pytest.approx(math.sqrt(5 / 3) / 2)
    assert found.comparable == "vowels 1|tiny" and identities([Vowels()]) == ["vowels 1"]
    assert scored([], [], "tiny") == ()


def test_what_is_no_number_fails_the_candidate() -> None:
    class Odd(Vowels):
        def values(self, answers: list[Said]) -> list[float]:  # type: ignore[override]
            return [math.nan for _ in answers]

    class Few(Vowels):
        def values(self, answers: list[Said]) -> list[float]:  # type: ignore[override]
            return [1.0]

    with pytest.raises(MeasurementFailed, match="not finite"):
        scored([Odd()], said("a"), "")
    with pytest.raises(MeasurementFailed, match="1 values for 2"):
        scored([Few()], said("a", "b"), "")


def test_compression_sees_loops() -> None:
    compression = KINDS["metrics"].load("compression")
    plain, loop, nothing = compression.values(
        said("Nadia cooks, Peter does the shopping.", "and then " * 40, "")
    )
    assert plain < 1.0 < 2.4 < loop and nothing == 1.0


def test_sharpness_by_hand() -> None:
    """A flat image has none; one bright pixel gives -4, 1, 1, 1, 1 among the 36 inner places."""
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    images[1, 0, 3, 3] = 10
    flat, dotted = KINDS["metrics"].load("sharpness").values(images)
    assert flat == 0.0
    # Their mean is 0, and their squares are (40^2 + 4 * 10^2) / 36.
    assert dotted == pytest.approx((40**2 + 4 * 10**2) / 36)


def test_metrics_are_asked_for_by_name() -> None:
    assert load_metrics(None, "text") == ()
    (one,) = load_metrics(" compression, compression", "text")
    assert one.objective.name == "compression"
    with pytest.raises(BadInput, match="for samples of kind image"):
        load_metrics("sharpness", "text")
    with pytest.raises(UnknownName, match="Did you mean 'compression'"):
        load_metrics("compresion", "text")
