"""Fingerprints lead to the same names ever after, and near ties are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from paretoken.cache.store import Store
from paretoken.spaces.errors import BadInput
from paretoken.spaces.records import Fingerprint, Keys, StudyInfo

INFO = StudyInfo("first", "fashion", "nsga2", 0, {}, (), {}, "2026-01-01T00:00:00+00:00")


def fingerprint(quality: str, work: str, context: str = "m") -> Fingerprint:
    """Two letters each: the digests on the grids a and b."""
    return Fingerprint(
        context,
        (f"q{quality[0]}", f"q{quality[1]}"),
        (f"w{work[0]}", f"w{work[1]}"),
        {"lossless": True},
    )


@pytest.fixture
def some(store: Store) -> list[str]:
    """Proposed candidates."""
    store.create_study(INFO)
    return [store.propose("first", number, {"w": number}, ()) for number in range(6)]


def test_the_first_of_its_kind_names_the_class(store: Store, some: list[str]) -> None:
    assert store.identify(some[0], fingerprint("11", "55")) == Keys("q1", "w5")
    assert store.identify(some[1], fingerprint("11", "66")) == Keys("q1", "w6")
    assert store.identify(some[2], fingerprint("22", "66")) == Keys("q2", "w6")


def test_agreement_on_one_grid_is_a_near_tie(store: Store, some: list[str]) -> None:
    store.identify(some[0], fingerprint("11", "55"))
    assert store.identify(some[1], fingerprint("12", "55")) == Keys("q1", "w5", near_tie=True)
    assert store.identify(some[2], fingerprint("31", "55")) == Keys("q1", "w5", near_tie=True)
    assert store.identify(some[3], fingerprint("11", "57")) == Keys("q1", "w5", near_tie=True)
    assert store.identify(some[4], fingerprint("44", "88")) == Keys("q4", "w8")
    # Equal to somebody who was a near tie: no doubt about where it belongs.
    assert store.identify(some[5], fingerprint("31", "55")) == Keys("q1", "w5")


def test_agreement_on_both_grids_goes_before_an_older_one_on_one(
    store: Store, some: list[str]
) -> None:
    store.identify(some[0], fingerprint("11", "11"))
    store.identify(some[1], fingerprint("23", "23"))
    store.identify(some[2], fingerprint("21", "21"))  # ties with both: the older one names it
    assert store.identify(some[3], fingerprint("23", "23")) == Keys("q2", "w2")
    assert store.identify(some[4], fingerprint("21", "21")) == Keys("q1", "w1")


def test_what_was_asked_once_is_answered_alike_ever_after(store: Store, some: list[str]) -> None:
    asked = [fingerprint(pair, pair) for pair in ("11", "12", "31", "44", "34")]
    first = [store.identify(who, each) for who, each in zip(some, asked, strict=False)]
    again = [store.identify(who, each) for who, each in zip(some, asked, strict=False)]
    assert not any(keys.known for keys in first)
    assert again == [replace(keys, known=True) for keys in first]
    with store._database.reading() as session:
        rows = session.connection().exec_driver_sql("SELECT evidence FROM fingerprints").all()
    assert len(rows) == 5


def test_settings_that_do_something_else_now_are_newcomers(store: Store, some: list[str]) -> None:
    store.identify(some[0], fingerprint("11", "11"))
    assert store.identify(some[0], fingerprint("12", "21")).known  # one grid each: noise
    assert store.identify(some[0], fingerprint("99", "99")) == Keys("q9", "w9")
    assert store.identify(some[0], fingerprint("99", "99")) == Keys("q9", "w9", known=True)
    assert store.identify(some[1], fingerprint("11", "11")) == Keys("q1", "w1")


def test_contexts_are_apart(store: Store, some: list[str]) -> None:
    store.identify(some[0], fingerprint("11", "11"))
    assert store.identify(some[1], fingerprint("21", "21", "other")) == Keys("q2", "w2")
    assert store.identify(some[0], fingerprint("33", "33", "other")) == Keys("q3", "w3")


def test_only_who_was_proposed_is_identified(store: Store) -> None:
    with pytest.raises(BadInput, match="propose it first"):
        store.identify("0" * 32, fingerprint("11", "11"))


def test_the_first_recording_stays(store: Store) -> None:
    assert store.recording("m") is None
    assert store.keep_recording("m", b"\0rows\xff") == b"\0rows\xff"
    assert store.keep_recording("m", b"other") == b"\0rows\xff"
    assert store.recording("m") == b"\0rows\xff"
    assert store.keep_recording("n", b"other") == b"other"
