"""One candidate's numbers: looked up by what it does, measured where that is not known.

Quality is looked up under the class of its output law, speed under the class of the work it is
predicted to do. A hit is measured all the same while its class has few observations, and now and
then later: noise is averaged away, and a wrong hit is found out.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from paretoken.cache.digest import candidate_id, digest
from paretoken.cache.fingerprint import cost_key, fingerprint, quality_key, transcript
from paretoken.cache.store import Store
from paretoken.spaces.candidate import to_tree
from paretoken.spaces.component import Component
from paretoken.spaces.records import BehaviourClass, Keys, Measurement
from paretoken.spaces.workload import Behaviour, Observed, Report, Workload

_LEASE_S = 300.0  # longer than any phase that reports no progress
_RENEW_S = 10.0
_POLL_S = 0.5


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
    """Measures candidates of one study; `say` is told (phase, share) while it works.

    recording_seconds, law_seconds, measured_seconds: spent so far on recording rows of the model
    (once for each store), on law fingerprints and on measuring. near_ties: fingerprints that only
    one of the two grids found to be known.
    """

    def __init__(
        self, workload: Workload, store: Store, study: str, seed: int, reuse: Reuse, say: Report
    ) -> None:
        self._workload, self._store, self._study = workload, store, study
        self._seed, self._reuse, self._say = seed, reuse, say
        self._owner = f"{socket.gethostname()} {os.getpid()} {random.SystemRandom().random()}"
        self._recording: bytes | None = None
        self.recording_seconds = self.law_seconds = self.measured_seconds = 0.0
        self.near_ties = 0

    def measure(self, number: int, candidate: Component, resumed: bool) -> dict[str, Found]:
        """Both aspects of trial `number`. resumed: it was begun before, and perhaps measured."""
        asked = self._asked(number, candidate)
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

    def confirm(self, number: int, candidate: Component, aspect: str) -> None:
        """One more observation of one aspect, made to confirm a front."""
        asked = self._asked(number, candidate)
        asked.observe(aspect, fresh=True)

    def _asked(self, number: int, candidate: Component) -> _Asked:
        recording = self._recorded()
        begun = time.monotonic()
        behaviour = self._workload.behaviour(candidate, recording)
        what = fingerprint(behaviour, recording)
        identity = candidate_id(to_tree(candidate))
        keys = self._store.identify(identity, what)
        self.near_ties += keys.near_tie
        self.law_seconds += time.monotonic() - begun
        alone = "" if self._reuse.share else f"{self._study} {number}"
        return _Asked(self, candidate, identity, behaviour, keys, alone)

    def _recorded(self) -> bytes:
        """The rows that decoders are compared on: the store's, or recorded now."""
        if self._recording is None:
            context = digest("recording", *map(str, sorted(self._workload.context().items())))
            kept = self._store.recording(context)
            if kept is None:
                self._say("recording rows of the model", 0.0)
                begun = time.monotonic()
                kept = self._store.keep_recording(context, self._workload.record())
                self.recording_seconds = time.monotonic() - begun
            self._recording = kept
        return self._recording


class _Asked:
    """A candidate with its keys, ready to be looked up and measured."""

    def __init__(
        self,
        measurer: Measurer,
        candidate: Component,
        identity: str,
        behaviour: Behaviour,
        keys: Keys,
        alone: str,
    ) -> None:
        self._of, self._candidate, self.id = measurer, candidate, identity
        self._behaviour, self._keys = behaviour, keys
        # Where nothing is shared, every trial has classes of its own.
        self._work = digest("alone", keys.work, alone) if alone else keys.work
        conditions = {**behaviour.conditions, "alone": alone} if alone else behaviour.conditions
        self._conditions, self._alone = conditions, alone
        self._quality_key = quality_key(keys.quality, conditions)

    def level(self, resumed: bool) -> str:
        """Which level answers: a candidate that nobody proposed before is known by its law only."""
        return "canonical" if self._keys.known and not resumed else "law"

    def known(self, aspect: str) -> BehaviourClass | None:
        """The class that answers, if there is one yet."""
        store, place = self._of._store, self._of._workload.environment
        if aspect == "quality":
            return store.find(aspect, place, self.id, key=self._quality_key)
        return store.find(aspect, place, self.id, work=self._work)

    def observed(self, aspect: str) -> int:
        """How often that was measured so far, by whichever candidate."""
        store, place = self._of._store, self._of._workload.environment
        if aspect == "quality":
            return store.observations(aspect, place, key=self._quality_key)
        return store.observations(aspect, place, work=self._work)

    def observe(self, aspect: str, fresh: bool) -> Found:
        """Measure once; if somebody else is doing just that, wait for it and take it."""
        place = self._of._workload.environment
        what = self._quality_key if aspect == "quality" else self._work
        where = "" if aspect == "quality" else f"{place.device} {place.software} "
        # The n-th observation of one behaviour is one piece of work, whoever wants it.
        nth = self.observed(aspect)
        lease = f"{aspect} {where}{what} {nth}"
        store, owner = self._of._store, self._of._owner
        while not store.lease(lease, owner, _LEASE_S):
            other = store.holder(lease)
            if other is not None and _died(other):
                store.release(lease, other, "failed")
                continue
            self._of._say(f"{aspect}: another process measures it", 0.0)
            time.sleep(_POLL_S)
            now = self.known(aspect)
            if now is not None and self.observed(aspect) > nth:
                return Found(now.id, self.level(False))
        begun = time.monotonic()
        try:
            measure = self._quality if aspect == "quality" else self._speed
            found = measure(nth, fresh, _renewing(store, owner, self._of._say))
        except BaseException:
            store.release(lease, owner, "failed")
            raise
        store.release(lease, owner, "done")
        self._of.measured_seconds += time.monotonic() - begun
        return found

    def _quality(self, nth: int, fresh: bool, report: Report) -> Found:
        workload, store = self._of._workload, self._of._store
        seed = self._of._seed + (nth << 32)  # independent samples for every observation
        sampled = workload.sample(self._candidate, seed, report)
        said = {**self._behaviour.context, **self._conditions}
        tokens = transcript(sampled.tokens, of=said)
        trace = transcript(*sampled.trace)
        twin = store.find("quality", workload.environment, self.id, tokens=tokens)
        if twin is not None:
            same = next(m for m in store.measurements_of(twin.id) if m.tokens == tokens)
            judged = Observed(same.quantities, sampled.seconds, same.detail)
        else:
            judged = workload.judge(sampled, report)
        measurement = Measurement(
            "quality", self._quality_key, judged.quantities, workload.environment, seed,
            judged.seconds, judged.detail, tokens=tokens, trace=trace, fresh=fresh,
        )  # fmt: skip
        joined, _ = store.observe(self.id, measurement)
        return Found(joined.id, "transcript" if twin is not None else "measured")

    def _speed(self, nth: int, fresh: bool, report: Report) -> Found:
        workload, store = self._of._workload, self._of._store
        observed = workload.speed(self._candidate, report)
        trace = transcript(*observed.trace)
        runtime = {**self._behaviour.runtime, "alone": self._alone}
        measurement = Measurement(
            "speed", cost_key(self._keys.quality, trace, runtime), observed.quantities,
            workload.environment, self._of._seed, observed.seconds, observed.detail,
            work=self._work, trace=trace, fresh=fresh,
        )  # fmt: skip
        joined, _ = store.observe(self.id, measurement)
        return Found(joined.id, "measured")


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


def _renewing(store: Store, owner: str, say: Report) -> Callable[[str, float], None]:
    """A report that renews the leases now and then: who makes no progress loses them."""
    last = time.monotonic()

    def report(phase: str, share: float) -> None:
        nonlocal last
        if time.monotonic() - last > _RENEW_S:
            store.renew(owner, _LEASE_S)
            last = time.monotonic()
        say(phase, share)

    return report
