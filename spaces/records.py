"""Records: what was observed. Plain frozen values that cross processes and go into SQL as they are.

A number never stands alone: it carries its spread, how many samples it rests on, its unit and the
conditions (`detail`) under which it may be compared with another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from paretoken.spaces.objectives import Objective

# What number 0 is called in every study of something that decodes.
PLAIN = "plain decoding"


@dataclass(frozen=True)
class Quantity:
    """One measured number.

    spread: one standard deviation in the number's unit; 0 where the number is exact (a count).
    samples: images, repeats or rounds it rests on. detail: extractor, reference, how the spread
    was found, …; two quantities of one name compare only where `comparable` of both is equal.
    """

    name: str
    value: float
    spread: float
    samples: int
    unit: str = ""
    higher: bool = True
    comparable: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Environment:
    """Where a measurement was made: speeds compare within one `device` and `software` only."""

    device: str  # "cpu AMD EPYC, 2 threads", "cuda NVIDIA H100 80GB HBM3"
    software: str  # "paretoken 0.1.0, torch 2.14.1, python 3.11.7"
    commit: str = ""


@dataclass(frozen=True)
class Measurement:
    """One observation of one candidate: its quality or its speed.

    aspect: "quality" or "speed". key: of the class it belongs to: the quality key with its
    conditions, or the cost key. seconds: wall time it took, warm-up and capture included.
    work: of a speed, the key that the law level predicted before anything ran. tokens, trace:
    digests of what was emitted and of the rounds it took. fresh: made to confirm a front.
    """

    aspect: str
    key: str
    quantities: tuple[Quantity, ...]
    environment: Environment
    seed: int
    seconds: float
    detail: Mapping[str, Any] = field(default_factory=dict)
    work: str = ""
    tokens: str = ""
    trace: str = ""
    fresh: bool = False


@dataclass(frozen=True)
class Fingerprint:
    """What a candidate does, before it runs: digests of floats on two offset grids.

    quality: of the output law; equal for everything that emits the same law. work: of the output
    law and of all that fixes the rounds it takes. Two fingerprints agree if either grid does: a
    value at the edge of one grid's cell lies well inside the other's. context: digest of weights,
    tokenizer, classes, precision and recorded rows. evidence: how losslessness is known.
    """

    context: str
    quality: tuple[str, str]
    work: tuple[str, str]
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Keys:
    """The names of the classes that a fingerprint belongs to.

    near_tie: whether one of them was found by one grid only. known: whether the candidate itself
    was given these names before.
    """

    quality: str
    work: str
    near_tie: bool = False
    known: bool = False


@dataclass(frozen=True)
class BehaviourClass:
    """Everything that behaves alike in one aspect, and what all its observations say together.

    key: as in `Measurement`. split: above 0 for a part that a disagreement split off. count:
    observations that `quantities` rest on; fresh: how many of them were made to confirm a front.
    candidates: ids of those that were observed. seconds: mean of what one observation took.
    quantities: the mean over observations; its spread is the standard error of that mean.
    """

    id: int
    aspect: str
    key: str
    split: int
    count: int
    fresh: int
    candidates: frozenset[str]
    seconds: float
    quantities: Mapping[str, Quantity]


@dataclass(frozen=True)
class Disagreement:
    """An observation that its class does not explain by noise; see `schema.DisagreementRow`."""

    candidate_id: str
    aspect: str
    name: str
    value: float
    expected: float
    sigmas: float
    split: bool


@dataclass(frozen=True)
class Failure:
    """Why a candidate has no score. reason: a short stable word, "nan" or "out-of-memory" say."""

    reason: str
    detail: str
    traceback: str = ""


@dataclass(frozen=True)
class StudyInfo:
    """A stored search: what was asked, over which space, wanting what.

    space: the space as JSON (see `spaces.space`), the one that `--resume` uses.
    options: samples, batch, device and whatever else the workload was opened with.
    created: ISO 8601, UTC. rungs: see `search.rungs`; the last is the study's number of samples.
    baseline: what people call number 0, to which everything is compared.
    """

    name: str
    workload: str
    algorithm: str
    seed: int
    space: Mapping[str, Any]
    objectives: tuple[Objective, ...]
    options: Mapping[str, Any]
    created: str
    rungs: tuple[int, ...] = ()
    baseline: str = PLAIN


@dataclass(frozen=True)
class Rung:
    """The quality that a trial showed with few samples, which compares at this number only.

    samples: so many. quantities: by name, means of its class there. origin: as in `Trial`, of
    "quality". seconds: what one such observation takes on average.
    """

    samples: int
    quantities: Mapping[str, Quantity]
    origin: str
    seconds: float


@dataclass(frozen=True)
class Trial:
    """One proposal of a study and what became of it.

    number: order of proposal; 0 is the baseline, see `StudyInfo`. state: "pending", "done",
    "failed", or "stopped" at its last rung: then it has a speed and no quality.
    candidate_id: hex digest of the canonical tree: equal settings share it in every study.
    numbers: the algorithm's decision values (a DNA as plain numbers), empty for number 0.
    quantities: by name, quality and speed together, with `speedup` against number 0: the means of
    its two classes. origin: for "quality" and "speed": "measured", or the level that answered from
    the store: "canonical" (equal settings), "law" or "transcript" (equal tokens).
    fresh: for "quality" and "speed", how many observations were made to confirm a front.
    seconds: for "quality" and "speed", what one observation takes on average.
    rungs: what it showed with fewer samples than the study's, the fewest first.
    """

    number: int
    candidate_id: str
    tree: Mapping[str, Any]
    numbers: tuple[float, ...]
    state: str
    quantities: Mapping[str, Quantity]
    origin: Mapping[str, str] = field(default_factory=dict)
    failure: Failure | None = None
    environment: Environment | None = None
    fresh: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    rungs: tuple[Rung, ...] = ()
