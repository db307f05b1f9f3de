"""Workload: a model with data and objectives, opened on a device, ready to measure candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from paretoken.spaces.component import Component
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Environment, Quantity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# phase for a person, and the share of it that is done
Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Observed:
    """What a workload found out about one aspect of a candidate. seconds: all it took.

    trace: int64 arrays of the rounds that equal work repeats exactly.
    """

    quantities: tuple[Quantity, ...]
    seconds: float
    detail: Mapping[str, Any] = field(default_factory=dict)
    trace: tuple[NDArray[np.int64], ...] = ()


@dataclass(frozen=True)
class Sampled:
    """What a candidate emitted, before anybody judged it.

    tokens: int64 [n, N]. trace: int64 arrays of the rounds it took. payload: the workload's own.
    """

    tokens: NDArray[np.int64]
    trace: tuple[NDArray[np.int64], ...]
    seconds: float
    payload: Any


@dataclass(frozen=True)
class Behaviour:
    """What a candidate does, told by floats: equal behaviours need one measurement.

    context: weights, tokenizer, classes and precision. target: float64 arrays, the law of the
    target on recorded rows. drafting: canonical drafter and length. rule: float64 arrays, what is
    accepted and what follows a rejection on the same rows; empty where nothing is verified.
    lossless: whether the emitted law is the target's, and evidence: how that is known.
    conditions: of a quality value, beside the number of samples: extractor, reference.
    runtime: fixes the cost of the work.
    seconds: what finding this out took.
    """

    context: Mapping[str, Any]
    target: tuple[NDArray[np.float64], ...]
    drafting: Mapping[str, Any]
    rule: tuple[NDArray[np.float64], ...]
    lossless: bool
    evidence: Mapping[str, Any]
    conditions: Mapping[str, Any]
    runtime: Mapping[str, Any]
    seconds: float = 0.0


class Workload(Protocol):
    """An opened workload. Measuring raises MeasurementFailed; that fails the candidate only."""

    objectives: tuple[Objective, ...]
    environment: Environment
    samples: int  # by which quality is judged, unless fewer are asked for
    # Where a race cannot judge by one sample, the attribute `race_samples` says by how many.

    def check_samples(self, samples: int) -> None:
        """Raise BadInput where quality cannot be judged by so many samples."""

    def plain(self) -> Component:
        """Plain decoding, against which every candidate is compared."""

    def context(self) -> Mapping[str, Any]:
        """What a recording belongs to: weights, tokenizer and classes."""

    def record(self) -> bytes:
        """Rows of the model on which decoders are compared; recorded once, then kept."""

    def behaviour(self, candidate: Component, recording: bytes) -> Behaviour:
        """What the candidate does; quick, for nothing is generated."""

    def sample(self, candidate: Component, samples: int, seed: int, report: Report) -> Sampled:
        """Emit so many samples, which the candidate's quality is to be judged by."""

    def judge(self, sampled: Sampled, report: Report) -> Observed:
        """Measure the quality of what was sampled."""

    def speed(self, candidate: Component, report: Report) -> Observed:
        """Measure the candidate's speed, on the same samples for every candidate."""

    def generate(
        self,
        tree: Mapping[str, Any],
        classes: tuple[int, ...],
        samples: int,
        seed: int,
        study_seed: int,
        report: Report,
    ) -> Any:
        """Samples under settings; classes () means all in turn.

        seed: of what is drawn. study_seed: of the study that the settings come from; where
        something has to be trained it is trained with that, as the study's first observation is.

        Images: uint8 [n, H, W] or [n, 3, H, W]. Text: a list of plain objects, one for each prompt.
        """


@runtime_checkable
class Preparing(Protocol):
    """A workload some of whose candidates have to learn something before anybody can tell what they
    do; what was learnt is kept outside of it."""

    def prepare(self, candidate: Component, report: Report) -> str:
        """Learn what the candidate lacks; quick where it lacks nothing.

        Returns a digest of what it uses of that, "" where that is nothing: whoever measures it in
        another process must have learnt the same.
        """


class WorkloadPlugin(Protocol):
    """What a file in `evaluators/workloads/` offers as `plugin`."""

    # "image", "text" or "suggestions", as of a component; "training": it trains, and is opened with
    # the option `artefacts`, a folder for what was trained
    modality: str
    # Where number 0 of its studies is not plain decoding, what people call it is said by a class
    # attribute `baseline`.

    def space_for(self, options: Mapping[str, Any]) -> str:
        """The preset searched where the user names none."""

    def open(self, **options: Any) -> Workload:
        """Load model and data. options: device, samples, batch, and the workload's own."""
