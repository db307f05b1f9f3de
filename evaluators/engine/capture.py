"""CUDA graphs of whole rounds: one launch instead of hundreds, for each window, guidance and stage
(`engine.target.Staged`).

Small models are bound by launches: without capture a timing measures Python. Capture time is
reported, never timed.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from paretoken.evaluators.engine.session import Session

# Rounds run eagerly before a capture, so that libraries choose kernels and allocate outside of it.
_WARM_UP = 2

# Windows are rounded up to one of these, so that adaptive lengths need few graphs.
WINDOWS = (1, 2, 4, 8, 16, 32, 64)


@cache
def _pool() -> Any:
    """The memory that all graphs of the process share.

    No graph runs beside another, and what a round leaves behind lies outside of it. So the next
    candidate's graphs find the memory of the last one's.
    """
    return torch.cuda.MemPool()


def captured(work: Callable[[], None]) -> torch.cuda.CUDAGraph:
    """The graph of some work of fixed shapes that asks the host nothing; it has been run before."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch has no types there
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=_pool().id):
        work()
    torch.cuda.synchronize()
    return graph


class Rounds:
    """Runs a session's rounds, from captured graphs where the device and the settings allow."""

    def __init__(self, session: Session, graphs: bool) -> None:
        self._session = session
        self._captures = graphs and session.target.device.type == "cuda" and session.capturable
        self._graphs: dict[tuple[int, bool, int], torch.cuda.CUDAGraph] = {}
        self._begins = session.begins
        self.capture_seconds = 0.0
        if session.target.device.type == "cuda":
            standing = session.rows.standing
            self._seen = [torch.empty_like(standing, device="cpu").pin_memory() for _ in range(2)]
            self._events = [torch.cuda.Event() for _ in range(2)]  # type: ignore[no-untyped-call]
            self._turn = 0

    def padded(self, longest: int) -> int:
        """The window fed for a longest wanted length: as it is, or the next captured size."""
        if not self._captures or longest == self._session.window:
            return longest
        return min(self._session.window, next(w for w in WINDOWS if w >= longest))

    def prepare(self, guided: bool) -> None:
        """Capture the windows that will be needed, before any sample is loaded.

        With every row finished a round changes no sample, so warming up is harmless.
        """
        if not self._captures:
            return
        constant = self._session.decoder.length.constant
        full = self._session.window
        windows = {full} if constant else {full, *(w for w in WINDOWS if w < full)}
        for window in sorted(windows, reverse=True):
            for with_guidance in {guided, guided and self._session.sampling.guided_at(1 << 30)}:
                for stage in self._begins:
                    self._capture(window, with_guidance, stage)

    def _capture(self, window: int, guided: bool, stage: int) -> None:
        started = time.perf_counter()
        self._session.aim(stage)
        self._graphs[window, guided, stage] = captured(lambda: self._session.round(window, guided))
        self.capture_seconds += time.perf_counter() - started

    def run(self, window: int, guided: bool, least: int) -> None:
        """One round; from a graph where it was captured. least: tokens that every row has."""
        stage = self._begins[bisect_right(self._begins, least) - 1]
        graph = self._graphs.get((window, guided, stage))
        if graph is None:
            self._session.aim(stage)
            self._session.round(window, guided)
        else:
            graph.replay()

    def look(self) -> Look:
        """Begin to look at how the rows stand after the rounds run so far."""
        standing = self._session.rows.standing
        if standing.device.type == "cpu":
            return Look(standing.clone(), None)
        self._turn = 1 - self._turn
        seen, event = self._seen[self._turn], self._events[self._turn]
        seen.copy_(standing, non_blocking=True)
        event.record()
        return Look(seen, event)


class Look:
    """How the rows stood after a round, on its way to the host; the next but one overwrites it."""

    def __init__(self, standing: torch.Tensor, event: torch.cuda.Event | None) -> None:
        self._standing, self._event = standing, event

    def wait(self) -> NDArray[np.int64]:
        """`Rows.standing`, once the round has ended."""
        if self._event is not None:
            self._event.synchronize()
        return np.array(self._standing.numpy())
