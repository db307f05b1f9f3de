"""Threads of one process that share one Store, each with a worker of its own."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from paretoken.cache.condition import Compare, Number
from paretoken.cache.front import pareto_front
from paretoken.cache.store import Store
from paretoken.spaces.errors import BadInput
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Environment, Measurement, Quantity, StudyInfo

FID = Objective("fid", "", higher=False, doc="")
SPEED = Objective("images_per_s", "images/s", higher=True, doc="")
INFO = StudyInfo("first", "fashion", "nsga2", 0, {}, (SPEED, FID), {}, "")
HERE = Environment("cpu", "test")
THREADS = 8
EACH = 20


def observed(aspect: str, key: int) -> Measurement:
    name = "fid" if aspect == "quality" else "images_per_s"
    return Measurement(aspect, f"{key}", (Quantity(name, 10.0 + key, 0.1, 3),), HERE, 0, 1.0)


def answer(store: Store, candidate: str, aspect: str, key: int, owner: str) -> int:
    """The class of one behaviour: measured by whoever leases it first, and waited for by others."""
    work = f"{aspect} {key}"
    if store.lease(work, owner, 60):
        found, _ = store.observe(candidate, observed(aspect, key))
        store.release(work, owner, "done")
        return found.id
    while (known := store.find(aspect, HERE, candidate, key=f"{key}")) is None:
        time.sleep(0.001)
    return known.id


def drive(store: Store, thread: int, together: threading.Barrier) -> None:
    owner = f"host 1 {thread}"
    together.wait()
    for step in range(EACH):
        number = step * THREADS + thread
        window = number % 40  # four proposals of each
        candidate = store.propose("first", number, {"window": window}, (float(number),))
        quality = answer(store, candidate, "quality", window % 10, owner)
        speed = answer(store, candidate, "speed", window, owner)
        store.renew(owner, 60)
        store.finish("first", number, quality, speed, {"quality": "measured"})
        store.front("first")
        store.best("first", FID, Compare(Number("images_per_s"), ">=", 20.0))


def test_threads_share_a_store_and_nothing_is_lost_or_doubled(store: Store) -> None:
    store.create_study(INFO)
    together = threading.Barrier(THREADS)
    with ThreadPoolExecutor(THREADS) as pool:
        driving = [pool.submit(drive, store, thread, together) for thread in range(THREADS)]
        for each in driving:
            each.result()
    trials = store.trials("first")
    assert [trial.number for trial in trials] == list(range(THREADS * EACH))
    assert all(trial.state == "done" for trial in trials)
    for trial in trials:
        window = trial.number % 40
        assert trial.numbers == (float(trial.number),)
        assert trial.quantities["fid"].value == 10.0 + window % 10
        assert trial.quantities["images_per_s"].value == 10.0 + window
    candidates = {trial.candidate_id for trial in trials}
    made = [each for candidate in candidates for each in store.measurements(candidate)]
    assert len(candidates) == 40
    assert sorted((each.aspect, int(each.key)) for each in made) == [
        *(("quality", key) for key in range(10)),
        *(("speed", key) for key in range(40)),
    ]
    for each in made:
        assert store.observations(each.aspect, HERE, key=each.key) == 1
    front = {trial.candidate_id for trial in store.front("first")}
    by_candidate = {trial.candidate_id: trial for trial in trials}
    assert front == {t.candidate_id for t in pareto_front(by_candidate.values(), (SPEED, FID))}


def test_one_piece_of_work_and_one_number_go_to_one_thread(store: Store) -> None:
    store.create_study(INFO)
    together = threading.Barrier(THREADS)

    def grab(thread: int) -> tuple[int, int]:
        together.wait()
        leased = proposed = 0
        for number in range(EACH):
            leased += store.lease(f"work {number}", f"host 1 {thread}", 60)
            try:
                store.propose("first", number, {"window": number}, ())
                proposed += 1
            except BadInput:
                pass
        return leased, proposed

    with ThreadPoolExecutor(THREADS) as pool:
        grabbed = list(pool.map(grab, range(THREADS)))
    assert sum(leased for leased, _ in grabbed) == EACH
    assert sum(proposed for _, proposed in grabbed) == EACH
    assert store.size("first") == EACH


def test_observations_of_one_class_by_many_threads_all_count(store: Store) -> None:
    store.create_study(INFO)
    candidate = store.propose("first", 0, {"window": 0}, ())
    with ThreadPoolExecutor(THREADS) as pool:
        list(
            pool.map(
                lambda _: store.observe(candidate, observed("speed", 1)), range(THREADS * EACH)
            )
        )
    found = store.find("speed", HERE, candidate, key="1")
    assert found is not None and found.count == THREADS * EACH
    assert found.quantities["images_per_s"].value == pytest.approx(11.0)
    assert len(store.measurements(candidate)) == THREADS * EACH
