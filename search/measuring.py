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
from typing import Any

from paretoken.cache.digest import candidate_id, digest
from paretoken.cache.fingerprint import cost_key, quality_key
from paretoken.cache.store import Store
from paretoken.search.evaluator import Evaluator, Identified
from paretoken.search.failures import Failed
from paretoken.search.leasing import Leases
from paretoken.search.workers import Workers
from paretoken.spaces.errors import MeasurementFailed
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

    recording_seconds, learning_seconds, law_seconds, measured_seconds: spent so far on recording
    rows of the model (once for each store), on what candidates had to learn before anybody could
    tell what they do, on law fingerprints and on measuring, by all workers. near_ties: fingerprints
    that only one of the two grids found to be known. samples: see `Workload.samples`.
    """

    def __init__(self, workers: Workers, store: Store, study: str, seed: int, reuse: Reuse) -> None:
        self._workers, self._store, self._study = workers, store, study
        self._seed, self._reuse = seed, reuse
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
        with self._workers.borrow("law", say) as evaluator:
            begun = time.monotonic()
            learnt = evaluator.prepare(tree, say)
            known = time.monotonic()
            what = evaluator.identify(tree, recording, say)
        keys = self._store.identify(identity, what.fingerprint)
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


class Asked:
    """A candidate with its keys, ready to be looked up and measured: by one thread."""

    def __init__(
        self,
        measurer: Measurer,
        number: int,
        tree: Tree,
        identity: str,
        learnt: str,
        what: Identified,
        keys: Keys,
        resumed: bool,
        say: Report,
    ) -> None:
        self._of, self._number, self._tree, self._id = measurer, number, tree, identity
        self._learnt, self._what, self._keys, self._resumed = learnt, what, keys, resumed
        # Where nothing is shared, every trial has classes of its own.
        alone = "" if measurer._reuse.share else f"{measurer._study} {number}"
        self._work = digest("alone", keys.work, alone) if alone else keys.work
        self._alone = alone
        self._place = measurer._workers.about.environment  # where speeds are timed
        self._leases = Leases(measurer._store, say)
        self._found: dict[tuple[str, int], Found] = {}

    def find(self, aspect: str, samples: int = 0) -> Found:
        """The class of one aspect, measured where the store cannot answer; the same ever after.

        samples: of a quality.
        """
        if (aspect, samples) not in self._found:
            self._found[aspect, samples] = self._look(aspect, samples)
        return self._found[aspect, samples]

    def observe(self, aspect: str, samples: int, fresh: bool) -> Found:
        """Measure once; if somebody else is doing just that, wait for it and take it."""
        return self._observe(aspect, samples, self._observed(aspect, samples), fresh)

    def _observe(self, aspect: str, samples: int, nth: int, fresh: bool) -> Found:
        """The n-th observation of one behaviour is one piece of work, whoever wants it."""
        what = self._quality_key(samples) if aspect == "quality" else self._work
        where = "" if aspect == "quality" else f"{self._place.device} {self._place.software} "
        lease = f"{aspect} {where}{what} {nth}"

        def of_another() -> Found | None:
            now = self._known(aspect, samples)
            seen = now is not None and self._observed(aspect, samples) > nth
            return Found(now.id, self._level(False)) if now is not None and seen else None

        found = self._leases.take(lease, aspect, of_another)
        if found is not None:
            return found
        try:
            self._of.check_barred(self._id)  # since we asked for the lease
            with self._of._workers.borrow(aspect, self._leases.report) as evaluator:
                self._check_learnt(evaluator)
                begun = time.monotonic()
                if aspect == "quality":
                    found = self._quality(evaluator, samples, nth, fresh)
                else:
                    found = self._speed(evaluator, fresh)
        except BaseException:
            self._leases.end(lease, "failed")
            raise
        self._leases.end(lease, "done")
        self._of.spent(measured=time.monotonic() - begun)
        return found

    def _check_learnt(self, evaluator: Evaluator) -> None:
        """Let nobody measure with other weights than those the candidate's keys are of."""
        if evaluator.prepare(self._tree, self._leases.report) != self._learnt:
            raise MeasurementFailed(
                "learnt-otherwise",
                "this worker learnt something else for the candidate than the one that told what "
                "the candidate does, as machines of two kinds do: let all of them use one folder "
                "(--option artefacts=FOLDER).",
            )

    def _look(self, aspect: str, samples: int) -> Found:
        dice = random.Random(f"{self._of._seed} {self._number} {aspect}")
        # Counted first: what is stored after that was observed by somebody whom the lease tells of.
        observed = self._observed(aspect, samples)
        known = self._known(aspect, samples)
        # What a killed process measured for this trial is not measured again.
        own = self._resumed and known is not None and self._id in known.candidates
        if known is not None and (own or self._of._reuse.answers(observed, dice)):
            return Found(known.id, "measured" if own else self._level(self._resumed))
        return self._observe(aspect, samples, observed, fresh=False)

    def _level(self, resumed: bool) -> str:
        """Which level answers: a candidate that nobody proposed before is known by its law only."""
        return "canonical" if self._keys.known and not resumed else "law"

    def _conditions(self, samples: int) -> dict[str, Any]:
        """What a quality holds under: unequal numbers of samples compare in nothing."""
        alone = {"alone": self._alone} if self._alone else {}
        return {**self._what.conditions, "samples": samples, **alone}

    def _quality_key(self, samples: int) -> str:
        return quality_key(self._keys.quality, self._conditions(samples))

    def _by(self, aspect: str, samples: int) -> dict[str, str]:
        """What the class of an aspect is looked up by."""
        return {"key": self._quality_key(samples)} if aspect == "quality" else {"work": self._work}

    def _known(self, aspect: str, samples: int) -> BehaviourClass | None:
        """The class that answers, if there is one yet."""
        return self._of._store.find(aspect, self._place, self._id, **self._by(aspect, samples))

    def _observed(self, aspect: str, samples: int) -> int:
        """How often that was measured so far, by whichever candidate."""
        return self._of._store.observations(aspect, self._place, **self._by(aspect, samples))

    def _quality(self, evaluator: Evaluator, samples: int, nth: int, fresh: bool) -> Found:
        store, report = self._of._store, self._leases.report
        seed = self._of._seed + (nth << 32)  # independent samples for every observation
        said = {**self._what.context, **self._conditions(samples)}
        emitted = evaluator.sample(self._tree, samples, seed, said, report)
        twin = store.find("quality", evaluator.environment, self._id, tokens=emitted.tokens)
        if twin is not None:
            same = next(m for m in store.measurements_of(twin.id) if m.tokens == emitted.tokens)
            judged = Observed(same.quantities, emitted.seconds, same.detail)
        else:
            judged = evaluator.judge(report)
        measurement = Measurement(
            "quality", self._quality_key(samples), judged.quantities, evaluator.environment, seed,
            judged.seconds, judged.detail, tokens=emitted.tokens, trace=emitted.trace, fresh=fresh,
        )  # fmt: skip
        joined, _ = store.observe(self._id, measurement)
        return Found(joined.id, "transcript" if twin is not None else "measured")

    def _speed(self, evaluator: Evaluator, fresh: bool) -> Found:
        clocked = evaluator.speed(self._tree, self._leases.report)
        observed = clocked.observed
        runtime = {**self._what.runtime, "alone": self._alone}
        measurement = Measurement(
            "speed", cost_key(self._keys.quality, clocked.trace, runtime), observed.quantities,
            evaluator.environment, self._of._seed, observed.seconds, observed.detail,
            work=self._work, trace=clocked.trace, fresh=fresh,
        )  # fmt: skip
        joined, _ = self._of._store.observe(self._id, measurement)
        return Found(joined.id, "measured")
