"""Dispatch: workers on a Ray cluster, each an actor that keeps one loaded model.

Trials run in threads of the driver, which alone writes to the store, and borrow a worker for each
measurement. A worker that dies is replaced; a trial that waits for another's result has none.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from paretoken.search.dispatch_cluster import connect, machines, memory_bytes, shares
from paretoken.search.dispatch_place import Place
from paretoken.search.evaluator import About, Clocked, Emitted, Evaluator, Identified
from paretoken.search.failures import Failed, Stopped
from paretoken.search.workers import Cluster
from paretoken.spaces.errors import Unreadable
from paretoken.spaces.records import Environment, StudyInfo
from paretoken.spaces.settings import Tree
from paretoken.spaces.workload import Observed, Report

_MOST_OPENINGS = 3  # of one place in a row, before it is given up
_WAIT_S = 1.0


class RayWorkers:
    """timed_on: the kind of device that this study was timed on before, "" for none.

    Opening waits until all workers have loaded the model. Raises BadInput for what does not fit
    into the cluster, before anything starts.
    """

    def __init__(self, cluster: Cluster, info: StudyInfo, timed_on: str, say: Report) -> None:
        self._limit_s = cluster.limit_s
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._waiting: list[object] = []
        self._wants: dict[object, str] = {}
        self._places: list[Place] = []
        self._replacing: list[threading.Thread] = []
        self._lost: list[Exception] = []
        say("connecting to the cluster", 0.0)
        self._ours = connect(cluster)
        try:
            wanted = shares(cluster, machines(), info.options.get("device"))
            memory = memory_bytes(cluster)
            self._places = [Place(share, info, memory, self._stopping) for share in wanted]
            self._open(say)
        except BaseException:
            self.close()
            raise
        self._idle = list(self._places)
        kinds = Counter(self._environment(place) for place in self._places if place.share.times)
        known = [place for place in kinds if place.device == timed_on]
        chosen = (known or sorted(kinds, key=lambda kind: (-kinds[kind], kind.device)))[0]
        first = self._places[0].about
        assert first is not None
        self.about = replace(first, environment=chosen)
        self.at_once = 2 * len(self._places)

    @contextmanager
    def borrow(self, aspect: str, report: Report) -> Iterator[Evaluator]:
        place = self._take(aspect, report)
        try:
            yield _Borrowed(place, self._environment(place), report, self._limit_s)
        finally:
            self._give(place)

    def stop(self) -> None:
        self._stopping.set()
        for place in self._places:
            place.kill()

    def close(self) -> None:
        import ray

        self.stop()
        for thread in self._replacing:
            thread.join()
        if self._ours:
            ray.shutdown()
            self._ours = False

    def _open(self, say: Report) -> None:
        for place in self._places:
            place.start()
        for n, place in enumerate(self._places):
            say(f"workers: {n} of {len(self._places)} are ready", n / len(self._places))
            try:
                place.opened(say)
            except Failed as error:
                raise Unreadable(
                    f"a worker cannot open the workload: {error.failure.reason}, "
                    f"{error.failure.detail}. Where paretoken is not installed on the machines of "
                    "the cluster, send it along with --ray-wheel FILE.whl."
                ) from error
        for place in self._places[1:]:
            _check_same_workload(self._places[0].about, place.about)

    def _environment(self, place: Place) -> Environment:
        assert place.about is not None
        return place.about.environment

    def _fits(self, place: Place, aspect: str) -> bool:
        """Quality is the same on every machine; speed is timed on one kind of device."""
        if aspect != "speed":
            return True
        here, there = self._environment(place), self.about.environment
        same = (here.device, here.software) == (there.device, there.software)
        return place.share.times and same

    def _take(self, aspect: str, report: Report) -> Place:
        """The first idle place that fits, for those who have waited longest."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            self._wants[ticket] = aspect
            try:
                while (place := self._free(ticket)) is None:
                    if not any(self._fits(place, aspect) for place in self._places):
                        raise Unreadable(
                            f"no worker is left that could measure {aspect}; the last one: "
                            f"{self._lost[-1]}. What was measured is kept: mend the cluster, and "
                            "continue with --resume."
                        )
                    if not self._changed.wait(_WAIT_S):
                        report(f"{aspect}: waiting for a worker", 0.0)
                self._idle.remove(place)
                return place
            finally:
                self._waiting.remove(ticket)
                del self._wants[ticket]
                self._changed.notify_all()

    def _free(self, ticket: object) -> Place | None:
        free = list(self._idle)
        for other in self._waiting:  # the oldest first; those who can time are spared for timing
            fitting = [place for place in free if self._fits(place, self._wants[other])]
            chosen = min(fitting, key=lambda place: self._fits(place, "speed"), default=None)
            if other is ticket:
                return chosen
            if chosen is not None:
                free.remove(chosen)
        return None

    def _give(self, place: Place) -> None:
        with self._changed:
            if place.alive:
                self._idle.append(place)
                self._changed.notify_all()
            elif not self._stopping.is_set():
                thread = threading.Thread(target=self._replace, args=[place], daemon=True)
                self._replacing.append(thread)
                thread.start()

    def _replace(self, place: Place) -> None:
        """A new worker in that place; the place is given up where several cannot be opened."""
        for _ in range(_MOST_OPENINGS):
            if self._stopping.is_set():
                return
            try:
                place.start()
                place.opened(lambda phase, share: None)
                _check_same_workload(self.about, place.about)
            except Exception as error:
                self._lost.append(error)
                place.kill()
                continue
            except Stopped:
                place.kill()
                return
            with self._changed:
                self._idle.append(place)
                self._changed.notify_all()
            return
        with self._changed:
            self._places.remove(place)
            self._changed.notify_all()


def _check_same_workload(first: About | None, other: About | None) -> None:
    """Raise Unreadable where two workers opened unlike models or data under one name."""
    assert first is not None and other is not None
    here, there = first.context, other.context
    unlike = sorted(name for name in {*here, *there} if here.get(name) != there.get(name))
    if unlike:
        raise Unreadable(
            f"two workers opened unlike workloads: {', '.join(unlike)} differ. Files that options "
            "name, and libraries, have to be the same on all machines of the cluster; and what is "
            "chosen by the kind of device, sizes mostly, has to be named with --option where kinds "
            "are mixed. Workloads that train have one precision: give them one kind."
        )


class _Borrowed:
    """A worker for one measurement, as an `Evaluator`. What is learnt beforehand has no limit: it
    is kept, goes on where it was, and serves other candidates, too.
    """

    def __init__(
        self, place: Place, environment: Environment, report: Report, limit_s: float
    ) -> None:
        self._place, self._report, self._limit_s = place, report, limit_s
        self._deadline = time.monotonic() + limit_s
        self.environment = environment

    def record(self) -> bytes:
        found: bytes = self._call("record")
        return found

    def prepare(self, tree: Tree, report: Report) -> str:
        found: str = self._place.call(self._report, float("inf"), "prepare", tree)
        self._deadline = time.monotonic() + self._limit_s
        return found

    def identify(self, tree: Tree, recording: bytes, report: Report) -> Identified:
        return self._place.identify(self._report, self._deadline, tree, recording)

    def sample(
        self, tree: Tree, samples: int, seed: int, said: Mapping[str, Any], report: Report
    ) -> Emitted:
        found: Emitted = self._call("sample", tree, samples, seed, dict(said))
        return found

    def judge(self, report: Report) -> Observed:
        found: Observed = self._call("judge")
        return found

    def speed(self, tree: Tree, report: Report) -> Clocked:
        found: Clocked = self._call("speed", tree)
        return found

    def _call(self, method: str, *arguments: Any) -> Any:
        return self._place.call(self._report, self._deadline, method, *arguments)
