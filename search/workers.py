"""Workers: who evaluates. Here it is this process; `dispatch` has them on a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from paretoken.search.evaluator import About, Evaluator, Local
from paretoken.spaces.records import StudyInfo
from paretoken.spaces.workload import Report


@dataclass(frozen=True)
class Cluster:
    """Where workers run, and how many: see `paretoken search --help`.

    address: "local" (a cluster of this machine, for this search), "auto" (the one that runs here)
    or that of another. workers: None for as many as fit. gpus: a whole number each, or below 1;
    None for 1 where there are GPUs. limit_s: for one measurement. memory_gib: each worker may
    allocate so much, on the CPU. wheel: of paretoken, for machines where it is not installed.
    """

    address: str = "local"
    workers: int | None = None
    gpus: float | None = None
    limit_s: float = 1800.0
    memory_gib: float | None = None
    wheel: str = ""


class Workers(Protocol):
    """Evaluators of one workload.

    about: the workload; its environment is where speeds are timed. at_once: so many trials keep
    every worker busy.
    """

    about: About
    at_once: int

    def borrow(self, aspect: str, report: Report) -> AbstractContextManager[Evaluator]:
        """A worker for a while. aspect: "law", "quality" or "speed"; report: told while waiting."""

    def stop(self) -> None:
        """Drop whatever is being measured: whoever waits for it gets Stopped."""

    def close(self) -> None:
        """Let go of all workers; nobody has borrowed one any more."""


class InProcess:
    """This process, which does one thing at a time."""

    at_once = 1

    def __init__(self, info: StudyInfo) -> None:
        self._evaluator = Local.open(info.workload, info.options, info.rungs)
        self.about = self._evaluator.about()

    @contextmanager
    def borrow(self, aspect: str, report: Report) -> Iterator[Evaluator]:
        yield self._evaluator

    def stop(self) -> None:
        """What was being measured has been interrupted already."""

    def close(self) -> None:
        """There is nothing to let go of."""
