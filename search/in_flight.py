"""Trials in flight: as many at a time as there are workers for, in threads; or one, right here."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

T = TypeVar("T")


class InFlight(Generic[T]):
    """at_once: with 1, a piece of work is done inside `start`, and an error is raised there."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._threads = ThreadPoolExecutor(at_once, "trial") if at_once > 1 else None
        self._open: set[Future[T]] = set()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether something has to end before anything else is started."""
        return len(self._open) >= self._at_once

    def start(self, work: Callable[[], T]) -> None:
        """Do that; `ended` tells what came of it."""
        if self._threads is not None:
            self._open.add(self._threads.submit(work))
            return
        done: Future[T] = Future()
        done.set_result(work())
        self._open.add(done)

    def ended(self) -> list[T]:
        """Wait until something has ended; returns all that has. Raises what the work raised."""
        done, self._open = wait(self._open, return_when=FIRST_COMPLETED)
        return [each.result() for each in done]

    def close(self) -> None:
        """Begin nothing any more, and wait for what has begun."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
