"""The worker: what runs in an actor's process. It needs no Ray; `dispatch_place` makes it an actor.

One thread of the actor measures, always the same one; another answers how far that is.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paretoken.search.evaluator import About, Clocked, Emitted, Identified, Local
from paretoken.search.failures import failure_of
from paretoken.spaces.errors import BadInput
from paretoken.spaces.records import Failure
from paretoken.spaces.settings import Tree
from paretoken.spaces.workload import Observed


@dataclass(frozen=True)
class Answer:
    """What a call gave, or how it failed: exceptions need not survive the way, records do.

    bad_input: the error says that the user asked for something that cannot be.
    """

    value: Any = None
    failure: Failure | None = None
    bad_input: bool = False


class Worker:
    """One loaded workload on one share of a machine, for its life.

    rungs: see `Local.open`. threads: of PyTorch. memory: bytes that the process may allocate, 0 for
    no limit.
    """

    def __init__(
        self,
        workload: str,
        options: Mapping[str, Any],
        rungs: tuple[int, ...],
        threads: int,
        memory: int,
    ):
        for library in ("OMP", "MKL", "OPENBLAS"):  # each reads this once, when it is loaded
            os.environ[f"{library}_NUM_THREADS"] = str(threads)
        self._workload, self._options, self._rungs = workload, options, rungs
        self._local: Local | None = None
        self._recording = b""
        self._moment = ("loading the model", 0.0)
        if memory:
            _, most = resource.getrlimit(resource.RLIMIT_DATA)
            resource.setrlimit(resource.RLIMIT_DATA, (memory, most))

    def call(self, method: str, *arguments: Any) -> Answer:
        """One of the methods below; whatever it raises comes back as a record."""
        try:
            return Answer(getattr(self, f"_{method}")(*arguments))
        except Exception as error:
            # Where all memory is taken, telling about it needs some more.
            soft, most = resource.getrlimit(resource.RLIMIT_DATA)
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))
            answer = Answer(failure=failure_of(error), bad_input=isinstance(error, BadInput))
            del error
            resource.setrlimit(resource.RLIMIT_DATA, (soft, most))
            return answer

    def moment(self) -> tuple[str, float]:
        """The phase of what is being measured, and the share of it that is done."""
        return self._moment

    def _about(self) -> About:
        return self._opened.about()

    def _record(self) -> bytes:
        return self._opened.record()

    def _prepare(self, tree: Tree) -> str:
        return self._opened.prepare(tree, self._report)

    def _identify(self, tree: Tree, recording: bytes | None) -> Identified:
        """recording: None for the one that was sent before."""
        if recording is not None:
            self._recording = recording
        return self._opened.identify(tree, self._recording, self._report)

    def _sample(self, tree: Tree, samples: int, seed: int, said: Mapping[str, Any]) -> Emitted:
        return self._opened.sample(tree, samples, seed, said, self._report)

    def _judge(self) -> Observed:
        return self._opened.judge(self._report)

    def _speed(self, tree: Tree) -> Clocked:
        return self._opened.speed(tree, self._report)

    @property
    def _opened(self) -> Local:
        if self._local is None:
            self._local = Local.open(self._workload, self._options, self._rungs)
        return self._local

    def _report(self, phase: str, share: float) -> None:
        self._moment = (phase, share)
