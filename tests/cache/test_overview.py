"""A study seen from above: classes and whom they answer for, times, and whether anything moved."""

from __future__ import annotations

from dataclasses import replace

from paretoken.cache.store import Store
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Environment, Failure, Measurement, Quantity, StudyInfo

_HERE = Environment("cpu", "1")
_FID = Objective("fid", "", False, "")


def _study(store: Store, name: str = "s") -> None:
    info = StudyInfo(name, "w", "random", 0, {}, (_FID,), {}, "2020-01-01T00:00:00.000000+00:00")
    store.create_study(info)


def _done(store: Store, number: int, key: str, study: str = "s") -> None:
    identity = store.propose(study, number, {"decoder": {"is": "d", "n": number}}, ())
    seen = Measurement("quality", key, (Quantity("fid", 5.0, 1.0, 9),), _HERE, 0, 2.0)
    timed = Measurement("speed", f"c{number}", (Quantity("rate", 1.0, 0.1, 5),), _HERE, 0, 1.0)
    ids = [store.observe(identity, each)[0].id for each in (seen, timed)]
    store.finish(study, number, *ids, {"quality": "measured", "speed": "measured"})


def test_classes_tell_whom_they_answer_for(store: Store) -> None:
    _study(store)
    for number, key in enumerate(("a", "a", "b", "a")):
        _done(store, number, key)
    first, *others = store.merged("s")
    assert (first.aspect, first.numbers, first.count, first.seconds) == ("quality", (0, 1, 3), 3, 2)
    assert [(one.aspect, one.numbers) for one in others] == [
        ("quality", (2,)), ("speed", (0,)), ("speed", (1,)), ("speed", (2,)), ("speed", (3,)),
    ]  # fmt: skip


def test_another_study_s_trials_are_not_listed(store: Store) -> None:
    _study(store)
    _study(store, "other")
    _done(store, 0, "a")
    _done(store, 0, "a", "other")
    assert [one.numbers for one in store.merged("s")] == [(0,), (0,)]
    assert store.merged("s")[0].count == 2  # observations are everybody's


def test_every_ended_trial_has_a_time_and_no_pending_one(store: Store) -> None:
    _study(store)
    _done(store, 0, "a")
    for number in (1, 2):
        store.propose("s", number, {"decoder": {"is": "d", "n": -number}}, ())
    store.fail("s", 1, Failure("nan", ""))
    times = store.end_times("s")
    assert sorted(times) == [0, 1] and times[0] <= times[1]
    assert all(time > "2020-01-02" for time in times.values())


def test_a_revision_changes_with_all_that_can_be_seen_and_with_nothing_else(store: Store) -> None:
    _study(store)
    seen = [store.revision("s")]

    def moved() -> bool:
        seen.append(store.revision("s"))
        return seen[-1] not in seen[:-1] and store.revision("s") == seen[-1]

    identity = store.propose("s", 0, {"decoder": {"is": "d"}}, ())
    assert moved()
    quality = Measurement("quality", "a", (Quantity("fid", 5.0, 1.0, 9),), _HERE, 0, 2.0)
    speed = replace(quality, aspect="speed", key="b", quantities=(Quantity("rate", 1.0, 0.1, 5),))
    first = store.observe(identity, quality)[0].id
    assert moved()
    second = store.observe(identity, speed)[0].id
    assert moved()
    store.reach("s", 0, 5, first, second, {"quality": "measured", "speed": "measured"})
    assert moved()
    store.finish("s", 0, first, second, {"quality": "measured", "speed": "measured"})
    assert moved()
    store.propose("s", 1, {"decoder": {"is": "e"}}, ())
    assert moved()
    store.fail("s", 1, Failure("nan", ""))
    assert moved()
    store.trials("s")
    store.record_export("s", identity, "json", "x")
    assert not moved()
