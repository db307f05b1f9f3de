"""What a store answers is what its trials say, whatever was observed, split off or confirmed."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from paretoken.cache import numbers
from paretoken.cache.condition import SIGNS, Compare, Number, every
from paretoken.cache.front import pareto_front
from paretoken.cache.store import Store
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Environment, Measurement, Quantity, StudyInfo, Trial

FID = Objective("fid", "", higher=False, doc="")
SPEED = Objective("images_per_s", "images/s", higher=True, doc="")
KID = Objective("kid", "", higher=False, doc="")
STUDIES = {
    "two": (SPEED, FID),
    "other way": (FID, SPEED),
    "three": (FID, SPEED, KID),
    "one": (FID,),
}
HERE = Environment("cpu", "test")
THERE = Environment("cuda", "test")
OF_SPEED = ("images_per_s", "rounds", "memory", "speedup")


@dataclass
class Searches:
    """Several studies on one store that share candidates and classes."""

    store: Store
    draw: random.Random
    finished: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)

    def measurement(self, aspect: str, key: str, odd: bool, place: Environment) -> Measurement:
        """Coarse values, so that there are ties; an odd candidate disagrees with its class."""
        draw = self.draw
        far = 50.0 * odd
        found = [self.quantity("fid" if aspect == "quality" else "images_per_s", far)]
        for name in ("kid", "psnr") if aspect == "quality" else ("rounds", "memory"):
            if draw.random() < 0.8:
                found.append(self.quantity(name, far))
        fresh = draw.random() < 0.15
        return Measurement(aspect, key, tuple(found), place, 0, 1.0, fresh=fresh)

    def quantity(self, name: str, far: float) -> Quantity:
        comparable = "other" if name == "psnr" and self.draw.random() < 0.2 else ""
        return Quantity(name, far + self.draw.randint(2, 6), 1.0, 1, "", True, comparable)

    def step(self) -> None:
        """One proposal, observed once or more, of which one study or more take the classes."""
        draw, store = self.draw, self.store
        study = draw.choice(list(STUDIES))
        number = self.finished[study]
        window = draw.randrange(12)
        place = THERE if number and draw.random() < 0.1 else HERE
        candidate = store.propose(study, number, {"window": window}, ())
        odd = number > 0 and window in (3, 7) and draw.random() < 0.7
        several = [
            (candidate, self.measurement(aspect, f"{window % keys}", odd, place))
            for aspect, keys in (("quality", 4), ("speed", 9))
            for _ in range(draw.randint(1, 2))
        ]
        if draw.random() < 0.5:
            classes = store.observe_many(several)
        else:
            classes = [store.observe(*each)[0].id for each in several]
        last = {each.aspect: found for (_, each), found in zip(several, classes, strict=True)}
        store.finish(study, number, last["quality"], last["speed"], {})
        self.finished[study] += 1
        for trial in store.trials(study):
            self.seen["fresh"] += any(trial.fresh.values())

    def check(self, study: str) -> None:
        """Compare the front, and the best under random conditions, with the trials themselves."""
        objectives = STUDIES[study]
        trials = self.comparable(study)
        expected = pareto_front(trials, objectives)
        found = self.store.front(study)
        if len(objectives) < 3:  # more than two are compared trial by trial, of all devices
            assert sorted(t.number for t in found) == sorted(t.number for t in expected)
        for _ in range(10):
            names = ["fid", "images_per_s", "kid", "psnr", "rounds", "memory", "speedup"]
            wanted = Objective(self.draw.choice(names), "", self.draw.random() < 0.5, "")
            bounds = [self.bound(self.draw.choice(names), trials) for _ in range(len(names) // 2)]
            bounds = bounds[: self.draw.randint(0, 3)]
            best = self.store.best(study, wanted, every(*bounds))
            by_hand = best_of(trials, objectives, wanted, bounds)
            self.seen["found"] += by_hand is not None
            assert (None if best is None else best.number) == by_hand, (wanted, bounds)

    def bound(self, name: str, trials: list[Trial]) -> Compare:
        values = [t.quantities[name].value for t in trials if name in t.quantities] or [1.0]
        near = self.draw.choice([0.0, 0.0, 0.5, -0.5])
        sign = self.draw.choice(list(SIGNS))
        return Compare(Number(name), sign, self.draw.choice(values) + near)

    def comparable(self, study: str) -> list[Trial]:
        """Each candidate's first trial, with the numbers that compare with those of trial 0."""
        trials = self.store.trials(study)
        plain, kept = trials[0], dict[str, Trial]()
        for trial in trials:
            quantities = {
                name: quantity
                for name, quantity in trial.quantities.items()
                if name not in plain.quantities
                or (
                    quantity.comparable == plain.quantities[name].comparable
                    and (name not in OF_SPEED or trial.environment == plain.environment)
                )
            }
            if all(wanted.name in quantities for wanted in STUDIES[study][:2]):
                kept.setdefault(trial.candidate_id, replace(trial, quantities=quantities))
        return list(kept.values())


def best_of(
    trials: list[Trial], objectives: tuple[Objective, ...], wanted: Objective, bounds: list[Compare]
) -> int | None:
    ranked = []
    for trial in trials:
        values = {name: quantity.value for name, quantity in trial.quantities.items()}
        fits = all(
            str(bound.left) in values and SIGNS[bound.sign](values[str(bound.left)], bound.right)
            for bound in bounds
        )
        if fits and wanted.name in values:
            ties = [o.loss(values[o.name]) if o.name in values else math.inf for o in objectives]
            ranked.append((wanted.loss(values[wanted.name]), *ties, trial.number))
    return int(min(ranked)[-1]) if ranked else None


@pytest.mark.parametrize("slots", [1, 24])
@pytest.mark.parametrize("seed", range(3))
def test_answers_are_those_of_the_trials(
    store: Store, seed: int, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "SLOTS", slots)
    searches = Searches(store, random.Random(seed))
    for name, objectives in STUDIES.items():
        store.create_study(StudyInfo(name, "", "", 0, {}, objectives, {}, ""))
    for _ in range(12):
        for _ in range(5):
            searches.step()
        for study in STUDIES:
            if searches.finished[study]:
                searches.check(study)
    split = [off for study in STUDIES for off in store.disagreements(study) if off.split]
    assert split and searches.seen["fresh"] and searches.seen["found"] > 50


def test_a_name_that_only_qualities_had_is_the_speeds_once_one_has_it(store: Store) -> None:
    store.create_study(StudyInfo("two", "", "", 0, {}, (SPEED, FID), {}, ""))
    watts = Objective("watts", "W", higher=False, doc="")

    def finish(number: int, quality: dict[str, float], speed: dict[str, float]) -> None:
        candidate = store.propose("two", number, {"window": number}, ())
        ids = []
        for aspect, values in (("quality", quality), ("speed", speed)):
            found = tuple(Quantity(name, value, 0.0, 1) for name, value in values.items())
            made = Measurement(aspect, f"{aspect} {number}", found, HERE, 0, 1.0)
            ids.append(store.observe(candidate, made)[0].id)
        store.finish("two", number, ids[0], ids[1], {})

    def best() -> int | None:
        found = store.best("two", watts)
        return None if found is None else found.number

    finish(0, {"fid": 1.0}, {"images_per_s": 1.0})
    assert best() is None
    finish(1, {"fid": 1.0, "watts": 7.0}, {"images_per_s": 1.0})
    assert best() == 1
    finish(2, {"fid": 1.0, "watts": 5.0}, {"images_per_s": 1.0, "watts": 9.0})
    assert best() == 2  # by its 9 watts, the only one of a speed
    finish(3, {"fid": 1.0}, {"images_per_s": 1.0, "watts": 8.0})
    assert best() == 3
