"""Metrics that give every sample a number of its own; one file, one metric, found by being there.

A plug-in of kind `metrics` is an object of a class derived from `TextMetric` or `ImageMetric`. A
workload measures it where it is asked for (`--option metrics=NAME,NAME`), beside its own
quantities: the mean over samples, with its standard error. What says something about many images at
once only, as FID does, rests on features: see `metrics.extractors`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from paretoken.evaluators.text_prompts import Prompt
from paretoken.evaluators.timing import mean_and_error
from paretoken.spaces.errors import BadInput, MeasurementFailed
from paretoken.spaces.objectives import Objective
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.records import Quantity


@dataclass(frozen=True)
class Said:
    """An answer as metrics see it. plain: what plain greedy decoding answers to the same prompt."""

    prompt: Prompt
    text: str
    plain: str


class Metric(ABC):
    """A number for each sample.

    objective: its name, unit and direction. version: goes up when values change, so that old ones
    are not taken for new ones.
    """

    modality: ClassVar[str]
    objective: ClassVar[Objective]
    version: ClassVar[int] = 1


class TextMetric(Metric):
    """A metric of answers."""

    modality = "text"

    @abstractmethod
    def values(self, answers: Sequence[Said]) -> Sequence[float]:
        """One finite number for each answer, which does not depend on the others."""


class ImageMetric(Metric):
    """A metric of images."""

    modality = "image"

    @abstractmethod
    def values(self, images: Tensor) -> Sequence[float]:
        """One finite number for each of uint8 images [N, 1 or 3, H, W], on any device."""


def load_metrics(names: str | None, modality: str) -> tuple[Any, ...]:
    """The metrics of that modality which `names` lists with commas; none for None.

    Raises UnknownName, and BadInput for a metric of another kind of model.
    """
    found = []
    for name in dict.fromkeys(one.strip() for one in (names or "").split(",") if one.strip()):
        metric = KINDS["metrics"].load(name)
        if metric.modality != modality:
            raise BadInput(
                f"metric {name} is for samples of kind {metric.modality}, but this workload makes "
                f"{modality}: paretoken plugins metrics lists the others."
            )
        found.append(metric)
    return tuple(found)


def identities(metrics: Sequence[Metric]) -> list[str]:
    """Which metrics in which version: a condition of a quality value that has them."""
    return sorted(f"{metric.objective.name} {metric.version}" for metric in metrics)


def scored(metrics: Sequence[Any], samples: Any, comparable: str) -> tuple[Quantity, ...]:
    """One quantity for each metric: mean and standard error over samples.

    comparable: what else must be equal for two values to compare. Raises MeasurementFailed("nan").
    """
    found = []
    for metric in metrics:
        values = [float(value) for value in metric.values(samples)]
        name, objective = metric.objective.name, metric.objective
        if len(values) != len(samples):
            raise MeasurementFailed(
                "metric", f"{name} gave {len(values)} values for {len(samples)} samples"
            )
        if not all(map(math.isfinite, values)):
            raise MeasurementFailed("nan", f"{name} gave values that are not finite")
        mean, error = mean_and_error(values)
        found.append(
            Quantity(
                name, mean, error if math.isfinite(error) else 0.0, len(values), objective.unit,
                objective.higher, f"{name} {metric.version}|{comparable}",
                {"spread_from": "standard error over samples"},
            )
        )  # fmt: skip
    return tuple(found)
