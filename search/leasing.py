"""Leases of a trial: while it does a piece of work, nobody else who shares the store does the same.

Somebody is a trial of any driver, on any machine: those of one search have leases of their own.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable
from typing import TypeVar

from paretoken.cache.store import Store
from paretoken.spaces.workload import Report

T = TypeVar("T")

_LEASE_S = 300.0  # longer than any phase that reports no progress
_RENEW_S = 10.0
_POLL_S = 0.5


class Leases:
    """What one trial has leased. say: told while it waits, and by `report`."""

    def __init__(self, store: Store, say: Report) -> None:
        self._store, self._say = store, say
        self._owner = f"{socket.gethostname()} {os.getpid()} {random.SystemRandom().random()}"
        self._renewed = time.monotonic()

    def take(self, key: str, what: str, answer: Callable[[], T | None]) -> T | None:
        """Lease the work, which is then to be ended by `end`; or wait for whoever has it.

        Returns the answer where that is known before the lease is ours, None once it is.
        what: the aspect, for a person.
        """
        while not self._store.lease(key, self._owner, _LEASE_S):
            other = self._store.holder(key)
            if other is not None and _died(other):
                self._store.release(key, other, "failed")
                continue
            who = "another trial" if _is_here(other) else "another process"
            self._say(f"{what}: {who} measures it", 0.0)
            time.sleep(_POLL_S)
            found = answer()
            if found is not None:
                return found
        self._renewed = time.monotonic()
        return None

    def end(self, key: str, state: str) -> None:
        """The work is "done", or has "failed" and is free again."""
        self._store.release(key, self._owner, state)

    def report(self, phase: str, share: float) -> None:
        """Say it, and renew the leases now and then: who makes no progress loses them."""
        if time.monotonic() - self._renewed > _RENEW_S:
            self._store.renew(self._owner, _LEASE_S)
            self._renewed = time.monotonic()
        self._say(phase, share)


def _is_here(owner: str | None) -> bool:
    return owner is not None and owner.split()[:2] == [socket.gethostname(), str(os.getpid())]


def _died(owner: str) -> bool:
    """Whether a driver of this machine is no more: its lease need not be waited for."""
    host, pid, _ = owner.split()
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)  # sends nothing
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
