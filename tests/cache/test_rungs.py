"""Trials at rungs: compared at equal numbers of samples, and never on a front for that."""

from __future__ import annotations

import pytest

from paretoken.cache.store import Store
from paretoken.spaces.errors import BadInput
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import (
    Environment,
    Failure,
    Measurement,
    Quantity,
    Rung,
    StudyInfo,
    Trial,
)

SPEED = Objective("images_per_s", "images/s", True, "")
FID = Objective("fid", "", False, "")
INFO = StudyInfo("s", "fashion", "nsga2", 0, {}, (SPEED, FID), {}, "", (125, 500))
HERE, THERE = Environment("cpu", "torch 2"), Environment("cuda", "torch 2")
BOTH = {"quality": "measured", "speed": "measured"}


def quality(store: Store, candidate: str, samples: int, fid: float, spread: float = 1.0) -> int:
    found = Quantity("fid", fid, spread, samples, "", False, f"n={samples}")
    key = f"law {candidate} {samples}"
    return store.observe(candidate, Measurement("quality", key, (found,), HERE, 0, samples / 100))[
        0
    ].id


def speed(
    store: Store, candidate: str, rate: float, place: Environment = HERE, spread: float = 0.1
) -> int:
    found = Quantity("images_per_s", rate, spread, 5)
    seen = Measurement("speed", f"cost {candidate}", (found,), place, 0, 1.0)
    return store.observe(candidate, seen)[0].id


def tried(
    store: Store, number: int, fid: float, rate: float, samples: int = 125, **how: float
) -> str:
    """A trial that has reached one rung, and nothing beyond."""
    candidate = store.propose("s", number, {"w": number}, (float(number),))
    spreads = {name: how[f"{name}_spread"] for name in ("fid", "rate") if f"{name}_spread" in how}
    of_quality = quality(store, candidate, samples, fid, spreads.get("fid", 1.0))
    of_speed = speed(store, candidate, rate, spread=spreads.get("rate", 0.1))
    store.reach("s", number, samples, of_quality, of_speed, BOTH)
    return candidate


@pytest.fixture
def study(store: Store) -> Store:
    store.create_study(INFO)
    return store


def trial(store: Store, number: int) -> Trial:
    return store.trials("s", {number})[0]


def test_a_stopped_trial_has_its_rungs_and_a_speed_and_no_place(study: Store) -> None:
    first = tried(study, 0, 40.0, 10.0)
    study.reach("s", 0, 500, quality(study, first, 500, 20.0), speed(study, first, 10.0), BOTH)
    study.finish("s", 0, quality(study, first, 1000, 15.0), speed(study, first, 10.0), BOTH)
    tried(study, 1, 60.0, 30.0)
    study.stop("s", 1)
    assert study.study("s").rungs == (125, 500)
    done, halted = study.trials("s")
    assert [rung.samples for rung in done.rungs] == [125, 500]
    assert [rung.quantities["fid"].value for rung in done.rungs] == [40.0, 20.0]
    assert done.quantities["fid"].value == 15.0 and done.state == "done"
    (only,) = halted.rungs
    assert isinstance(only, Rung) and (only.origin, only.seconds) == ("measured", 1.25)
    assert halted.state == "stopped" and "fid" not in halted.quantities
    assert halted.quantities["speedup"].value == 3.0 and halted.environment == HERE
    assert [t.number for t in study.front("s")] == [0]
    found = study.best("s", SPEED)
    assert found is not None and found.number == 0
    assert [moment.number for moment in study.history("s", {"fid": 99, "images_per_s": 0})] == [0]
    assert study.devices("s") == {"cpu": 1}
    assert study.studies()[0][1] == {"done": 1, "stopped": 1, "failed": 0, "pending": 0}
    with pytest.raises(BadInput, match="is stopped already"):
        study.stop("s", 1)


def test_a_mean_that_moves_leaves_the_stopped_off_the_front(study: Store) -> None:
    first = tried(study, 0, 40.0, 10.0)
    study.finish("s", 0, quality(study, first, 1000, 15.0), speed(study, first, 10.0), BOTH)
    halted = tried(study, 1, 60.0, 30.0)
    study.stop("s", 1)
    for _ in range(3):
        quality(study, halted, 125, 1.0)
        speed(study, halted, 90.0)
    assert [t.number for t in study.front("s")] == [0]
    assert trial(study, 1).rungs[0].quantities["fid"].value < 60.0


@pytest.mark.parametrize(
    ("fid", "rate", "expected"),
    [
        (44.0, 9.0, True),  # behind by 4 where 2 sqrt 2 is noise, and by 1 where 0.28 is
        (42.0, 9.0, False),  # noise explains the quality
        (44.0, 9.8, False),  # noise explains the speed
        (44.0, 10.0, False),
        (44.0, 11.0, False),  # faster
        (39.0, 1.0, False),  # better
    ],
)
def test_who_is_surely_worse_in_everything_is_beaten(
    study: Store, fid: float, rate: float, expected: bool
) -> None:
    tried(study, 0, 40.0, 10.0)
    tried(study, 1, fid, rate)
    assert study.beaten("s", 1, 125) is expected
    assert not study.beaten("s", 0, 125)


def test_larger_spreads_beat_fewer(study: Store) -> None:
    tried(study, 0, 40.0, 10.0, fid_spread=2.0)
    tried(study, 1, 44.0, 9.0)
    assert not study.beaten("s", 1, 125)


def test_unequal_numbers_of_samples_are_never_compared(study: Store) -> None:
    tried(study, 0, 40.0, 10.0, samples=500)
    first = tried(study, 1, 90.0, 1.0)
    assert not study.beaten("s", 1, 125)
    study.reach("s", 1, 500, quality(study, first, 500, 80.0), speed(study, first, 1.0), BOTH)
    assert study.beaten("s", 1, 500) and not study.beaten("s", 1, 125)


def test_nobody_is_beaten_by_itself_by_the_failed_or_by_another_device(study: Store) -> None:
    store = study
    slow = tried(store, 0, 90.0, 1.0)
    again = store.propose("s", 1, {"w": 0}, ())
    assert again == slow
    store.reach("s", 1, 125, quality(store, slow, 125, 90.0), speed(store, slow, 1.0), BOTH)
    assert not store.beaten("s", 0, 125)
    tried(store, 2, 40.0, 10.0)
    assert store.beaten("s", 0, 125)
    store.fail("s", 2, Failure("nan", "later"))
    assert not store.beaten("s", 0, 125)
    other = store.propose("s", 3, {"w": 3}, ())
    there = speed(store, other, 10.0, THERE)
    store.reach("s", 3, 125, quality(store, other, 125, 40.0), there, BOTH)
    assert not store.beaten("s", 0, 125)


def test_other_studies_beat_nobody(study: Store) -> None:
    study.create_study(StudyInfo("t", "fashion", "nsga2", 0, {}, (SPEED, FID), {}, "", (125,)))
    tried(study, 0, 90.0, 1.0)
    good = study.propose("t", 0, {"w": 9}, ())
    study.reach("t", 0, 125, quality(study, good, 125, 10.0), speed(study, good, 99.0), BOTH)
    assert not study.beaten("s", 0, 125)
