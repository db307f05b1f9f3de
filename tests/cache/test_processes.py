"""Several processes on one store, and processes that die."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from paretoken.cache.store import Store
from paretoken.spaces.records import Environment, StudyInfo

INFO = StudyInfo("first", "fashion", "nsga2", 0, {}, (), {}, "2026-01-01T00:00:00+00:00")
HERE = Environment("cpu", "test")

OPEN = """
import os, signal, sys
from paretoken.cache.store import Store
from paretoken.spaces.records import Environment, Measurement, Quantity

def observed(key):
    quantity = Quantity("images_per_s", 5.0, 0.1, 3)
    return Measurement("speed", key, (quantity,), Environment("cpu", "test"), 0, 1.0)

store = Store.open(sys.argv[1])
"""

WRITE = """
first = int(sys.argv[2])
for number in range(first, first + 50):
    candidate = store.propose("first", number, {"window": number % 7}, (number,))
    speeds, _ = store.observe(candidate, observed(f"key {number}"))
    store.finish("first", number, None, speeds.id, {"speed": "measured"})
store.close()
"""

DIE = """
candidate = store.propose("first", 0, {"window": 1}, ())
store.observe(candidate, observed("dying"))
"""

DIE_INSIDE = """
with store._database.writing() as session:
    from sqlalchemy import text
    session.execute(text("DELETE FROM studies"))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OPEN + script, *arguments], stderr=subprocess.PIPE, text=True
    )


def end(process: subprocess.Popen[str]) -> int:
    _, errors = process.communicate(timeout=120)
    assert not errors, errors
    return process.returncode


def test_two_writers_lose_nothing(url: str) -> None:
    with Store.open(url) as store:
        store.create_study(INFO)
    writers = [start(WRITE, url, first) for first in ("0", "50")]
    assert [end(writer) for writer in writers] == [0, 0]
    with Store.open(url, create=False) as store:
        trials = store.trials("first")
        assert [trial.number for trial in trials] == list(range(100))
        assert all(trial.state == "done" for trial in trials)
        assert all(trial.quantities["images_per_s"].value == 5.0 for trial in trials)
        candidates = {trial.candidate_id for trial in trials}
        assert len(candidates) == 7
        assert sum(len(store.measurements(candidate)) for candidate in candidates) == 100
        for number in range(100):
            assert store.find("speed", HERE, "0" * 32, key=f"key {number}")


def test_processes_that_open_a_fresh_store_at_once_all_find_it(url: str) -> None:
    openers = [start("store.studies(); store.close()", url) for _ in range(4)]
    assert [end(opener) for opener in openers] == [0] * 4
    with Store.open(url, create=False) as store:
        assert store.studies() == []


@pytest.mark.parametrize(
    ("how", "status"),
    [("os._exit(9)", 9), ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL)],
)
def test_a_measurement_outlives_the_process_that_made_it(url: str, how: str, status: int) -> None:
    with Store.open(url) as store:
        store.create_study(INFO)
    assert end(start(DIE + how, url)) == status
    with Store.open(url, create=False) as store:
        (trial,) = store.trials("first")
        assert trial.state == "pending"
        found = store.find("speed", HERE, trial.candidate_id, key="dying")
        assert found is not None
        store.finish("first", 0, None, found.id, {"speed": "canonical"})
        assert store.trials("first")[0].quantities["images_per_s"].value == 5.0


def test_a_process_killed_inside_a_transaction_changes_nothing(url: str) -> None:
    with Store.open(url) as store:
        store.create_study(INFO)
    assert end(start(DIE_INSIDE, url)) == -signal.SIGKILL
    with Store.open(url) as store:
        assert store.study("first") == INFO
