"""Observations of equal behaviour count together, until they disagree beyond noise."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import text

from paretoken.cache.means import RunningMean
from paretoken.cache.store import Store
from paretoken.spaces.errors import BadInput, BadValue
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Environment, Measurement, Quantity, StudyInfo

FID = Objective("fid", "", higher=False, doc="")
INFO = StudyInfo("first", "fashion", "nsga2", 0, {}, (FID,), {}, "2026-01-01T00:00:00+00:00")
HERE = Environment("cpu", "torch 2")
THERE = Environment("cuda", "torch 2")


def quality(fid: float, s: float = 0.5, key: str = "q", **more: object) -> Measurement:
    found = Quantity("fid", fid, s, 1000, "", False, "N=1000", {"by": "jackknife"})
    return replace(Measurement("quality", key, (found,), HERE, 7, 2.0), **more)  # type: ignore[arg-type]


def speed(rate: float, s: float = 0.1, key: str = "c", **more: object) -> Measurement:
    found = Quantity("images_per_s", rate, s, 5, "images/s")
    return replace(Measurement("speed", key, (found,), HERE, 7, 1.0), **more)  # type: ignore[arg-type]


@pytest.fixture
def three(store: Store) -> list[str]:
    """Three proposed candidates of the study "first": trials 0 to 2."""
    store.create_study(INFO)
    return [store.propose("first", number, {"w": number}, ()) for number in range(3)]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_running_statistics_are_those_of_numpy(seed: int, offset: float) -> None:
    draw = random.Random(seed)
    count = draw.randint(1, 50)
    values = [offset + draw.gauss(0, 1) for _ in range(count)]
    spreads = [draw.uniform(0, 2) for _ in range(count)]
    running = RunningMean()
    for value, spread in zip(values, spreads, strict=True):
        running.add(Quantity("x", value, spread, 10))
    # 1e9 leaves 1e-7 of a double for each value, so deviations of about 1 are known to 1e-6.
    assert running.mean == pytest.approx(np.mean(values), rel=1e-13)
    assert running.squares == pytest.approx(np.var(values) * count, rel=1e-9, abs=1e-5)
    assert running.variance == pytest.approx(np.mean(np.square(spreads)), rel=1e-12)
    assert (running.count, running.samples) == (count, 10 * count)
    stated = math.sqrt(np.mean(np.square(spreads)) / count)
    shown = float(np.std(values, ddof=1)) / math.sqrt(count) if count > 1 else 0.0
    assert running.spread == pytest.approx(max(stated, shown), rel=1e-6)


def test_a_huge_spread_is_no_error() -> None:
    running = RunningMean()
    running.add(Quantity("x", 1.0, 1e200, 1))
    assert running.spread == math.inf


def test_observations_of_one_key_are_one_class(store: Store, three: list[str]) -> None:
    first, _ = store.observe(three[0], quality(40.0))
    assert (first.count, first.fresh, first.split, first.seconds) == (1, 0, 0, 2.0)
    assert first.candidates == {three[0]} and (first.aspect, first.key) == ("quality", "q")
    assert first.quantities == {"fid": quality(40.0).quantities[0]}

    second, off = store.observe(three[1], quality(41.0, seconds=4.0, environment=THERE))
    assert off is None and second.id == first.id
    assert (second.count, second.seconds, second.candidates) == (2, 3.0, {three[0], three[1]})
    found = second.quantities["fid"]
    # Two values 1 apart: sqrt(0.5 / 1 / 2) = 0.5, more than the 0.5 / sqrt(2) that they state.
    assert (found.value, found.spread, found.samples) == (40.5, pytest.approx(0.5), 2000)
    assert (found.unit, found.higher, found.comparable) == ("", False, "N=1000")
    assert store.measurements_of(first.id) == [
        quality(40.0),
        quality(41.0, seconds=4.0, environment=THERE),
    ]


def test_speeds_of_two_devices_are_two_classes(store: Store, three: list[str]) -> None:
    here, _ = store.observe(three[0], speed(10))
    there, off = store.observe(three[0], speed(99, environment=THERE))
    assert off is None and here.id != there.id
    later, _ = store.observe(three[0], speed(10, environment=replace(HERE, commit="def")))
    assert later.id == here.id
    for place, expected in ((HERE, 10), (THERE, 99)):
        found = store.find("speed", place, three[0], key="c")
        assert found is not None and found.quantities["images_per_s"].value == expected
    assert store.find("speed", replace(HERE, software="torch 3"), three[0], key="c") is None
    with pytest.raises(BadInput, match="one environment"):
        store.find("speed", None, three[0], key="c")


def test_a_quality_is_found_from_anywhere(store: Store, three: list[str]) -> None:
    stored, _ = store.observe(three[0], quality(40))
    for place in (HERE, THERE, None):
        assert store.find("quality", place, three[1], key="q") == stored
    assert store.find("quality", None, three[1], key="unseen") is None
    assert store.find("speed", HERE, three[1], key="q") is None
    for wrong in ({}, {"key": "q", "work": "w"}, {"key": "q", "tokens": "t"}):
        with pytest.raises(BadValue, match="exactly one"):
            store.find("quality", None, three[0], **wrong)
    with pytest.raises(BadValue, match="quality or speed"):
        store.find("taste", None, three[0], key="q")


def test_a_class_is_found_by_predicted_work_and_by_tokens(store: Store, three: list[str]) -> None:
    store.observe(three[0], speed(10, key="old", work="w"))
    newest, _ = store.observe(three[0], speed(20, key="new", work="w"))
    store.observe(three[0], speed(30, key="else", work="v", environment=THERE))
    assert store.find("speed", HERE, three[1], work="w") == newest
    assert store.find("speed", THERE, three[1], work="w") is None
    assert store.find("speed", HERE, three[1], work="v") is None
    same, _ = store.observe(three[0], quality(40, tokens="t"))
    assert store.find("quality", None, three[1], tokens="t") == same
    assert store.find("quality", None, three[1], tokens="u") is None


def test_from_the_first_fresh_observation_on_only_fresh_ones_count(
    store: Store, three: list[str]
) -> None:
    for fid in (40.0, 40.5):
        store.observe(three[0], quality(fid))
    extra = Quantity("old", 1.0, 0.0, 1)
    both = (*quality(40.0).quantities, extra)
    store.observe(three[0], quality(40.0, quantities=both))
    fresh, _ = store.observe(three[0], quality(41.0, fresh=True, seconds=9.0))
    assert (fresh.count, fresh.fresh, fresh.seconds) == (1, 1, 9.0)
    assert store.observations("quality", None, key=fresh.key) == 4
    assert fresh.quantities == {"fid": quality(41.0).quantities[0]}
    late, _ = store.observe(three[1], quality(40.0))
    assert late == replace(fresh, candidates=frozenset(three[:2]))
    more, _ = store.observe(three[0], quality(42.0, fresh=True, seconds=11.0))
    assert (more.count, more.fresh, more.seconds) == (2, 2, 10.0)
    assert more.quantities["fid"].value == 41.5
    assert len(store.measurements_of(more.id)) == 6


def test_fresh_counts_and_seconds_come_with_the_trial(store: Store, three: list[str]) -> None:
    qualities, _ = store.observe(three[0], quality(40.0, fresh=True))
    speeds, _ = store.observe(three[0], speed(10.0))
    store.finish("first", 0, qualities.id, speeds.id, {})
    assert store.trials("first")[0].fresh == {"quality": 1, "speed": 0}
    assert store.trials("first")[0].seconds == {"quality": 2.0, "speed": 1.0}
    assert store.trials("first")[1].fresh == store.trials("first")[1].seconds == {}


@pytest.mark.parametrize(
    ("one", "other", "sigmas"),
    [
        # Both spreads 0.5: the difference has sqrt(0.5), so 2.82 lies within 4 and 2.84 beyond.
        (quality(40.0), quality(42.82), None),
        (quality(40.0), quality(42.84), 2.84 / math.sqrt(0.5)),
        (quality(40.0), quality(37.16), 2.84 / math.sqrt(0.5)),
        (quality(40.0, 0.0), quality(41.0, 0.1), 10.0),
        (quality(40.0, 0.0), quality(40.0 * (1 + 1e-10), 0.0), None),
        (quality(40.0, 0.0), quality(40.0 * (1 + 1e-8), 0.0), math.inf),
        (speed(10.0), speed(12.4), None),  # many sigmas, but timings drift
        (speed(10.0), speed(12.6), 2.6 / math.hypot(0.1, 0.1)),
        (speed(10.0), speed(7.4), 2.6 / math.hypot(0.1, 0.1)),
        (speed(10.0, 2.0), speed(15.0, 2.0), None),  # far off, but noisy
        (speed(10.0, 0.0), speed(10.1, 0.0), None),
    ],
)
def test_noise_is_told_from_disagreement(
    store: Store, three: list[str], one: Measurement, other: Measurement, sigmas: float | None
) -> None:
    store.observe(three[0], one)
    counted, off = store.observe(three[1], other)
    if sigmas is None:
        assert off is None and (counted.split, counted.count) == (0, 2)
        assert store.disagreements("first") == []
        return
    assert off is not None and (counted.split, counted.count) == (1, 1)
    assert off.sigmas == pytest.approx(sigmas)
    assert (off.candidate_id, off.aspect, off.split) == (three[1], other.aspect, True)
    assert (off.value, off.expected) == (other.quantities[0].value, one.quantities[0].value)
    assert store.disagreements("first") == [off]


def test_who_disagrees_with_others_gets_a_class_of_its_own_and_its_trials_follow(
    store: Store, three: list[str]
) -> None:
    a, b, c = three
    common, _ = store.observe(a, quality(40.0))
    store.finish("first", 0, common.id, None, {"quality": "measured"})
    store.finish("first", 1, common.id, None, {"quality": "law"})
    store.finish("first", 2, common.id, None, {"quality": "law"})

    own, off = store.observe(b, quality(60.0, tokens="tb"))
    assert off is not None and off.split
    assert (own.key, own.split, own.count, own.candidates) == ("q", 1, 1, {b})
    assert [t.quantities["fid"].value for t in store.trials("first")] == [40.0, 60.0, 40.0]

    again, off = store.observe(b, quality(60.5))  # agrees with its own class
    assert off is None and (again.id, again.count) == (own.id, 2)
    third, off = store.observe(c, quality(80.0))  # disagrees with the common class in its turn
    assert off is not None and (third.split, third.candidates) == (2, {c})
    back, off = store.observe(a, quality(40.5))
    assert off is None and (back.id, back.count) == (common.id, 2)

    for candidate, expected in ((a, common.id), (b, own.id), (c, third.id), ("0" * 32, common.id)):
        found = store.find("quality", None, candidate, key="q")
        assert found is not None and found.id == expected
    by_tokens = store.find("quality", None, "0" * 32, tokens="tb")
    assert by_tokens is not None and by_tokens.id == own.id
    by_tokens = store.find("quality", None, a, tokens="tb")  # has a class of its own
    assert by_tokens is not None and by_tokens.id == common.id


def test_predicted_work_leads_to_the_part_that_nobody_disagreed_with(
    store: Store, three: list[str]
) -> None:
    a, b, c = three
    common, _ = store.observe(a, speed(10.0, work="w"))
    own, off = store.observe(b, speed(20.0, work="w"))
    assert off is not None and off.split
    for candidate, expected in ((a, common.id), (b, own.id), (c, common.id)):
        found = store.find("speed", HERE, candidate, work="w")
        assert found is not None and found.id == expected


def test_ones_own_disagreement_is_recorded_and_splits_nothing(
    store: Store, three: list[str]
) -> None:
    store.observe(three[0], quality(40.0))
    store.observe(three[1], quality(40.0))
    counted, off = store.observe(three[0], quality(60.0))
    assert off is not None and not off.split
    assert (counted.split, counted.count) == (0, 3)
    assert counted.quantities["fid"].value == pytest.approx(140 / 3)
    assert store.disagreements("first") == [off]


def test_a_disagreement_is_about_the_quantity_that_is_furthest_off(
    store: Store, three: list[str]
) -> None:
    def both(fid: float, recall: float) -> Measurement:
        return quality(
            fid, quantities=(Quantity("fid", fid, 0.5, 9), Quantity("recall", recall, 0.01, 9))
        )

    store.observe(three[0], both(40.0, 0.5))
    _, off = store.observe(three[1], both(50.0, 0.9))
    assert off is not None and (off.name, off.value, off.expected) == ("recall", 0.9, 0.5)
    assert off.sigmas == pytest.approx(0.4 / math.hypot(0.01, 0.01))


def test_what_is_told_aside_is_no_reason_to_disagree(store: Store, three: list[str]) -> None:
    def observed(pixels: float, **detail: object) -> Measurement:
        aside = Quantity("pixels_ms", pixels, 0.1, 3, "ms", False, detail=detail)
        known = speed(10.0)
        return replace(known, quantities=(*known.quantities, aside))

    store.observe(three[0], observed(4.0, aside=True))
    assert store.observe(three[1], observed(8.0, aside=True))[1] is None
    assert store.observe(three[2], observed(80.0))[1] is not None  # the control


def test_a_study_is_shown_the_disagreements_that_concern_it(store: Store, three: list[str]) -> None:
    store.create_study(replace(INFO, name="pointing"))
    store.create_study(replace(INFO, name="proposing"))
    store.create_study(replace(INFO, name="elsewhere"))
    common, _ = store.observe(three[0], quality(40.0))
    _, off = store.observe(three[1], quality(60.0))
    store.propose("pointing", 0, {"w": 9}, ())
    store.finish("pointing", 0, common.id, None, {})
    store.propose("proposing", 0, {"w": 1}, ())
    store.propose("elsewhere", 0, {"w": 9}, ())
    for study in ("first", "pointing", "proposing"):
        assert store.disagreements(study) == [off]
    assert store.disagreements("elsewhere") == []


def test_an_infinite_lead_is_kept(store: Store, three: list[str]) -> None:
    store.observe(three[0], quality(40.0, 0.0))
    _, off = store.observe(three[1], quality(41.0, 0.0))
    assert off is not None and off.sigmas == math.inf
    assert store.disagreements("first") == [off]


def drawn(candidates: Sequence[str], seed: int) -> list[tuple[str, Measurement]]:
    """Observations of a few keys where some candidates differ from the others of their key."""
    draw = random.Random(seed)
    observed = []
    for _ in range(60):
        who, key = draw.randrange(len(candidates)), f"k{draw.randrange(4)}"
        odd = 10.0 * (who == 2 and key != "k0")
        fid = 40.0 + odd + draw.gauss(0, 0.3)
        fresh = draw.random() < 0.1
        if draw.random() < 0.5:
            observed.append((candidates[who], quality(fid, key=key, fresh=fresh)))
        else:
            observed.append((candidates[who], speed(fid, 0.5, key, fresh=fresh)))
    return observed


@pytest.mark.parametrize("seed", range(5))
def test_many_at_once_is_the_same_as_one_by_one(store: Store, three: list[str], seed: int) -> None:
    """Batches of any size store what single observations would, statistics and splits alike."""
    observed = drawn(three, seed)
    single = [store.observe(*each)[0].id for each in observed]
    other = [(who, replace(each, key=f"{each.key} again")) for who, each in observed]
    cut = random.Random(seed).randrange(len(other))
    batched = store.observe_many(other[:cut]) + store.observe_many(other[cut:])
    assert store.observe_many([]) == []
    assert len(set(single)) == len(set(batched)) == len(set(zip(single, batched, strict=True)))
    for (who, one), alone, together in zip(observed, single, batched, strict=True):
        place = one.environment
        first = store.find(one.aspect, place, who, key=one.key)
        second = store.find(one.aspect, place, who, key=f"{one.key} again")
        assert first is not None and first.id == alone
        assert second is not None and second.id == together
        assert second == replace(first, id=together, key=second.key)
    disagreements = store.disagreements("first")
    assert len(disagreements) > 0
    half = len(disagreements) // 2
    assert disagreements[:half] == disagreements[half:]


@pytest.mark.parametrize("seed", range(5))
def test_stored_statistics_are_those_of_the_observations_that_count(
    store: Store, three: list[str], seed: int
) -> None:
    store.observe_many(drawn(three, seed))
    with store._database.reading() as session:
        ids = list(session.scalars(text("SELECT id FROM classes ORDER BY id")))
    assert ids
    for class_id in ids:
        everything = store.measurements_of(class_id)
        counted = [each for each in everything if each.fresh] or everything
        found = store.find(
            everything[0].aspect,
            everything[0].environment,
            candidate_of(store, class_id),
            key=everything[0].key,
        )
        assert found is not None and found.id == class_id
        assert found.count == len(counted)
        assert found.fresh == sum(each.fresh for each in everything)
        values = [each.quantities[0].value for each in counted]
        assert next(iter(found.quantities.values())).value == pytest.approx(np.mean(values))


def candidate_of(store: Store, class_id: int) -> str:
    query = text("SELECT candidate_id FROM measurements WHERE class_id = :id ORDER BY id LIMIT 1")
    with store._database.reading() as session:
        return str(session.scalar(query, {"id": class_id}))
