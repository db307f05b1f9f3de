"""A running study: what is finished and begun, its limits, and what whoever watches is told."""

from __future__ import annotations

import threading
import time
from collections import Counter
from functools import partial

from paretoken.cache.store import Store
from paretoken.search.confirm import seconds_to_confirm, to_confirm
from paretoken.search.failures import Stopped
from paretoken.search.progress import Progress, Watcher
from paretoken.spaces.records import StudyInfo, Trial
from paretoken.spaces.workload import Report

# A small space runs out of new candidates before an algorithm notices: stop after so many
# proposals in a row that the study has measured already.
_MOST_REPEATS = 200
# Of the minutes of a search, the share that is kept at most for measuring the front afresh.
_KEPT = 0.4


class Running:
    """wanted: candidates in all; deadline: of `time.monotonic`; None for no such limit.

    Trials may be begun and ended in several threads; whoever watches is told one thing at a time.
    """

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
        self._candidates: set[str] = set()
        self._begun: Counter[str] = Counter()
        self._started = time.monotonic()
        self._before = 0
        self._repeats = 0
        self._turn = threading.RLock()
        self._stopped = False

    def known(self, trial: Trial) -> None:
        """A finished trial of an earlier call."""
        self._candidates.add(trial.candidate_id)
        self._before = len(self._candidates)

    def proposed(self, candidate: str) -> None:
        """That candidate is the next proposal: a repeat, if the study has it already."""
        with self._turn:
            again = candidate in self._candidates or self._begun[candidate] > 0
            self._repeats = self._repeats + 1 if again else 0

    def goes_on(self) -> bool:
        """Whether another candidate may be begun."""
        with self._turn:
            if self._repeats >= _MOST_REPEATS or self.seconds_left() <= self._seconds_kept():
                return False
            begun = sum(1 for one in +self._begun if one not in self._candidates)
            return self._wanted is None or len(self._candidates) + begun < self._wanted

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
        pace = (time.monotonic() - self._started) / fresh if fresh else 0.0
        return kept + pace * (1 + self._begun.total())  # side by side, each takes the longer

    def begin(self, candidate: str) -> None:
        """A trial of that candidate is going to be worked on: `goes_on` counts it from now on."""
        with self._turn:
            self._begun[candidate] += 1

    def saying(self, number: int) -> Report:
        """The report of one trial: what happens now, and how much of that is done.

        It raises Stopped once the search is to stop.
        """
        return partial(self._say, f"#{number}")

    def ended(self, number: int) -> Trial:
        """Trial `number` has ended, and this is what came of it."""
        trial = self._store.trials(self.info.name, {0, number})[-1]
        with self._turn:
            self._begun[trial.candidate_id] -= 1
            self._candidates.add(trial.candidate_id)
            self._tell("", 1.0, trial)
        return trial

    def stop(self) -> None:
        """Whatever is worked on ends at its next report."""
        self._stopped = True

    def _say(self, who: str, phase: str, share: float) -> None:
        if self._stopped:
            raise Stopped
        with self._turn:
            self._tell(f"{who} {phase}", share, None)

    def _tell(self, phase: str, share: float, finished: Trial | None) -> None:
        done, now = len(self._candidates), time.monotonic()
        left = None if self._deadline is None else max(0.0, self._deadline - now)
        fresh = done - self._before
        if self._wanted is not None and fresh > 0:
            by_pace = (self._wanted - done) * (now - self._started) / fresh
            left = by_pace if left is None else min(left, by_pace)
        self._watch(Progress(phase, share, done, self._wanted, left, finished))
