"""One candidate that was identified: its numbers are looked up, or measured once.

A quality is looked up under the class of its output law, a speed under the class of the work that
is predicted. A hit is measured all the same while its class has few observations, and now and then
later: see `measuring.Reuse`.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paretoken.cache.digest import digest
from paretoken.cache.fingerprint import cost_key, quality_key
from paretoken.search.evaluator import Evaluator, Identified
from paretoken.search.leasing import Leases
from paretoken.spaces.errors import MeasurementFailed
from paretoken.spaces.records import BehaviourClass, Keys, Measurement
from paretoken.spaces.settings import Tree
from paretoken.spaces.workload import Observed, Report

if TYPE_CHECKING:
    from paretoken.search.measuring import Measurer


@dataclass(frozen=True)
class Found:
    """The class of one aspect of a candidate, and how it was found: see `Trial.origin`."""

    id: int
    origin: str


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
        alone = "" if measurer.reuse.share else f"{measurer.study} {number}"
        self._work = digest("alone", keys.work, alone) if alone else keys.work
        self._alone = alone
        self._place = measurer.workers.about.environment  # where speeds are timed
        self._leases = Leases(measurer.store, say)
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
            with self._of.workers.borrow(aspect, self._leases.report) as evaluator:
                asked = time.monotonic()
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
        self._of.spent(learning=begun - asked, measured=time.monotonic() - begun)
        return found

    def _check_learnt(self, evaluator: Evaluator) -> None:
        """Let nobody measure with other weights than those the candidate's keys are of."""
        if evaluator.prepare(self._tree, self._leases.report) != self._learnt:
            raise MeasurementFailed(
                "learnt-otherwise",
                "this worker leaves out other layers, or has learnt other weights, than the one "
                "that told what the candidate does: let all machines learn in one folder (--option "
                "artefacts=FOLDER), and be of one kind: routers may decide otherwise on another.",
            )

    def _look(self, aspect: str, samples: int) -> Found:
        dice = random.Random(f"{self._of.seed} {self._number} {aspect}")
        # Counted first: what is stored after that was observed by somebody whom the lease tells of.
        observed = self._observed(aspect, samples)
        known = self._known(aspect, samples)
        # What a killed process measured for this trial is not measured again.
        own = self._resumed and known is not None and self._id in known.candidates
        if known is not None and (own or self._of.reuse.answers(observed, dice)):
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
        return self._of.store.find(aspect, self._place, self._id, **self._by(aspect, samples))

    def _observed(self, aspect: str, samples: int) -> int:
        """How often that was measured so far, by whichever candidate."""
        return self._of.store.observations(aspect, self._place, **self._by(aspect, samples))

    def _quality(self, evaluator: Evaluator, samples: int, nth: int, fresh: bool) -> Found:
        store, report = self._of.store, self._leases.report
        seed = self._of.seed + (nth << 32)  # independent samples for every observation
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
            evaluator.environment, self._of.seed, observed.seconds, observed.detail,
            work=self._work, trace=clocked.trace, fresh=fresh,
        )  # fmt: skip
        joined, _ = self._of.store.observe(self._id, measurement)
        return Found(joined.id, "measured")
