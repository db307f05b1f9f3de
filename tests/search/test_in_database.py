"""What is answered inside the database is what is worked out from rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from paretoken.cache.store import Store
from paretoken.search.query import NothingMatches, parse
from paretoken.search.report import results
from paretoken.search.report.choice import best, choose
from paretoken.search.report.results import read

Cli = Callable[..., Any]

WHERES = [
    "", "fid <= 60", "fid <= 60 and speedup >= 2", "speedup >= 2.5 and fid < 52.0", "kid > 0.01",
    "fid != 50 and speedup < 3.5", "target_forwards <= 100", "speedup == 1.8", "fid >= 70",
]  # fmt: skip
WAYS = [{}, {"maximize": "images_per_s"}, {"minimize": "fid"}, {"minimize": "target_forwards"}]


@pytest.mark.parametrize("where", WHERES)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_best_is_the_same(where: str, way: dict[str, str], store: Store) -> None:
    inside, _ = best(store, "demo", where, **way)
    assert inside == choose(read(store, "demo"), where, **way)


@pytest.mark.parametrize(
    "where", ["window > 8", "fid <= 60 or speedup > 3", "not fid > 60", "1 < speedup < 3"]
)
def test_other_conditions_are_no_bounds_and_still_answered(where: str, store: Store) -> None:
    bounds = parse(where).bounds()
    assert bounds is None or bounds[0].name == "window"
    inside, _ = best(store, "demo", where)
    assert inside == choose(read(store, "demo"), where)


def test_a_condition_that_nothing_meets_says_what_comes_near(store: Store) -> None:
    with pytest.raises(NothingMatches):
        best(store, "demo", "fid <= 1")


def test_the_front_of_a_large_study_is_the_same(
    cli: Cli, url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = json.loads(cli("front", "demo", "--json").out)
    table = cli("front", "demo").out
    monkeypatch.setattr(results, "LARGE", 0)
    part = json.loads(cli("front", "demo", "--json").out)
    numbers = [[found["number"] for found in document["front"]] for document in (whole, part)]
    assert numbers[0] == numbers[1] == [4, 3, 1]
    assert whole["front"] == part["front"] and part["indistinguishable"] == []
    short = cli("front", "demo").out
    assert "only the front is read" in short and "plain decoding" in short
    assert "≈" in table and "≈" not in short
    assert [trial.number for trial in store.front("demo")] == [1, 3, 4]  # by FID, its first
