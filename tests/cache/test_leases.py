"""Nobody does a piece of work while somebody else does it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import text

from paretoken.cache.clock import stamp
from paretoken.cache.leases import Clock
from paretoken.cache.store import Store
from paretoken.spaces.errors import BadValue

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> Clock:
    return lambda: START + timedelta(seconds=seconds)


def row(store: Store, key: str = "k") -> tuple[str, str, int]:
    with store._database.reading() as session:
        query = text("SELECT state, owner, attempts FROM work WHERE key = :key")
        state, owner, attempts = session.execute(query, {"key": key}).one()
        return state, owner, attempts


def test_a_live_lease_keeps_the_others_out(store: Store) -> None:
    assert store.lease("k", "a", 10, at(0))
    assert not store.lease("k", "b", 10, at(9.999999))
    assert store.lease("other", "b", 10, at(0))
    assert row(store) == ("leased", "a", 1)


def test_an_expired_lease_is_anybodys(store: Store) -> None:
    assert store.lease("k", "a", 10, at(0))
    assert store.lease("k", "b", 10, at(10))
    assert row(store) == ("leased", "b", 2)
    assert not store.lease("k", "a", 10, at(19))
    assert store.lease("k", "b", 10, at(30))  # one's own that ran out is a new attempt
    assert row(store) == ("leased", "b", 3)


def test_ones_own_lease_is_extended(store: Store) -> None:
    assert store.lease("k", "a", 10, at(0))
    assert store.lease("k", "a", 10, at(5))
    assert not store.lease("k", "b", 10, at(14))
    assert row(store) == ("leased", "a", 1)
    assert store.lease("k", "b", 10, at(15))


def test_the_heartbeat_extends_every_live_lease_of_its_owner(store: Store) -> None:
    for key in ("k", "l"):
        assert store.lease(key, "a", 10, at(0))
    assert store.lease("short", "a", 2, at(0))
    assert store.lease("m", "b", 10, at(0))
    assert store.lease("n", "a", 10, at(0))
    store.release("n", "a", "done")
    assert store.renew("a", 10, at(8)) == 2  # "short" had run out, and stays so
    assert store.renew("nobody", 10, at(8)) == 0
    assert [store.lease(key, "c", 1, at(12)) for key in ("k", "l", "short", "m", "n")] == [
        False,
        False,
        True,
        True,
        False,
    ]


def test_what_is_done_is_never_leased_again(store: Store) -> None:
    assert store.lease("k", "a", 10, at(0))
    store.release("k", "a", "done")
    assert not store.lease("k", "a", 10, at(1))
    assert not store.lease("k", "b", 10, at(1000))
    assert row(store) == ("done", "a", 1)
    store.release("k", "a", "failed")  # nothing is leased: nothing changes
    assert row(store) == ("done", "a", 1)


def test_what_failed_may_be_tried_again_at_once(store: Store) -> None:
    assert store.lease("k", "a", 10, at(0))
    store.release("k", "a", "failed")
    assert store.lease("k", "b", 10, at(1))
    store.release("k", "b", "failed")
    assert store.lease("k", "b", 10, at(1))
    assert row(store) == ("leased", "b", 3)


def test_who_lost_a_lease_cannot_end_it(store: Store) -> None:
    assert store.lease("k", "a", 10, at(0))
    assert store.lease("k", "b", 10, at(11))
    store.release("k", "a", "done")
    assert row(store) == ("leased", "b", 2)
    store.release("never leased", "a", "done")


def test_nonsense_is_refused(store: Store) -> None:
    for seconds in (0, -1, float("nan")):
        with pytest.raises(BadValue, match="more than 0 seconds"):
            store.lease("k", "a", seconds)
        with pytest.raises(BadValue, match="more than 0 seconds"):
            store.renew("a", seconds)
    with pytest.raises(BadValue, match="done or failed"):
        store.release("k", "a", "leased")


def test_moments_sort_as_text_whatever_their_zone() -> None:
    moments = [START + timedelta(microseconds=step) for step in (0, 1, 999_999, 1_000_000, 10**13)]
    moments += [m.astimezone(timezone(timedelta(hours=-7))) for m in moments]
    for one in moments:
        assert len(stamp(one)) == 32
        for other in moments:
            assert (stamp(one) < stamp(other)) == (one < other)


RACE = """
import sys
from paretoken.cache.store import Store
with Store.open(sys.argv[1], create=False) as store:
    input()
    print(*(key for key in range(200) if store.lease(str(key), sys.argv[2], 600)))
"""


def test_of_four_processes_one_gets_each_lease(url: str) -> None:
    Store.open(url).close()
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, url, f"owner {number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    won = [racer.communicate(timeout=120)[0].split() for racer in racers]
    assert sorted(int(key) for keys in won for key in keys) == list(range(200))
