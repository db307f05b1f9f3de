"""Four processes write one store while each is killed again and again, in the middle of anything.

Each tells in a file what the store has acknowledged, after the call has returned. Nothing told may
be lost, and no two may have held one lease at the same time. PARETOKEN_STRESS_SECONDS says how
long (8 if it does not; 180 by hand before a release).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text

from paretoken.cache.store import Store
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Environment, Measurement, Quantity, StudyInfo

SECONDS = float(os.environ.get("PARETOKEN_STRESS_SECONDS", "8"))
WRITERS = 4
LEASE = 0.4  # seconds
OBJECTIVES = (Objective("images_per_s", "", True, ""), Objective("peak_gib", "GiB", False, ""))
INFO = StudyInfo("first", "fashion", "nsga2", 0, {}, OBJECTIVES, {}, "2026-01-01T00:00:00+00:00")

WRITER = """
import os, random, sys, time
from datetime import UTC, datetime
from paretoken.cache.store import Store
from paretoken.spaces.records import Environment, Measurement, Quantity

url, told, LEASE = sys.argv[1], sys.argv[2], float(sys.argv[3])
place = Environment("cpu", "test")
owner, draw = f"owner-{os.getpid()}-{time.time_ns()}", random.SystemRandom()
file = os.open(told, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def tell(*words):
    os.write(file, (" ".join(map(str, words)) + "\\n").encode())

def observed(number):
    key = f"key {draw.randrange(100)}"
    rate = draw.gauss(5 + 50 * (number == 0), 0.1)
    quantities = Quantity("images_per_s", rate, 0.1, 3), Quantity("peak_gib", 1.0 + number, 0.0, 1)
    return Measurement("speed", key, quantities, place, draw.getrandbits(62), 1.0)

def observe():
    number = draw.randrange(7)
    one = observed(number)
    store.observe(candidates[number], one)
    tell("measured", one.seed)

def observe_many():
    numbers = [draw.randrange(7) for _ in range(20)]
    many = [observed(number) for number in numbers]
    store.observe_many([(candidates[n], each) for n, each in zip(numbers, many)])
    for each in many:
        tell("measured", each.seed)

def finish():
    trial = 1000 + draw.getrandbits(30)
    number = draw.randrange(7)
    candidate = store.propose("first", trial, {"w": number}, ())
    found, _ = store.observe(candidate, observed(number))
    store.finish("first", trial, None, found.id, {})
    tell("finished", trial)

def hold(key, state):
    asked = datetime.now(UTC)
    if not store.lease(key, owner, LEASE, lambda: asked):
        return
    tell("granted", key, owner, time.time(), asked.timestamp() + LEASE)
    time.sleep(draw.random() * 0.3)
    if draw.random() < 0.5:
        asked = datetime.now(UTC)
        if store.renew(owner, LEASE, lambda: asked):
            tell("granted", key, owner, time.time(), asked.timestamp() + LEASE)
            time.sleep(draw.random() * 0.3)
    tell("gave-up", key, owner, time.time())
    store.release(key, owner, state)
    if state == "done":
        tell("done", key, owner, time.time())

store = Store.open(url, create=False)
candidates = sys.argv[4:]
while True:
    draw.choice([
        observe, observe, observe_many, finish,
        lambda: hold(f"again-{draw.randrange(3)}", "failed"),
        lambda: hold(f"once-{int(time.time() * 2)}", "done"),
    ])()
"""


@pytest.mark.slow
def test_nothing_acknowledged_is_lost(url: str, tmp_path: Path) -> None:
    told = tmp_path / "told"
    with Store.open(url) as store:
        store.create_study(INFO)
        candidates = [store.propose("first", number, {"w": number}, ()) for number in range(7)]
    kills = kill_at_random(url, told, candidates)
    lines = [line.split() for line in told.read_text().splitlines()]
    by_word: dict[str, list[list[str]]] = defaultdict(list)
    for word, *rest in lines:
        by_word[word].append(rest)

    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        if url.startswith("sqlite"):
            assert connection.scalar(text("PRAGMA integrity_check")) == "ok"
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
        seeds = Counter(connection.scalars(text("SELECT seed FROM measurements")))
        assert set(seeds.values()) == {1}
        acknowledged = {int(seed) for (seed,) in by_word["measured"]}
        assert acknowledged and acknowledged <= set(seeds)
        done = set(connection.scalars(text("SELECT number FROM trials WHERE state = 'done'")))
        assert {int(number) for (number,) in by_word["finished"]} <= done
        check_statistics(connection, len(seeds))
    engine.dispose()
    check_leases(by_word["granted"], by_word["gave-up"])
    check_done(by_word["granted"], by_word["done"])

    with Store.open(url) as store:  # it opens, and works
        assert len(store.trials("first")) >= 7 + len(by_word["finished"])
        store.propose("first", 7, {"w": 99}, ())
        place = Environment("cpu", "test")
        for number in range(100):
            found = store.find("speed", place, "0" * 32, key=f"key {number}")
            if found is not None:
                one = Quantity("images_per_s", 5.0, 0.1, 3)
                again = Measurement("speed", f"key {number}", (one,), place, number, 1.0)
                assert store.observe(candidates[1], again)[0].count >= 1
    print(
        f"\n{url.split(':')[0]}: {kills} kills, {len(acknowledged)} measurements, "
        f"{len(by_word['finished'])} trials, {len(by_word['granted'])} leases told"
    )


def kill_at_random(url: str, told: Path, candidates: list[str]) -> int:
    """Keep the writers going for SECONDS, each killed every few seconds; returns how often."""
    command = [sys.executable, "-c", WRITER, url, str(told), str(LEASE), *candidates]
    draw, kills = random.Random(0), 0
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(WRITERS)]
    until = time.monotonic() + SECONDS
    try:
        while time.monotonic() < until:
            time.sleep(draw.uniform(0.2, 1.4))
            place = draw.randrange(WRITERS)
            kill(writers[place])
            kills += 1
            writers[place] = subprocess.Popen(command, stderr=subprocess.PIPE)
    finally:
        for writer in writers:
            kill(writer)
    return kills


def kill(writer: subprocess.Popen[bytes]) -> None:
    writer.kill()
    _, errors = writer.communicate()
    assert (writer.returncode, errors) == (-signal.SIGKILL, b""), errors.decode()


def check_statistics(connection: Connection, count: int) -> None:
    """Every class says what its observations say; none is half there."""
    assert connection.scalar(text("SELECT count(*) FROM quantities")) == 2 * count
    assert connection.scalar(text("SELECT sum(count) FROM classes")) == count
    observed = connection.execute(
        text(
            "SELECT m.class_id, q.name, count(*), avg(q.value) FROM measurements m "
            "JOIN quantities q ON q.measurement_id = m.id GROUP BY m.class_id, q.name"
        )
    )
    stored = {
        (class_id, name): (number, mean)
        for class_id, name, number, mean in connection.execute(
            text("SELECT class_id, name, count, mean FROM means")
        )
    }
    for class_id, name, number, mean in observed:
        assert stored.pop((class_id, name)) == (number, pytest.approx(mean))
    assert stored == {}


def check_leases(granted: list[list[str]], gave_up: list[list[str]]) -> None:
    """No two owners held one key at once, by what each believed: from the answer to the end."""
    ends: dict[tuple[str, str], list[float]] = defaultdict(list)
    for key, owner, moment in gave_up:
        ends[key, owner].append(float(moment))
    held: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for key, owner, start, expires in granted:
        end = min([float(expires)] + [m for m in ends[key, owner] if m >= float(start)])
        held[key].append((float(start), end, owner))
    assert any(len({owner for *_, owner in spans}) > 1 for spans in held.values())
    for key, spans in held.items():
        latest: dict[str, float] = {}
        for start, end, owner in sorted(spans):
            for other, until in latest.items():
                assert other == owner or start >= until, (key, owner, other, start, until)
            latest[owner] = max(end, latest.get(owner, 0.0))


def check_done(granted: list[list[str]], told: list[list[str]]) -> None:
    """What was done while the lease lived is done for good: asking for it later was in vain."""
    expires: dict[tuple[str, str], float] = defaultdict(float)
    asked: dict[str, float] = defaultdict(float)
    for key, owner, _, end in granted:
        expires[key, owner] = max(float(end), expires[key, owner])
        asked[key] = max(float(end) - LEASE, asked[key])
    done = {
        key: float(moment)
        for key, owner, moment in told
        if float(moment) < expires[key, owner]  # else somebody may have taken over before
    }
    assert done
    for key, moment in done.items():
        assert asked[key] < moment, key
