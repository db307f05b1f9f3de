"""The race: who is behind is a record and is not measured; who is ahead, or unclear, is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from paretoken.cache.store import Store
from paretoken.search import dispatch_race
from paretoken.search.loop import Plan, search
from paretoken.search.measuring import Reuse
from paretoken.search.race import OUTRACED, PARTS, WHOLE, Raced, shortened
from paretoken.spaces.errors import BadInput
from paretoken.spaces.settings import Tree

OPTIONS = {
    "data": "text", "steps": 18, "each": 10, "held_out": 2, "dim": 32, "layers": 1, "batch": 2,
    "samples": 2, "device": "cpu",
}  # fmt: skip


def plan(**changed: Any) -> Plan:
    usual: dict[str, Any] = {
        "study": "raced", "workload": "continual", "space": "schedules-compared",
        "settings": ("training.schedule=constant,cosine,linear,wsd,infinite",),
        "algorithm": "grid", "options": OPTIONS, "trials": 6, "race": 5,
        "reuse": Reuse(observations=1, audit=0.0), "confirm": False,
    }  # fmt: skip
    return Plan(**{**usual, **changed})


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store.open(f"sqlite:///{tmp_path / 'of.db'}") as opened:
        yield opened


def named(tree: Mapping[str, Any]) -> str:
    return str(tree["schedule"]["is"]).rpartition("/")[2]


class Rigged:
    """A race with a known end, and what it was asked."""

    def __init__(self, ahead: tuple[str, ...], fails: BaseException | None = None) -> None:
        self.ahead, self.fails = ahead, fails
        self.asked: list[tuple[Any, ...]] = []

    def __call__(
        self, cluster: Any, info: Any, entrants: Mapping[int, Tree], *how: Any
    ) -> list[Raced]:
        self.asked.append((info.options, dict(entrants), *how))
        if self.fails is not None:
            raise self.fails
        return [
            Raced(number, PARTS[0], 5.0 + number, named(tree) in self.ahead)
            for number, tree in entrants.items()
        ]


def rig(monkeypatch: pytest.MonkeyPatch, *ahead: str, fails: Any = None) -> Rigged:
    rigged = Rigged(ahead, fails)
    monkeypatch.setattr(dispatch_race, "race", rigged)
    return rigged


def test_who_is_behind_is_a_record_and_who_is_ahead_is_measured(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rigged = rig(monkeypatch, "wsd", "constant")
    search(plan(), store, lambda progress: None)
    trials = store.trials("raced")
    states = {named(trial.tree): trial.state for trial in trials}
    assert states == {
        "repeated_cosine": "done", "wsd": "done", "constant": "done", "cosine": "failed",
        "linear": "failed", "infinite": "failed",
    }  # fmt: skip
    for trial in trials:
        if trial.state == "failed":
            assert trial.failure is not None and trial.failure.reason == OUTRACED
            assert f"new_loss was {5 + trial.number}" in trial.failure.detail
    ((options, entrants, by, higher, seconds, _),) = rigged.asked
    assert options["artefacts"] == str(tmp_path / "of.artefacts")  # as the search itself uses
    assert sorted(map(named, entrants.values())) == [
        "constant", "cosine", "infinite", "linear", "wsd",
    ]  # fmt: skip
    assert (by, higher, seconds) == ("new_loss", False, float("inf"))
    # Gone on with, nobody is raced or measured again.
    search(plan(resume=True, race=0), store, lambda progress: None)
    assert [t.state for t in store.trials("raced")] == [t.state for t in trials]


def test_a_race_that_was_stopped_leaves_entrants_to_be_measured(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig(monkeypatch, fails=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        search(plan(), store, lambda progress: None)
    assert [trial.state for trial in store.trials("raced")] == ["done"] + ["pending"] * 5
    rigged = rig(monkeypatch, "wsd")
    search(plan(resume=True), store, lambda progress: None)  # raced again, the same five
    assert len(rigged.asked[0][1]) == 5
    done = [named(trial.tree) for trial in store.trials("raced") if trial.state == "done"]
    assert sorted(done) == ["repeated_cosine", "wsd"]


def test_other_workloads_have_no_races(store: Store) -> None:
    with pytest.raises(BadInput, match="--rungs"):
        search(plan(workload="fashion", space=None, settings=(), options={}), store, lambda p: None)
    assert store.studies() == []


def test_a_rung_is_a_whole_training_of_fewer_steps() -> None:
    tree = {"is": "candidates/training", "budget": 0.9, "schedule": {"is": "schedules/cosine"}}
    assert shortened(tree, 3) == {**tree, "budget": pytest.approx(0.3)}
    assert tree["budget"] == 0.9 and max(PARTS) < WHOLE


@pytest.mark.slow
def test_tune_stops_who_is_behind_and_what_it_trained_is_kept(
    cluster: None, store: Store, tmp_path: Path
) -> None:
    """Ray Tune itself: six learning rates of which two learn nothing in so few steps."""
    peaks = ("0.000001", "0.000002", "0.003", "0.01")
    settings = ("training.schedule=constant", f"constant.peak={','.join(peaks)}")
    told: list[str] = []
    search(plan(settings=settings, race=4, trials=5), store, lambda p: told.append(p.phase))
    assert sum("with 1/9 of its steps: new_loss" in phase for phase in told) == 4
    trials = store.trials("raced")[1:]
    assert len(trials) == 4
    lost = {t.tree["schedule"]["peak"] for t in trials if t.state == "failed"}
    done = {t.tree["schedule"]["peak"] for t in trials if t.state == "done"}
    assert lost | done == {float(peak) for peak in peaks}
    # Side by side, whoever comes first to a rung has nobody to be behind; but the best goes on.
    assert done & {0.003, 0.01}
    for trial in trials:
        assert trial.failure is None or trial.failure.reason == OUTRACED
    shortest = list((tmp_path / "of.artefacts" / "trained").rglob("manifest.json"))
    assert len(shortest) > 2 * 2 * len(done)  # those of rungs beside those in full
