"""Records: what was observed. Plain frozen values that cross processes and go into SQL as they are.

A number never stands alone: it carries its spread, how many samples it rests on, its unit and the
conditions (`detail`) under which it may be compared with another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from paretoken.spaces.objectives import Objective


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

    aspect: "quality" or "speed". key: what it is reusable for: quality_key or cost_key.
    seconds: wall time it took, warm-up and capture included.
    """

    aspect: str
    key: str
    quantities: tuple[Quantity, ...]
    environment: Environment
    seed: int
    seconds: float
    detail: Mapping[str, Any] = field(default_factory=dict)


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
    created: ISO 8601, UTC.
    """

    name: str
    workload: str
    algorithm: str
    seed: int
    space: Mapping[str, Any]
    objectives: tuple[Objective, ...]
    options: Mapping[str, Any]
    created: str


@dataclass(frozen=True)
class Trial:
    """One proposal of a study and what became of it.

    number: order of proposal; 0 is always plain decoding. state: "pending", "done" or "failed".
    candidate_id: hex digest of the canonical tree: equal settings share it in every study.
    numbers: the algorithm's decision values (a DNA as plain numbers), empty for number 0.
    quantities: by name, quality and speed together, with `speedup` against number 0.
    origin: for "quality" and "speed", "measured" or "reused" (answered from the store).
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
