"""What goes into the store comes out again, on SQLite and on PostgreSQL."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, select

from paretoken.cache.front import pareto_front
from paretoken.cache.schema import ExportRow
from paretoken.cache.store import Store
from paretoken.spaces.errors import BadInput, BadValue, MeasurementFailed, UnknownName
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Environment, Failure, Measurement, Quantity, StudyInfo

RATE = Objective("images_per_s", "images/s", higher=True, doc="")
FID = Objective("fid", "", higher=False, doc="distance to real images")
INFO = StudyInfo(
    name="first",
    workload="fashion",
    algorithm="nsga2",
    seed=2**62,
    space={"z": 1, "a": [{"x": 0.1}, None, True], "ü": "é"},
    objectives=(RATE, FID),
    options={"samples": 1000},
    created="2026-01-02T03:04:05+00:00",
)
HERE = Environment("cpu A, 2 threads", "paretoken 0.1.0, torch 2.14.1", "abc")
THERE = Environment("cuda B", "paretoken 0.1.0, torch 2.14.1", "abc")


def tree(window: int) -> dict[str, object]:
    return {"decoder": {"is": "decoders/speculative", "drafter": {"window": window}}}


def quality(fid: float, key: str = "q", place: Environment = HERE) -> Measurement:
    found = Quantity("fid", fid, 0.5, 1000, "", False, "N=1000", {"by": ["jackknife"]})
    return Measurement("quality", key, (found,), place, 7, 1.5, {"transcript": "00ff"})


def speed(rate: float, key: str = "c", place: Environment = HERE, s: float = 0.0) -> Measurement:
    found = (
        Quantity("images_per_s", rate, s, 5, "images/s", True),
        Quantity("peak_gib", 1.25, 0.0, 1, "GiB", False),
    )
    return Measurement("speed", key, found, place, 7, 2.5)


def measured(store: Store, number: int, fid: float, rate: float, s: float = 0.0) -> str:
    candidate = store.propose("first", number, tree(number), ())
    qualities, _ = store.observe(candidate, quality(fid, key=f"q{fid}"))
    speeds, _ = store.observe(candidate, speed(rate, key=f"c{rate}", s=s))
    store.finish("first", number, qualities.id, speeds.id, {"quality": "measured"})
    return candidate


def test_a_study_comes_back_as_it_was(store: Store) -> None:
    store.create_study(INFO)
    assert store.study("first") == INFO
    assert list(store.study("first").space) == ["z", "a", "ü"]  # its order may carry meaning


def test_a_study_without_a_time_gets_the_present_one(store: Store) -> None:
    store.create_study(replace(INFO, created=""))
    assert store.study("first").created.endswith("+00:00")


def test_a_taken_name_is_refused_with_both_ways_out(store: Store) -> None:
    store.create_study(INFO)
    with pytest.raises(BadInput, match=r"'first' already: .*--resume.*--study"):
        store.create_study(replace(INFO, seed=1))
    assert store.study("first") == INFO


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "nul\0"])
def test_a_study_is_named_on_one_line(store: Store, name: str) -> None:
    with pytest.raises(BadValue, match="one line of text"):
        store.create_study(replace(INFO, name=name))


def test_a_seed_too_large_for_sql_is_refused(store: Store) -> None:
    with pytest.raises(BadValue, match="seed"):
        store.create_study(replace(INFO, seed=2**63))


def test_a_study_that_wants_a_speedup_is_told_to_want_the_speed(store: Store) -> None:
    speedup = Objective("speedup", "x", higher=True, doc="against plain decoding")
    with pytest.raises(
        BadValue, match="Take images_per_s or tokens_per_s or suggestions_per_s as the objective"
    ) as said:
        store.create_study(replace(INFO, objectives=(FID, speedup)))
    assert "\n" not in str(said.value)
    assert store.studies() == []


def test_an_unknown_study_gets_a_suggestion(store: Store) -> None:
    store.create_study(INFO)
    for asked in (
        lambda: store.study("frist"),
        lambda: store.trials("frist"),
        lambda: store.propose("frist", 0, tree(1), ()),
    ):
        with pytest.raises(UnknownName, match="Did you mean 'first'"):
            asked()


def test_studies_are_counted_by_state(store: Store) -> None:
    store.create_study(INFO)
    store.create_study(replace(INFO, name="second"))
    measured(store, 0, 40, 10)
    measured(store, 1, 40, 10)
    store.propose("first", 2, tree(2), ())
    store.propose("first", 3, tree(3), ())
    store.fail("first", 3, Failure("nan", "fid is NaN"))
    assert [(info.name, counts) for info, counts in store.studies()] == [
        ("first", {"done": 2, "stopped": 0, "failed": 1, "pending": 1}),
        ("second", {"done": 0, "stopped": 0, "failed": 0, "pending": 0}),
    ]


def test_a_trial_comes_back_with_quality_and_speed_together(store: Store) -> None:
    store.create_study(INFO)
    candidate = store.propose("first", 0, tree(1), (1, 0.5, 2))
    (pending,) = store.trials("first")
    assert (pending.state, pending.quantities, pending.environment) == ("pending", {}, None)
    assert pending.numbers == (1, 0.5, 2)

    qualities, _ = store.observe(candidate, quality(40))
    speeds, _ = store.observe(candidate, speed(10))
    store.finish("first", 0, qualities.id, speeds.id, {"quality": "law", "speed": "measured"})
    (done,) = store.trials("first")
    assert (done.number, done.candidate_id, done.tree) == (0, candidate, tree(1))
    assert done.state == "done" and done.failure is None and done.environment == HERE
    assert done.origin == {"quality": "law", "speed": "measured"}
    assert done.fresh == {"quality": 0, "speed": 0}
    assert done.quantities["fid"] == quality(40).quantities[0]
    assert done.quantities["peak_gib"] == speed(10).quantities[1]


def test_a_failure_comes_back_whatever_its_text_holds(store: Store) -> None:
    store.create_study(INFO)
    store.propose("first", 0, tree(1), ())
    store.fail("first", 0, Failure("out-of-memory", "at \0 and \ud800", "line 1\nline 2 ü"))
    (trial,) = store.trials("first")
    assert trial.state == "failed" and trial.quantities == {}
    assert trial.failure == Failure("out-of-memory", "at \\0 and \\ud800", "line 1\nline 2 ü")


def test_trials_come_in_number_order(store: Store) -> None:
    store.create_study(INFO)
    for number in (2, 0, 1):
        store.propose("first", number, tree(number), ())
    assert [trial.number for trial in store.trials("first")] == [0, 1, 2]


def test_speedup_is_against_trial_0_with_first_order_spread(store: Store) -> None:
    store.create_study(INFO)
    measured(store, 0, 40, 10, s=0.5)
    measured(store, 1, 41, 25, s=1.0)
    plain, fast = (trial.quantities["speedup"] for trial in store.trials("first"))
    assert (plain.value, plain.spread, plain.higher) == (1.0, 0.0, True)
    # 2.5 sqrt((1.0 / 25)^2 + (0.5 / 10)^2)
    assert (fast.value, fast.spread) == (2.5, pytest.approx(0.160078, abs=1e-6))
    assert [t.number for t in pareto_front(store.trials("first"), INFO.objectives)] == [1, 0]


def test_a_trial_of_the_same_class_as_trial_0_is_exactly_as_fast(store: Store) -> None:
    store.create_study(INFO)
    measured(store, 0, 40, 10, s=0.5)
    store.propose("first", 1, tree(1), ())
    found = store.find("speed", HERE, "0" * 32, key="c10")
    assert found is not None
    store.finish("first", 1, None, found.id, {"speed": "canonical"})
    speedup = store.trials("first")[1].quantities["speedup"]
    assert (speedup.value, speedup.spread) == (1.0, 0.0)


def test_speeds_of_two_devices_have_no_ratio(store: Store) -> None:
    store.create_study(INFO)
    measured(store, 0, 40, 10)
    other = store.propose("first", 1, tree(1), ())
    speeds, _ = store.observe(other, speed(99, place=THERE))
    store.finish("first", 1, None, speeds.id, {})
    trial = store.trials("first")[1]
    assert "speedup" not in trial.quantities and trial.environment == THERE


def test_speedup_is_of_the_speed_that_the_objectives_name(store: Store) -> None:
    tokens = Objective("tokens_per_s", "tokens/s", higher=True, doc="")
    both = (*speed(10).quantities, Quantity("tokens_per_s", 100.0, 0.0, 5))
    twice = (*speed(10).quantities, Quantity("tokens_per_s", 300.0, 0.0, 5))
    for name, objectives, expected in (("a", (FID,), 1.0), ("b", (FID, tokens), 3.0)):
        store.create_study(replace(INFO, name=name, objectives=objectives))
        for number, quantities in enumerate((both, twice)):
            candidate = store.propose(name, number, tree(number), ())
            observed = replace(speed(10), key=f"c{number}", quantities=quantities)
            store.finish(name, number, None, store.observe(candidate, observed)[0].id, {})
        assert store.trials(name)[1].quantities["speedup"].value == expected


def test_without_trial_0_there_is_no_speedup(store: Store) -> None:
    store.create_study(INFO)
    measured(store, 1, 40, 10)
    store.propose("first", 0, tree(0), ())
    assert "speedup" not in store.trials("first")[1].quantities


def test_one_candidate_serves_several_studies(store: Store) -> None:
    store.create_study(INFO)
    store.create_study(replace(INFO, name="second"))
    first = store.propose("first", 0, tree(1), ())
    assert store.propose("second", 0, tree(1), ()) == first
    assert store.propose("second", 4, tree(1), ()) == first
    assert store.candidate(first[:6]) == (
        first,
        tree(1),
        [("first", 0), ("second", 0), ("second", 4)],
    )


def test_a_number_is_proposed_once(store: Store) -> None:
    store.create_study(INFO)
    store.propose("first", 0, tree(1), ())
    with pytest.raises(BadInput, match="trial 0 already: another process"):
        store.propose("first", 0, tree(2), ())
    assert len(store.trials("first")) == 1


def test_a_trial_is_settled_once(store: Store) -> None:
    store.create_study(INFO)
    measured(store, 0, 40, 10)
    with pytest.raises(BadInput, match="trial 0 of study 'first' is done already"):
        store.fail("first", 0, Failure("late", ""))
    with pytest.raises(BadInput, match="no trial 1"):
        store.finish("first", 1, None, None, {})
    assert store.trials("first")[0].failure is None


def test_measurements_are_kept_in_order_and_without_limit(store: Store) -> None:
    store.create_study(INFO)
    candidate = store.propose("first", 0, tree(1), ())
    observed = [quality(40), speed(10), quality(40), speed(11, place=THERE)]
    for measurement in observed:
        store.observe(candidate, measurement)
    assert store.measurements(candidate) == observed
    assert store.measurements("0" * 32) == []


@pytest.mark.parametrize(
    ("value", "reason"), [(math.nan, "nan"), (math.inf, "infinite"), (-math.inf, "infinite")]
)
def test_a_number_that_cannot_be_compared_is_a_failure(
    store: Store, value: float, reason: str
) -> None:
    store.create_study(INFO)
    candidate = store.propose("first", 0, tree(1), ())
    for broken in ({"value": value}, {"spread": value}):
        quantity = replace(quality(40).quantities[0], **broken)
        with pytest.raises(MeasurementFailed) as failed:
            store.observe(candidate, replace(quality(40), quantities=(quantity,)))
        assert failed.value.reason == reason
    assert store.measurements(candidate) == []


def test_a_detail_that_json_has_no_word_for_costs_no_measurement(store: Store) -> None:
    store.create_study(INFO)
    candidate = store.propose("first", 0, tree(1), ())
    odd = {"loss": [math.nan, 1.0], "path": Path("a"), "nul": "\0", "half": "\ud800"}
    store.observe(candidate, replace(quality(40), detail=odd))
    (found,) = store.measurements(candidate)
    assert found.detail == {"loss": ["nan", 1.0], "path": "a", "nul": "\0", "half": "\ud800"}


def test_what_cannot_be_stored_is_refused_before_anything_is(store: Store) -> None:
    store.create_study(INFO)
    candidate = store.propose("first", 0, tree(1), ())
    with pytest.raises(BadInput, match="propose it first"):
        store.observe("0" * 32, quality(40))
    with pytest.raises(BadValue, match="quality or speed"):
        store.observe(candidate, replace(quality(40), aspect="taste"))
    with pytest.raises(BadInput, match="does not take this"):
        store.observe(candidate, replace(quality(40), quantities=quality(40).quantities * 2))
    with pytest.raises(BadInput, match="propose it first"):
        store.observe_many([(candidate, quality(40)), ("0" * 32, quality(40))])
    with pytest.raises(BadInput, match="does not take this"):
        store.finish("first", 0, 12345, None, {})
    assert store.measurements(candidate) == []
    assert store.trials("first")[0].state == "pending"


def test_a_prefix_must_fit_one_candidate(store: Store) -> None:
    store.create_study(INFO)
    ids = [store.propose("first", number, tree(number), ()) for number in range(40)]
    assert store.candidate(ids[3].upper())[0] == ids[3]
    crowded = next(i[0] for i in ids if sum(j[0] == i[0] for j in ids) > 1)
    with pytest.raises(BadInput, match=f"several candidates begin with '{crowded}': {crowded}"):
        store.candidate(crowded)
    unused = next(p for p in map("{:03x}".format, range(4096)) if not any(map(
        lambda i: i.startswith(p), ids)))  # fmt: skip
    with pytest.raises(BadInput, match=f"no candidate's id begins with '{unused}'"):
        store.candidate(unused)
    for bad in ("", "xyz", "a%", "0" * 33):
        with pytest.raises(BadValue, match="hexadecimal"):
            store.candidate(bad)


def test_an_export_is_noted(store: Store) -> None:
    store.create_study(INFO)
    candidate = store.propose("first", 0, tree(1), ())
    store.record_export("first", candidate, "llama.cpp", "out/settings.json")
    with store._database.reading() as session:
        (row,) = session.scalars(select(ExportRow))
        assert (row.candidate_id, row.target, row.file) == (
            candidate,
            "llama.cpp",
            "out/settings.json",
        )
        assert row.created.endswith("+00:00")
    with pytest.raises(BadInput, match="does not take this"):
        store.record_export("first", "0" * 32, "llama.cpp", "out/settings.json")


def test_a_trial_tells_where_its_speed_was_measured_last(store: Store) -> None:
    store.create_study(INFO)
    candidate = store.propose("first", 0, tree(1), ())
    qualities, _ = store.observe(candidate, quality(40, place=THERE))
    store.finish("first", 0, qualities.id, None, {})
    assert store.trials("first")[0].environment == THERE
    store.propose("first", 1, tree(1), ())
    store.observe(candidate, speed(10))
    later = replace(HERE, commit="def")
    speeds, _ = store.observe(candidate, speed(10, place=later))
    store.finish("first", 1, qualities.id, speeds.id, {})
    assert store.trials("first")[1].environment == later


def test_everything_is_there_after_closing_and_opening_again(url: str) -> None:
    with Store.open(url) as store:
        store.create_study(INFO)
        measured(store, 0, 40, 10)
        before = store.trials("first")
    with Store.open(url, create=False) as store:
        assert store.trials("first") == before


def test_reading_trials_takes_as_many_queries_however_many_there_are(store: Store) -> None:
    store.create_study(INFO)
    counts = []
    for number in range(8):
        measured(store, number, 40, 10)
        asked: list[str] = []

        def note(*args: object, asked: list[str] = asked) -> None:
            asked.append(str(args[2]))

        event.listen(Engine, "before_cursor_execute", note)
        store.trials("first")
        event.remove(Engine, "before_cursor_execute", note)
        counts.append(sum(statement.startswith("SELECT") for statement in asked))
    assert set(counts) == {4}  # the study, the quantities, the rungs, the trials
