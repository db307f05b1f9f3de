"""A place for a worker: a share of some machine, and the Ray actor that has it at present.

Actors are neither restarted nor asked twice by Ray: what died, and what is to be tried again, is
decided here and above. A call is waited for with a look at how far it is every second, which is
also when a limit is noticed.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from typing import Any

from paretoken.search.dispatch_cluster import Share
from paretoken.search.dispatch_worker import Answer, Worker
from paretoken.search.evaluator import About, Identified
from paretoken.search.failures import Failed, NodeLost, Stopped
from paretoken.spaces.errors import BadInput
from paretoken.spaces.records import Failure, StudyInfo
from paretoken.spaces.settings import Tree
from paretoken.spaces.workload import Report

_LOOK_S = 1.0
_LEARNS_S = 60.0  # until Ray has noticed that a machine is gone
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_RAISED = re.compile(r"\w*(Error|Exception): ")
_WHY = ("The actor is dead because", "The actor died because", "the actor's node")
# What Ray says of an actor whose machine is gone, and of one that its memory monitor killed.
_NODE = ("node has died", "node was terminated", "is temporarily unavailable")
_MEMORY = ("low on memory", "out-of-memory", "out of memory (OOM)", "OutOfMemoryError")


class Place:
    """stopping: set once the search ends, so that nobody waits for an answer any more."""

    def __init__(
        self, share: Share, info: StudyInfo, memory: int, stopping: threading.Event
    ) -> None:
        self.share = share
        self._info, self._stopping = info, stopping
        self._memory = 0 if share.gpus else memory  # CUDA reserves more than it uses
        self._actor: Any = None
        self._opening: Any = None
        self._recording: bytes | None = None  # that the actor has
        self.about: About | None = None

    @property
    def alive(self) -> bool:
        """Whether there is an actor, as far as we know."""
        return self._actor is not None

    def start(self) -> None:
        """Ask for an actor that opens the workload; Ray starts it once there is room."""
        import ray

        share = self.share
        options: Mapping[str, Any] = dict(self._info.options)
        options = {**options, "device": "cuda"} if share.gpus else {**options, "device": "cpu"}
        taken: dict[str, Any] = {"num_cpus": share.cpus, "num_gpus": share.gpus}
        if self._memory:
            taken["memory"] = self._memory
        remote: Any = ray.remote  # its types do not know of concurrency groups
        made = remote(max_restarts=0, max_task_retries=0, concurrency_groups={"watch": 1}, **taken)(
            Worker
        )
        self._actor = made.remote(
            self._info.workload, options, self._info.rungs, share.cpus, self._memory
        )
        self._opening = self._actor.call.remote("about")
        self._recording = None

    def opened(self, report: Report) -> About:
        """What the actor says of its workload, once it is open; that has no limit."""
        self.about = found = self._answer(self._opening, report, float("inf"), "about")
        assert isinstance(found, About)
        return found

    def call(self, report: Report, deadline: float, method: str, *arguments: Any) -> Any:
        """What a method of the worker gives. deadline: of `time.monotonic`.

        Raises Failed as `failures` says, and then there may be no actor any more.
        """
        return self._answer(self._actor.call.remote(method, *arguments), report, deadline, method)

    def identify(self, report: Report, deadline: float, tree: Tree, recording: bytes) -> Identified:
        """What a candidate does; the rows, some megabytes, are sent once to each actor."""
        sent = None if recording is self._recording else recording
        found: Identified = self.call(report, deadline, "identify", tree, sent)
        self._recording = recording
        return found

    def kill(self) -> None:
        """End the actor, whatever it does."""
        import ray

        if self._actor is not None:
            ray.kill(self._actor)
            self._actor = None

    def _answer(self, asked: Any, report: Report, deadline: float, method: str) -> Any:
        import ray

        last = ("", 0.0)
        try:
            while not ray.wait([asked], timeout=_until(deadline))[0]:
                last = self._look(report, last)
                if time.monotonic() > deadline:
                    self.kill()
                    detail = f"{method} took longer than it may (--limit); last seen: {last[0]}"
                    raise Failed(Failure("timeout", detail))
            answer: Answer = ray.get(asked)
        except ray.exceptions.RayError as error:
            said = self._last_words(error)
            self.kill()
            raise _death(said, last[0]) from error
        if answer.bad_input and answer.failure is not None:
            raise BadInput(answer.failure.detail)
        if answer.failure is not None:
            if answer.failure.reason == "out-of-memory":
                self.kill()  # what it still holds would be missing for the next one
            raise Failed(answer.failure)
        return answer.value

    def _last_words(self, error: Exception) -> str:
        """What Ray says of an actor without an answer. Why a connection broke, it learns later."""
        import ray

        until = time.monotonic() + _LEARNS_S
        while isinstance(error, ray.exceptions.ActorUnavailableError):
            if self._stopping.is_set():
                raise Stopped
            if time.monotonic() > until:
                break
            try:
                ray.get(self._actor.moment.options(concurrency_group="watch").remote(), timeout=5)
                time.sleep(_LOOK_S)
            except ray.exceptions.RayError as newer:
                if not isinstance(newer, ray.exceptions.GetTimeoutError):
                    error = newer
        if self._stopping.is_set():
            raise Stopped
        return str(error)

    def _look(self, report: Report, last: tuple[str, float]) -> tuple[str, float]:
        """How far the actor is; who reports nothing new makes no progress."""
        import ray

        if self._stopping.is_set():
            raise Stopped
        asked = self._actor.moment.options(concurrency_group="watch").remote()
        if not ray.wait([asked], timeout=_LOOK_S)[0]:
            return last
        moment: tuple[str, float] = ray.get(asked)
        if moment != last:
            report(*moment)
        return moment


def _until(deadline: float) -> float:
    return min(_LOOK_S, max(0.0, deadline - time.monotonic()))


def _death(said: str, phase: str) -> Failed:
    """What became of an actor, from what Ray says about it."""
    said = _COLOURS.sub("", said)
    lines = [line.strip() for line in said.splitlines()]
    # An actor that was not even made ends with what Python raised.
    raised = [line for line in lines if _RAISED.match(line)]
    found = raised[-1:] or [line for line in lines if line.startswith(_WHY)]
    why = " ".join(found) or said
    why = why.replace("Worker exit type: ", "").replace("Worker exit detail: ", "")
    first = ". ".join(" ".join(why.split()).split(". ")[:3]).rstrip(".")
    if phase:
        first += f" (during: {phase})"
    if any(words in said for words in _NODE):
        return NodeLost(Failure("node-lost", first, said))
    if any(words in said for words in _MEMORY) and "Some common causes" not in said:
        return Failed(Failure("out-of-memory", first, said))
    return Failed(Failure("worker-died", first, said))
