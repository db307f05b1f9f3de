"""One candidate's numbers: looked up by what it does, measured where that is not known.

Quality is looked up under the class of its output law, speed under the class of the work it is
predicted to do. A hit is measured all the same while its class has few observations, and now and
then later: noise is averaged away, and a wrong hit is found out.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass

from paretoken.cache.digest import candidate_id, digest
from paretoken.cache.fingerprint import cost_key, quality_key
from paretoken.cache.store import Store
from paretoken.search.evaluator import Evaluator, Identified
from paretoken.search.failures import Failed
from paretoken.search.leasing import Leases
from paretoken.search.workers import Workers
from paretoken.spaces.records import BehaviourClass, Failure, Keys, Measurement
from paretoken.spaces.settings import Tree
from paretoken.spaces.workload import Observed, Report


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


@dataclass(frozen=True)
class Found:
    """The class of one aspect of a candidate, and how it was found: see `Trial.origin`."""

    id: int
    origin: str


class Measurer:
    """Measures candidates of one study, several at a time if asked from several threads.

    recording_seconds, law_seconds, measured_seconds: spent so far on recording rows of the model
    (once for each store), on law fingerprints and on measuring, by all workers. near_ties:
    fingerprints that only one of the two grids found to be known.
    """

    def __init__(self, workers: Workers, store: Store, study: str, seed: int, reuse: Reuse) -> None:
        self._workers, self._store, self._study = workers, store, study
        self._seed, self._reuse = seed, reuse
        self._recording: bytes | None = None
        self._recording_turn, self._counting = threading.Lock(), threading.Lock()
        self._barred: dict[str, Failure] = {}
        self.recording_seconds = self.law_seconds = self.measured_seconds = 0.0
        self.near_ties = 0

    def measure(self, number: int, tree: Tree, resumed: bool, say: Report) -> dict[str, Found]:
        """Both aspects of trial `number`. resumed: it was begun before, and perhaps measured.

        say: told (phase, share) meanwhile.
        """
        asked = self._asked(number, tree, say)
        found = {}
        for aspect in ("quality", "speed"):
            dice = random.Random(f"{self._seed} {number} {aspect}")
            known = asked.known(aspect)
            # What a killed process measured for this trial is not measured again.
            own = resumed and known is not None and asked.id in known.candidates
            if known is not None and (own or self._reuse.answers(asked.observed(aspect), dice)):
                found[aspect] = Found(known.id, "measured" if own else asked.level(resumed))
            else:
                found[aspect] = asked.observe(aspect, fresh=False)
        return found

    def confirm(self, number: int, tree: Tree, aspect: str, say: Report) -> None:
        """One more observation of one aspect, made to confirm a front."""
        self._asked(number, tree, say).observe(aspect, fresh=True)

    def bar(self, candidate: str, failure: Failure) -> None:
        """Let nobody evaluate that candidate any more: it would end as this one did."""
        self._barred.setdefault(candidate, failure)

    def check_barred(self, candidate: str) -> None:
        """Raise Failed for a candidate that is barred."""
        if candidate in self._barred:
            raise Failed(self._barred[candidate])

    def spent(self, *, law: float = 0.0, measured: float = 0.0, near_ties: int = 0) -> None:
        """Count seconds and near-ties."""
        with self._counting:
            self.law_seconds += law
            self.measured_seconds += measured
            self.near_ties += near_ties

    def _asked(self, number: int, tree: Tree, say: Report) -> _Asked:
        identity = candidate_id(tree)
        self.check_barred(identity)
        recording = self._recorded(say)
        with self._workers.borrow("law", say) as evaluator:
            begun = time.monotonic()
            what = evaluator.identify(tree, recording)
        keys = self._store.identify(identity, what.fingerprint)
        self.spent(law=time.monotonic() - begun, near_ties=keys.near_tie)
        alone = "" if self._reuse.share else f"{self._study} {number}"
        return _Asked(self, tree, identity, what, keys, alone, say)

    def _recorded(self, say: Report) -> bytes:
        """The rows that decoders are compared on: the store's, or recorded now."""
        with self._recording_turn:
            if self._recording is None:
                of = self._workers.about.context
                context = digest("recording", *map(str, sorted(of.items())))
                kept = self._store.recording(context)
                if kept is None:
                    say("recording rows of the model", 0.0)
                    with self._workers.borrow("law", say) as evaluator:
                        begun = time.monotonic()
                        kept = self._store.keep_recording(context, evaluator.record())
                        self.recording_seconds = time.monotonic() - begun
                self._recording = kept
            return self._recording


class _Asked:
    """A candidate with its keys, ready to be looked up and measured."""

    def __init__(
        self,
        measurer: Measurer,
        tree: Tree,
        identity: str,
        what: Identified,
        keys: Keys,
        alone: str,
        say: Report,
    ) -> None:
        self._of, self._tree, self.id = measurer, tree, identity
        self._what, self._keys = what, keys
        # Where nothing is shared, every trial has classes of its own.
        self._work = digest("alone", keys.work, alone) if alone else keys.work
        conditions = {**what.conditions, "alone": alone} if alone else what.conditions
        self._conditions, self._alone = conditions, alone
        self._quality_key = quality_key(keys.quality, conditions)
        self._place = measurer._workers.about.environment  # where speeds are timed
        self._leases = Leases(measurer._store, say)

    def level(self, resumed: bool) -> str:
        """Which level answers: a candidate that nobody proposed before is known by its law only."""
        return "canonical" if self._keys.known and not resumed else "law"

    def known(self, aspect: str) -> BehaviourClass | None:
        """The class that answers, if there is one yet."""
        store = self._of._store
        if aspect == "quality":
            return store.find(aspect, self._place, self.id, key=self._quality_key)
        return store.find(aspect, self._place, self.id, work=self._work)

    def observed(self, aspect: str) -> int:
        """How often that was measured so far, by whichever candidate."""
        store = self._of._store
        if aspect == "quality":
            return store.observations(aspect, self._place, key=self._quality_key)
        return store.observations(aspect, self._place, work=self._work)

    def observe(self, aspect: str, fresh: bool) -> Found:
        """Measure once; if somebody else is doing just that, wait for it and take it."""
        what = self._quality_key if aspect == "quality" else self._work
        where = "" if aspect == "quality" else f"{self._place.device} {self._place.software} "
        # The n-th observation of one behaviour is one piece of work, whoever wants it.
        nth = self.observed(aspect)
        lease = f"{aspect} {where}{what} {nth}"

        def of_another() -> Found | None:
            now = self.known(aspect)
            seen = now is not None and self.observed(aspect) > nth
            return Found(now.id, self.level(False)) if now is not None and seen else None

        found = self._leases.take(lease, aspect, of_another)
        if found is not None:
            return found
        try:
            self._of.check_barred(self.id)  # since we asked for the lease
            with self._of._workers.borrow(aspect, self._leases.report) as evaluator:
                begun = time.monotonic()
                measure = self._quality if aspect == "quality" else self._speed
                found = measure(evaluator, nth, fresh)
        except BaseException:
            self._leases.end(lease, "failed")
            raise
        self._leases.end(lease, "done")
        self._of.spent(measured=time.monotonic() - begun)
        return found

    def _quality(self, evaluator: Evaluator, nth: int, fresh: bool) -> Found:
        store, report = self._of._store, self._leases.report
        seed = self._of._seed + (nth << 32)  # independent samples for every observation
        said = {**self._what.context, **self._conditions}
        emitted = evaluator.sample(self._tree, seed, said, report)
        twin = store.find("quality", evaluator.environment, self.id, tokens=emitted.tokens)
        if twin is not None:
            same = next(m for m in store.measurements_of(twin.id) if m.tokens == emitted.tokens)
            judged = Observed(same.quantities, emitted.seconds, same.detail)
        else:
            judged = evaluator.judge(report)
        measurement = Measurement(
            "quality", self._quality_key, judged.quantities, evaluator.environment, seed,
            judged.seconds, judged.detail, tokens=emitted.tokens, trace=emitted.trace, fresh=fresh,
        )  # fmt: skip
        joined, _ = store.observe(self.id, measurement)
        return Found(joined.id, "transcript" if twin is not None else "measured")

    def _speed(self, evaluator: Evaluator, nth: int, fresh: bool) -> Found:
        clocked = evaluator.speed(self._tree, self._leases.report)
        observed = clocked.observed
        runtime = {**self._what.runtime, "alone": self._alone}
        measurement = Measurement(
            "speed", cost_key(self._keys.quality, clocked.trace, runtime), observed.quantities,
            evaluator.environment, self._of._seed, observed.seconds, observed.detail,
            work=self._work, trace=clocked.trace, fresh=fresh,
        )  # fmt: skip
        joined, _ = self._of._store.observe(self.id, measurement)
        return Found(joined.id, "measured")
