"""Evaluator: one opened workload that measures candidates, one at a time.

What goes in and comes out are plain values: trees, records, bytes and digests. What was sampled
stays inside between `sample` and `judge`. So an evaluator works the same in this process and in
another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from paretoken.cache.fingerprint import fingerprint, transcript
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.errors import BadValue, MeasurementFailed
from paretoken.spaces.objectives import Objective
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.records import Environment, Fingerprint
from paretoken.spaces.settings import Tree
from paretoken.spaces.workload import Observed, Preparing, Report, Sampled, Workload


@dataclass(frozen=True)
class About:
    """What an opened workload says of itself.

    plain: the canonical tree of plain decoding. samples: the number that quality is judged by.
    """

    objectives: tuple[Objective, ...]
    environment: Environment
    context: Mapping[str, Any]
    plain: Tree
    samples: int


@dataclass(frozen=True)
class Identified:
    """What a candidate does, without the floats that say so: see `workload.Behaviour`."""

    fingerprint: Fingerprint
    context: Mapping[str, Any]
    conditions: Mapping[str, Any]
    runtime: Mapping[str, Any]


@dataclass(frozen=True)
class Emitted:
    """Digests of what was sampled, and of the rounds that took; seconds: of sampling."""

    tokens: str
    trace: str
    seconds: float


@dataclass(frozen=True)
class Clocked:
    """A speed, and the digest of the rounds it took."""

    observed: Observed
    trace: str


class Evaluator(Protocol):
    """See `Local`, which does it here. Whatever fails raises, and fails the candidate only."""

    environment: Environment

    def record(self) -> bytes:
        """See `Workload.record`."""

    def prepare(self, tree: Tree, report: Report) -> str:
        """Have learnt what a candidate needs, before anything else of it; see `Preparing`."""

    def identify(self, tree: Tree, recording: bytes, report: Report) -> Identified:
        """What a candidate does on the recorded rows."""

    def sample(
        self, tree: Tree, samples: int, seed: int, said: Mapping[str, Any], report: Report
    ) -> Emitted:
        """Sample, and keep it for `judge`. said: what the tokens mean something together with."""

    def judge(self, report: Report) -> Observed:
        """The quality of what was sampled last."""

    def speed(self, tree: Tree, report: Report) -> Clocked:
        """Measure the speed."""


class Local:
    """A workload that is open in this process."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._sampled: Sampled | None = None
        self.environment = workload.environment

    @classmethod
    def open(cls, name: str, options: Mapping[str, Any], rungs: Iterable[int] = ()) -> Local:
        """Load model and data of the workload of that name, able to judge at these rungs too."""
        workload = KINDS["workloads"].load(name).open(**options)
        for samples in rungs:
            workload.check_samples(samples)
        return cls(workload)

    def about(self) -> About:
        """What the workload is."""
        workload = self._workload
        plain = to_tree(canonical(workload.plain()))
        context = dict(workload.context())
        return About(workload.objectives, workload.environment, context, plain, workload.samples)

    @property
    def race_samples(self) -> int:
        """By how many samples an entrant of a race is judged; see `Workload`."""
        return int(getattr(self._workload, "race_samples", 1))

    def record(self) -> bytes:
        return self._workload.record()

    def prepare(self, tree: Tree, report: Report) -> str:
        if not isinstance(self._workload, Preparing):
            return ""
        return self._workload.prepare(from_tree(tree), report)

    def identify(self, tree: Tree, recording: bytes, report: Report) -> Identified:
        behaviour = self._workload.behaviour(from_tree(tree), recording)
        try:
            found = fingerprint(behaviour, recording)
        except BadValue as error:  # the floats are the plug-in's, not the user's
            raise MeasurementFailed("nan", f"what the candidate does: {error}") from error
        return Identified(found, behaviour.context, behaviour.conditions, behaviour.runtime)

    def sample(
        self, tree: Tree, samples: int, seed: int, said: Mapping[str, Any], report: Report
    ) -> Emitted:
        self._sampled = sampled = self._workload.sample(from_tree(tree), samples, seed, report)
        tokens = transcript(sampled.tokens, of=said)
        return Emitted(tokens, transcript(*sampled.trace), sampled.seconds)

    def judge(self, report: Report) -> Observed:
        assert self._sampled is not None, "sample before you judge"
        return self._workload.judge(self._sampled, report)

    def speed(self, tree: Tree, report: Report) -> Clocked:
        observed = self._workload.speed(from_tree(tree), report)
        return Clocked(replace(observed, trace=()), transcript(*observed.trace))
