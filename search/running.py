"""A running study: its finished trials, its limits, and what whoever watches is told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from paretoken.cache.store import Store
from paretoken.search.confirm import seconds_to_confirm, to_confirm
from paretoken.search.progress import Progress, Watcher
from paretoken.spaces.records import StudyInfo, Trial

# A small space runs out of new candidates before an algorithm notices: stop after so many
# proposals in a row that the study has measured already.
_MOST_REPEATS = 200
# Of the minutes of a search, the share that is kept at most for measuring the front afresh.
_KEPT = 0.4


class Running:
    """wanted: candidates in all; deadline: of `time.monotonic`; None for no such limit."""

    def __init__(
        self,
        info: StudyInfo,
        store: Store,
        watch: Watcher,
        wanted: int | None,
        deadline: float | None,
        confirms: bool,
    ) -> None:
        self.info, self._store, self._watch = info, store, watch
        self._wanted, self._deadline, self._confirms = wanted, deadline, confirms
        self._finished: dict[int, Trial] = {}
        self._candidates: set[str] = set()
        self._started = time.monotonic()
        self._before = 0
        self._now = ""
        self.repeats = 0

    def known(self, trial: Trial) -> None:
        """A trial of an earlier call."""
        if trial.state != "pending":
            self._keep(trial)
            self._before = len(self._candidates)

    def has(self, tree: Mapping[str, Any]) -> bool:
        """Whether the study has a finished trial with these settings."""
        return any(trial.tree == tree for trial in self._finished.values())

    def goes_on(self) -> bool:
        """Whether another candidate may be begun."""
        if self.repeats >= _MOST_REPEATS or self.seconds_left() <= self._seconds_kept():
            return False
        return self._wanted is None or len(self._candidates) < self._wanted

    def seconds_left(self) -> float:
        """Until the deadline; inf where there is none."""
        return float("inf") if self._deadline is None else self._deadline - time.monotonic()

    def _seconds_kept(self) -> float:
        """What one more candidate and then measuring the front afresh are going to take."""
        if not self._confirms or self._deadline is None:
            return 0.0
        needed = seconds_to_confirm(to_confirm(self._store, self.info.name))
        kept = min(needed, _KEPT * (self._deadline - self._started))
        fresh = len(self._candidates) - self._before
        return kept + ((time.monotonic() - self._started) / fresh if fresh else 0.0)

    def begin(self, number: int) -> None:
        """Trial `number` is what is worked on from here."""
        self._now = f"#{number}"

    def ended(self, number: int) -> Trial:
        """Trial `number` has ended, and this is what came of it."""
        # All are read again: an observation moves the numbers of everyone in its class.
        for trial in self._store.trials(self.info.name):
            if trial.state != "pending":
                self._keep(trial)
        trial = self._finished[number]
        self._tell("", 1.0, trial)
        return trial

    def say(self, phase: str, share: float) -> None:
        """What happens now, and how much of that is done."""
        self._tell(f"{self._now} {phase}", share, None)

    def _keep(self, trial: Trial) -> None:
        self._finished[trial.number] = trial
        self._candidates.add(trial.candidate_id)

    def _tell(self, phase: str, share: float, finished: Trial | None) -> None:
        done, now = len(self._candidates), time.monotonic()
        left = None if self._deadline is None else max(0.0, self._deadline - now)
        fresh = done - self._before
        if self._wanted is not None and fresh > 0:
            by_pace = (self._wanted - done) * (now - self._started) / fresh
            left = by_pace if left is None else min(left, by_pace)
        trials = tuple(self._finished[n] for n in sorted(self._finished))
        self._watch(Progress(phase, share, done, self._wanted, left, finished, trials))
