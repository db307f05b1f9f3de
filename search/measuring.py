"""Measuring the candidates of one study: each is identified, then asked for its numbers.

What is known by a candidate's behaviour is not measured again (`asking`). A hit is measured all the
same while its class has few observations, and now and then later: noise is averaged away, and a
wrong hit is found out.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass

from paretoken.cache.digest import candidate_id, digest
from paretoken.cache.store import Store
from paretoken.search.asking import Asked
from paretoken.search.failures import Failed
from paretoken.search.workers import Workers
from paretoken.spaces.records import Failure
from paretoken.spaces.settings import Tree
from paretoken.spaces.workload import Report


@dataclass(frozen=True)
class Reuse:
    """When an answer from the store will do.

    observations: how many a class is to have before it answers. audit: share of later hits that are
    measured all the same. share: False measures every proposal for itself.
    """

    observations: int = 2
    audit: float = 0.05
    share: bool = True

    def answers(self, observed: int, dice: random.Random) -> bool:
        """Whether what was observed so often is known well enough, this time."""
        return observed >= self.observations and dice.random() >= self.audit


class Measurer:
    """Measures candidates of one study, several at a time if asked from several threads.

    workers, store, study, seed, reuse: what it was made with.
    recording_seconds, learning_seconds, law_seconds, measured_seconds: spent so far on recording
    rows of the model (once for each store), on what candidates had to learn before anybody could
    tell what they do, on law fingerprints and on measuring, by all workers. near_ties: fingerprints
    that only one of the two grids found to be known. samples: see `Workload.samples`.
    """

    def __init__(self, workers: Workers, store: Store, study: str, seed: int, reuse: Reuse) -> None:
        self.workers, self.store, self.study = workers, store, study
        self.seed, self.reuse = seed, reuse
        self.samples = workers.about.samples
        self._recording: bytes | None = None
        self._recording_turn, self._counting = threading.Lock(), threading.Lock()
        self._barred: dict[str, Failure] = {}
        self.recording_seconds = self.learning_seconds = 0.0
        self.law_seconds = self.measured_seconds = 0.0
        self.near_ties = 0

    def ask(self, number: int, tree: Tree, resumed: bool, say: Report) -> Asked:
        """Trial `number`, to be asked for its numbers.

        resumed: it was begun before, and perhaps measured. say: told (phase, share) meanwhile.
        """
        identity = candidate_id(tree)
        self.check_barred(identity)
        recording = self._recorded(say)
        with self.workers.borrow("law", say) as evaluator:
            begun = time.monotonic()
            learnt = evaluator.prepare(tree, say)
            known = time.monotonic()
            what = evaluator.identify(tree, recording, say)
        keys = self.store.identify(identity, what.fingerprint)
        law = time.monotonic() - known
        self.spent(learning=known - begun, law=law, near_ties=keys.near_tie)
        return Asked(self, number, tree, identity, learnt, what, keys, resumed, say)

    def confirm(self, number: int, tree: Tree, aspect: str, say: Report) -> None:
        """One more observation of one aspect, made to confirm a front."""
        self.ask(number, tree, False, say).observe(aspect, self.samples, fresh=True)

    def bar(self, candidate: str, failure: Failure) -> None:
        """Let nobody evaluate that candidate any more: it would end as this one did."""
        self._barred.setdefault(candidate, failure)

    def check_barred(self, candidate: str) -> None:
        """Raise Failed for a candidate that is barred."""
        if candidate in self._barred:
            raise Failed(self._barred[candidate])

    def spent(
        self,
        *,
        learning: float = 0.0,
        law: float = 0.0,
        measured: float = 0.0,
        near_ties: int = 0,
    ) -> None:
        """Count seconds and near-ties."""
        with self._counting:
            self.learning_seconds += learning
            self.law_seconds += law
            self.measured_seconds += measured
            self.near_ties += near_ties

    def _recorded(self, say: Report) -> bytes:
        """The rows that decoders are compared on: the store's, or recorded now."""
        with self._recording_turn:
            if self._recording is None:
                of = self.workers.about.context
                context = digest("recording", *map(str, sorted(of.items())))
                kept = self.store.recording(context)
                if kept is None:
                    say("recording rows of the model", 0.0)
                    with self.workers.borrow("law", say) as evaluator:
                        begun = time.monotonic()
                        kept = self.store.keep_recording(context, evaluator.record())
                        self.recording_seconds = time.monotonic() - begun
                self._recording = kept
            return self._recording
