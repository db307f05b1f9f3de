"""Workload: a model with data and objectives, opened on a device, ready to measure candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from paretoken.spaces.component import Component
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Environment, Quantity

# phase for a person, and the share of it that is done
Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Observed:
    """What a workload found out about one aspect of a candidate. seconds: all it took."""

    quantities: tuple[Quantity, ...]
    seconds: float
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Behaviour:
    """What a candidate's numbers depend on; equal behaviours need one measurement.

    identity: digest of weights, tokenizer and class list. dtype: as computed in. law: fixes the law
    of the output: the sampling rule alone for a lossless decoder, the decoder too for a lossy one.
    conditions: of the quality value: extractor, reference, N. decoder, runtime: fix the cost.
    """

    identity: str
    dtype: str
    law: Mapping[str, Any]
    conditions: Mapping[str, Any]
    decoder: Mapping[str, Any]
    runtime: Mapping[str, Any]


class Workload(Protocol):
    """An opened workload. Measuring raises MeasurementFailed; that fails the candidate only."""

    objectives: tuple[Objective, ...]
    environment: Environment

    def plain(self) -> Component:
        """Plain decoding, against which every candidate is compared."""

    def behaviour(self, candidate: Component) -> Behaviour:
        """What the candidate's numbers depend on; quick, nothing runs."""

    def quality(self, candidate: Component, seed: int, report: Report) -> Observed:
        """Measure the candidate's quality."""

    def speed(self, candidate: Component, seed: int, report: Report) -> Observed:
        """Measure the candidate's speed."""

    def generate(
        self, tree: Mapping[str, Any], classes: tuple[int, ...], samples: int, seed: int
    ) -> Any:
        """uint8 images [n, H, W] or [n, 3, H, W] under settings; classes () means all in turn."""


class WorkloadPlugin(Protocol):
    """What a file in `evaluators/workloads/` offers as `plugin`."""

    space: str  # the preset searched where the user names none

    def open(self, **options: Any) -> Workload:
        """Load model and data. options: device, samples, batch, and the workload's own."""
