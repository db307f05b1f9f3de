"""What is answered inside the database is what is worked out from rows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from paretoken.cache.store import Store
from paretoken.search.query.selecting import Filter, NothingMatches, condition
from paretoken.search.report import choice
from paretoken.search.report import results as judged
from paretoken.spaces.records import Trial

Cli = Callable[..., Any]
Fits = Callable[[Trial], bool]


def value(trial: Trial, name: str) -> float:
    found = trial.quantities.get(name)
    return found.value if found else math.nan  # which no comparison but != is true of


def part(trial: Trial, name: str) -> Any:
    return trial.tree["decoder"].get(name, {})


WHERES: dict[str, Fits] = {
    "": lambda t: True,
    "fid <= 60": lambda t: value(t, "fid") <= 60,
    "fid <= 60 and speedup >= 2": lambda t: value(t, "fid") <= 60 and value(t, "speedup") >= 2,
    "speedup >= 2.5 and fid < 52.0": lambda t: value(t, "speedup") >= 2.5 and value(t, "fid") < 52,
    "kid > 0.01": lambda t: value(t, "kid") > 0.01,
    "fid != 50 and speedup < 3.5": lambda t: value(t, "fid") != 50 and value(t, "speedup") < 3.5,
    "target_forwards <= 100": lambda t: value(t, "target_forwards") <= 100,
    "speedup == 1.8": lambda t: value(t, "speedup") == 1.8,
    "fid >= 70": lambda t: value(t, "fid") >= 70,
    "window > 8": lambda t: part(t, "drafter").get("window", 0) > 8,
    "fid <= 60 or speedup > 3": lambda t: value(t, "fid") <= 60 or value(t, "speedup") > 3,
    "not fid > 60": lambda t: not value(t, "fid") > 60,
    "1 < speedup < 3": lambda t: 1 < value(t, "speedup") < 3,
    "verifier = 'grouped' and not size > 2": lambda t: 0 < part(t, "verifier").get("size", 0) <= 2,
}
WAYS = [{}, {"maximize": "images_per_s"}, {"minimize": "fid"}, {"minimize": "target_forwards"}]


def by_hand(store: Store, fits: Fits, maximize: str = "", minimize: str = "") -> Trial:
    name = maximize or minimize or "images_per_s"
    sign = 1 if minimize else -1
    return min(
        (trial for trial in store.trials("demo") if trial.state == "done" and fits(trial)),
        key=lambda t: (sign * value(t, name), value(t, "fid"), -value(t, "images_per_s"), t.number),
    )


@pytest.mark.parametrize("where", WHERES)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_best_is_the_same(where: str, way: dict[str, str], store: Store) -> None:
    inside, results = choice.best(store, "demo", choice.Wish(Filter(where), **way))
    assert inside == by_hand(store, WHERES[where], **way)
    assert results == judged.read(store, "demo")


@pytest.mark.parametrize("where", WHERES)
def test_the_front_of_those_that_fit_is_the_same(where: str, store: Store) -> None:
    fitting = [t for t in store.trials("demo") if t.state == "done" and WHERES[where](t)]
    expected = judged.judge(store.study("demo"), fitting)
    found = judged.read(store, "demo", wanted=Filter(where))
    assert (found.front, found.close) == (expected.front, expected.close)
    inside = store.front("demo", condition(store, "demo", where))
    assert {trial.number for trial in inside} == set(expected.front)


def test_a_condition_that_nothing_meets_says_what_comes_near(store: Store) -> None:
    for ask in (
        lambda: choice.best(store, "demo", choice.Wish(Filter("fid <= 1"))),
        lambda: choice.best(store, "demo", choice.Wish(Filter("fid <= 1"), knee=True)),
        lambda: judged.read(store, "demo", wanted=Filter("fid <= 1")),
    ):
        with pytest.raises(NothingMatches, match="the nearest is number 0: fid = 50"):
            ask()


def test_the_front_of_a_large_study_is_the_same(
    cli: Cli, url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = json.loads(cli("front", "demo", "--json").out)
    table = cli("front", "demo").out
    among = ("front", "demo", "--json", "--where", "verifier == 'grouped' and fid < 100")
    some = json.loads(cli(*among).out)
    monkeypatch.setattr(judged, "LARGE", 0)
    part = json.loads(cli("front", "demo", "--json").out)
    numbers = [[found["number"] for found in document["front"]] for document in (whole, part)]
    assert numbers[0] == numbers[1] == [4, 3, 1]
    assert whole["front"] == part["front"] and part["indistinguishable"] == []
    short = cli("front", "demo").out
    assert "only the front is read" in short and "plain decoding" in short
    assert "≈" in table and "≈" not in short
    assert [trial.number for trial in store.front("demo")] == [1, 3, 4]  # by FID, its first
    assert json.loads(cli(*among).out)["front"] == some["front"]
    assert [found["number"] for found in some["front"]] == [4, 3]
    best = json.loads(cli("best", "demo", "--json", "--where", "window == 8").out)
    assert (best["number"], best["front"]) == (5, False)


@pytest.mark.parametrize(
    ("budgets", "numbers"),
    [
        (("fid<=+2%",), [0, 1, 2]),
        (("fid<=+4%",), [0, 1, 2, 3]),  # 52 is just 4 % more than 50
        (("fid<=+3",), [0, 1, 2, 3, 7]),
        (("fid<=52.5",), [0, 1, 2, 3]),
        (("speedup>=+0%",), [0, 1, 2, 3, 4, 5, 7]),
        (("speedup > +150%",), [3, 4, 5, 7]),
        (("fid<=+2%", "speedup>=+100%"), [1]),
        (("fid<=+2% and speedup>=+100%",), [1]),
        (("fid<=+2%, speedup>=+1",), [1]),
        (("fid<-0%",), []),
        (("target_forwards <= -60%",), [1, 3, 4, 5, 7]),
    ],
)
def test_a_budget_is_a_change_from_plain_decoding(
    budgets: tuple[str, ...], numbers: list[int], store: Store
) -> None:
    assert store.matching("demo", condition(store, "demo", "", budgets)) == numbers


def test_a_percentage_of_a_negative_number_is_of_its_size(store: Store, add: Any) -> None:
    from paretoken.search.query.budget import budget
    from paretoken.search.query.naming import Names
    from paretoken.spaces.records import Quantity

    names = Names(["excess"], lambda: store.settings("demo"))
    bound = budget("excess <= +10%", names, {"excess": Quantity("excess", -2.0, 0.0, 1)})
    assert getattr(bound, "right", None) == -1.8
    with pytest.raises(ValueError, match="column 1: plain decoding has no 'excess'"):
        budget("excess <= +10%", names, {})
    with pytest.raises(ValueError, match="write \\+2% or -2%"):
        budget("excess <= 10%", names, {})


def test_the_knee_is_the_one_worked_out_by_hand(store: Store) -> None:
    """Front by (speed, FID): 1 (2.5, 50), 3 (3, 52), 4 (4, 70); scaled losses (1, 0), (2/3, 0.1),
    (0, 1). Number 3 lies (1 - 2/3 - 0.1) / sqrt 2 = 0.165 before the line, the others on it."""
    from paretoken.cache.knee import knee

    front, objectives = store.front("demo"), store.study("demo").objectives
    found, distance = knee(front, objectives)
    assert found.number == 3
    assert distance == pytest.approx((1 - 2 / 3 - 0.1) / math.sqrt(2))  # rounding alone
    chosen, _ = choice.best(store, "demo", choice.Wish(knee=True))
    assert chosen.number == 3
    for few in (front[:1], front[::2], [front[0], front[0]], []):
        with pytest.raises(ValueError, match="no knee"):
            knee(few, objectives)
