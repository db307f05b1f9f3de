"""Rungs: who is stopped and why, what is never compared, what survives a kill."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paretoken.cache.store import Store
from paretoken.search import rung_account
from paretoken.search.algorithms.random import RandomSearch
from paretoken.search.answers import answer
from paretoken.search.loop import Plan, search
from paretoken.search.measuring import Reuse
from paretoken.search.progress import Progress
from paretoken.search.report.choice import by_id
from paretoken.search.report.results import judge, read
from paretoken.search.rungs import parse
from paretoken.search.workers import Cluster
from paretoken.spaces.errors import BadInput
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Quantity, Trial

SETTINGS = (
    "decoder.drafter.window=2,4,8,16",
    "decoder.verifier=exact,grouped",
    "jacobi.coupling=none",
    "jacobi.init=random",
    "decoder.residual=exact",
    "grouped.probability=1.0",
    "grouped.distance=1.0",
    "grouped.source=target",
    "grouped.size=2,3,4,8,12",
)
OBJECTIVES = (Objective("images_per_s", "", True, ""), Objective("fid", "", False, ""))
RUNGS, TOP = (4, 6), 10

pytestmark = pytest.mark.usefixtures("toy")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/s.db") as opened:
        yield opened


def plan(folder: Path, **changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "settings": SETTINGS,
        "algorithm": "random",
        "trials": 20,
        "rungs": (*RUNGS, TOP),
        "reuse": Reuse(observations=1, audit=0.0),
        "confirm": False,
        "options": {"folder": str(folder)} | changes.pop("options", {}),
    }
    return Plan(changes.pop("study", "s"), "toy", **{**fields, **changes})


def silent(moment: Progress) -> None:
    """Watch nothing."""


def noted(folder: Path) -> Counter[tuple[str, str]]:
    lines = (folder / "log").read_text().splitlines()
    return Counter((what, tree) for what, tree, _ in (line.split("\t") for line in lines))


def at(trial: Trial, samples: int) -> dict[str, Quantity] | None:
    """What a trial showed at a rung."""
    rungs = {rung.samples: rung.quantities for rung in trial.rungs}
    return {**trial.quantities, **rungs[samples]} if samples in rungs else None


def surely_beats(other: dict[str, Quantity], own: dict[str, Quantity]) -> bool:
    """By the words of the rule, not by the code."""
    faster, better = (other[n].value - own[n].value for n in ("images_per_s", "fid"))
    noise = {n: 2 * math.hypot(other[n].spread, own[n].spread) for n in ("images_per_s", "fid")}
    return faster > noise["images_per_s"] and -better > noise["fid"]


def test_a_candidate_goes_on_unless_another_surely_beats_it_at_the_same_rung(
    tmp_path: Path, store: Store
) -> None:
    search(plan(tmp_path), store, silent)
    trials = store.trials("s")
    assert Counter(trial.state for trial in trials).keys() == {"done", "stopped"}
    stopped_at = Counter(trial.rungs[-1].samples for trial in trials if trial.state == "stopped")
    assert set(stopped_at) == set(RUNGS)  # some at each: the spread falls with the samples
    for trial in trials:
        reached = [rung.samples for rung in trial.rungs]
        assert reached == list(RUNGS[: len(reached)]) and reached
        for samples in reached:
            own = at(trial, samples)
            before = [at(other, samples) for other in trials[: trial.number]]
            beaten = own and any(surely_beats(other, own) for other in before if other)
            last = samples == reached[-1] and trial.state == "stopped"
            assert bool(beaten and trial.number) == last, trial
        if trial.state == "stopped":
            assert "fid" not in trial.quantities and trial.quantities["images_per_s"].value
        else:
            assert reached == list(RUNGS) and trial.quantities["fid"].samples == TOP
    assert trials[0].state == "done"


def test_plain_decoding_goes_to_the_top_though_it_is_beaten(tmp_path: Path, store: Store) -> None:
    search(plan(tmp_path), store, silent)
    (plain,) = store.trials("s", {0})
    assert plain.state == "done" and [rung.samples for rung in plain.rungs] == list(RUNGS)
    lossless = [t for t in store.trials("s") if _verifier(t) == "verifiers/exact"]
    assert len(lossless) > 3 and {trial.state for trial in lossless} == {"done"}


def _verifier(trial: Trial) -> str:
    return str(trial.tree["decoder"]["verifier"]["is"])


def test_what_is_lossless_is_answered_at_every_rung(tmp_path: Path, store: Store) -> None:
    search(plan(tmp_path), store, silent)
    exact = [(w, t) for w, t in noted(tmp_path) if '"verifiers/exact"' in t and "begun" not in w]
    assert sorted(w for w, _ in exact if w.startswith("quality")) == [
        "quality",
        "quality 4",
        "quality 6",
    ]
    later = [t for t in store.trials("s") if _verifier(t) == "verifiers/exact" and t.number]
    for trial in later:
        assert {rung.origin for rung in trial.rungs} <= {"law", "canonical"}
        assert trial.origin["quality"] in ("law", "canonical")


def test_each_rung_has_observations_of_its_own(tmp_path: Path, store: Store) -> None:
    search(plan(tmp_path, reuse=Reuse(2, 0.0)), store, silent)
    by_tree = noted(tmp_path)
    assert max(by_tree.values()) <= 2
    exact = Counter(w for w, t in by_tree.elements() if '"verifiers/exact"' in t)
    assert {w: exact[w] for w in ("quality", "quality 4", "quality 6")} == {
        "quality": 2,
        "quality 4": 2,
        "quality 6": 2,
    }


def test_without_reuse_every_rung_is_measured_for_itself(tmp_path: Path, store: Store) -> None:
    search(plan(tmp_path, trials=6, reuse=Reuse(1, 0.0, share=False)), store, silent)
    counts = Counter(what for what, _ in noted(tmp_path).elements())
    trials = store.trials("s")
    assert counts["quality 4"] == counts["speed"] == len(trials)
    assert counts["quality"] == sum(trial.state == "done" for trial in trials)
    assert all(rung.origin == "measured" for trial in trials for rung in trial.rungs)


def test_the_algorithm_learns_of_the_first_rung_only_also_when_resumed(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []
    learn = RandomSearch.learn

    def listening(self: RandomSearch, told: Any) -> None:
        heard.append((told.numbers, told.losses))
        learn(self, told)

    monkeypatch.setattr(RandomSearch, "learn", listening)
    search(plan(tmp_path), store, silent)
    trials = store.trials("s")
    expected = []
    for trial in trials[1:]:
        first = at(trial, RUNGS[0])
        assert first is not None
        expected.append((trial.numbers, (-first["images_per_s"].value, first["fid"].value)))
    assert heard == expected and len({losses for _, losses in heard}) > 5
    heard.clear()
    search(plan(tmp_path, resume=True), store, silent)
    assert heard == expected
    done = next(trial for trial in trials[1:] if trial.state == "done")
    assert done.environment is not None
    losses, _ = answer(done, OBJECTIVES, done.environment)
    assert losses is not None and losses[1] != done.quantities["fid"].value


def test_a_failure_at_a_higher_rung_is_one_and_beats_nobody(tmp_path: Path, store: Store) -> None:
    search(plan(tmp_path, options={"faults": {size: "nan at 6" for size in "234"}}), store, silent)
    failed = [trial for trial in store.trials("s") if trial.state == "failed"]
    assert failed and all(_size(trial) in (2, 3, 4) for trial in failed)
    assert all([rung.samples for rung in trial.rungs] == [4] for trial in failed)
    others = [t for t in store.trials("s") if t.state == "stopped" and t.number > 0]
    for trial in others:
        samples = trial.rungs[-1].samples
        own = at(trial, samples)
        rivals = [at(t, samples) for t in store.trials("s") if t.state != "failed"]
        assert own and any(surely_beats(rival, own) for rival in rivals if rival)


def _size(trial: Trial) -> int:
    return int(trial.tree["decoder"]["verifier"].get("size", 0))


def test_the_front_is_confirmed_at_the_top_only(tmp_path: Path, store: Store) -> None:
    assert search(plan(tmp_path, confirm=True), store, silent).unconfirmed == 0
    fresh = [
        m
        for candidate in {trial.candidate_id for trial in store.trials("s")}
        for m in store.measurements(candidate)
        if m.fresh and m.aspect == "quality"
    ]
    assert fresh and {m.quantities[0].samples for m in fresh} == {TOP}
    assert all(trial.state == "done" for trial in store.front("s"))


def test_the_search_without_rungs_has_none(tmp_path: Path, store: Store) -> None:
    search(plan(tmp_path, rungs=()), store, silent)
    assert all(trial.state == "done" and not trial.rungs for trial in store.trials("s"))
    assert {what for what, _ in noted(tmp_path)} == {"record", "quality begun", "quality", "speed"}


# ------------------------------------------------------------------------------------ interrupted


def test_stopped_anywhere_it_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    """Ctrl-C in every measurement of the search in turn; then --resume measures nothing twice."""
    (tmp_path / "whole").mkdir()
    with Store.open(f"sqlite:///{tmp_path}/whole.db") as store:
        search(plan(tmp_path / "whole", trials=7), store, silent)
        whole = [_outcome(trial) for trial in store.trials("s")]
    expected = noted(tmp_path / "whole")
    samplings = sum(n for (what, _), n in expected.items() if "begun" in what)
    assert samplings > 8
    for stop_after in range(1, samplings + 1):
        folder = tmp_path / str(stop_after)
        folder.mkdir()
        with Store.open(f"sqlite:///{folder}/s.db") as store:
            with pytest.raises(KeyboardInterrupt):
                search(plan(folder, trials=7), store, Interrupting(stop_after))
            search(plan(folder, trials=7, rungs=(), resume=True), store, silent)
            assert [_outcome(trial) for trial in store.trials("s")] == whole
        found = noted(folder)
        for counts in (found, expected):
            for key in [key for key in counts if "begun" in key[0] or key[0] == "record"]:
                del counts[key]
        assert found == expected


class Interrupting:
    """Ctrl-C where the n-th sampling begins."""

    def __init__(self, n: int) -> None:
        self._left = n

    def __call__(self, moment: Progress) -> None:
        self._left -= "sampling" in moment.phase
        if self._left == 0:
            raise KeyboardInterrupt


def _outcome(trial: Trial) -> tuple[Any, ...]:
    rungs = [(rung.samples, rung.quantities["fid"].value) for rung in trial.rungs]
    return trial.numbers, trial.state, rungs, sorted(trial.quantities)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("times", [2, 5, 6])
def test_a_killed_process_loses_nothing_between_rungs(
    tmp_path: Path, toys: Path, when: str, times: int
) -> None:
    """SIGKILL before or after a rung is noted, its quality being measured; then --resume."""
    url = f"sqlite:///{tmp_path}/k.db"
    program = textwrap.dedent(
        f"""
        import os, signal
        from pathlib import Path
        from paretoken.cache.store import Store
        from tests_of_rungs import plan, silent
        from paretoken.search.loop import search
        reach, seen = Store.reach, []
        def killing(self, *given):
            seen.append(given)
            if {when == "before"} and len(seen) == {times}:
                os.kill(os.getpid(), signal.SIGKILL)
            reach(self, *given)
            if len(seen) == {times}:
                os.kill(os.getpid(), signal.SIGKILL)
        Store.reach = killing
        with Store.open({url!r}) as store:
            search(plan(Path({str(tmp_path)!r}), trials=7), store, silent)
        """
    )
    (tmp_path / "tests_of_rungs.py").write_text(Path(__file__).read_text())
    paths = [str(tmp_path), str(toys), os.environ.get("PYTHONPATH", "")]
    died = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        timeout=120,
    )
    assert died.returncode == -9, died.stderr.decode()
    with Store.open(url) as store:
        assert any(trial.state == "pending" for trial in store.trials("s"))
        search(plan(tmp_path, trials=7, resume=True), store, silent)
        found = [_outcome(trial) for trial in store.trials("s")]
    assert max(noted(tmp_path).values()) == 1
    (tmp_path / "whole").mkdir()
    with Store.open(f"sqlite:///{tmp_path}/whole.db") as store:
        search(plan(tmp_path / "whole", trials=7), store, silent)
        assert found == [_outcome(trial) for trial in store.trials("s")]


# ---------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("text", "why"),
    [(text, "each larger than the one before") for text in ("5,4", "4,4", "1,4", "4", "0")]
    + [(text, "whole numbers with commas") for text in ("4;5", "4,,5", "4.5", "few")],
)
def test_rungs_that_are_none_are_refused(text: str, why: str) -> None:
    with pytest.raises(BadInput, match=why) as refused:
        parse(text)
    assert "\n" not in str(refused.value)


def test_rungs_are_read() -> None:
    assert parse("125,500") == (125, 500) and parse("") == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rungs": (6, 4)}, "larger than the one before"),
        ({"rungs": (4, 6)}, "say --samples 6, or --rungs 4,6,10"),
        ({"rungs": (4, 20)}, "say --samples 20, or --rungs 4,10"),
        ({"rungs": (20, 30)}, r"say --samples 30\."),
        ({"rungs": (2, 10)}, "judged by 3 samples or more, not by 2"),
    ],
)
def test_rungs_that_cannot_be_are_refused_before_anything_is_stored(
    tmp_path: Path, store: Store, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        search(plan(tmp_path, **changes), store, silent)
    assert store.studies() == [] and not (tmp_path / "log").exists()


def test_a_resumed_study_has_its_own_rungs(tmp_path: Path, store: Store) -> None:
    search(plan(tmp_path, trials=3), store, silent)
    assert store.study("s").rungs == (*RUNGS, TOP)
    with pytest.raises(BadInput, match=r"begun with --rungs 4,6,10,.*leave out --rungs 4,10"):
        search(plan(tmp_path, resume=True, rungs=(4, 10)), store, silent)
    search(plan(tmp_path, study="t", trials=3, rungs=()), store, silent)
    with pytest.raises(BadInput, match="begun with no rungs"):
        search(plan(tmp_path, study="t", resume=True), store, silent)
    search(plan(tmp_path, trials=5, resume=True, rungs=()), store, silent)
    assert all(trial.rungs for trial in store.trials("s"))


# ------------------------------------------------------------------------------------------ shown


def test_stopped_ones_are_shown_as_such_and_never_chosen(
    tmp_path: Path, store: Store, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARETOKEN_STORE", f"sqlite:///{tmp_path}/s.db")
    monkeypatch.setenv("COLUMNS", "200")
    search(plan(tmp_path), store, silent)
    results = read(store, "s")
    (one, *more) = results.stopped
    numbers = {trial.number for trial in results.stopped}
    assert not numbers & {*results.front, *results.close}
    assert f"stopped at a rung: {1 + len(more)} (see --all)" in cli("front", "s").out
    found = json.loads(cli("front", "s", "--all", "--json").out)
    assert (found["stopped"], found["failed"]) == (1 + len(more), 0)
    (shown,) = [t for t in found["trials"] if t["number"] == one.number]
    assert shown["state"] == "stopped" and "fid" not in shown["quantities"]
    assert shown["rungs"][-1]["quantities"]["fid"]["comparable"] == "n=4"
    listed = cli("front", "s", "--all").out.partition("stopped at a rung")[2]
    assert "grouped(size=" in listed and "FID" in listed
    told = cli("show", one.candidate_id)
    assert f"s (number {one.number}, stopped at N = {one.rungs[-1].samples})" in told.out
    refused = cli("export", "s", "--candidate", one.candidate_id, "--out", str(tmp_path / "x.json"))
    assert refused.code == 2 and f"was stopped at N = {one.rungs[-1].samples}" in refused.err
    for words in (("best", "s", "--minimize", "fid"), ("best", "s", "--where", "window >= 2")):
        assert json.loads(cli(*words, "--json").out)["number"] not in numbers
    page = tmp_path / "report.html"
    assert cli("report", "s", "--out", str(page)).code == 0
    assert "<h2>Stopped at a rung</h2>" in page.read_text()
    (study,) = json.loads(cli("studies", "--json").out)
    assert study["rungs"] == [4, 6, 10] and study["trials"]["stopped"] >= len(numbers)
    assert study["trials"]["failed"] == 0


def test_a_finished_trial_stands_for_a_candidate_that_was_stopped_before(
    tmp_path: Path, store: Store
) -> None:
    search(plan(tmp_path), store, silent)
    trials = store.trials("s")
    halted = next(trial for trial in trials if trial.state == "stopped")
    done = next(trial for trial in trials if trial.state == "done" and trial.number)
    again = replace(done, number=len(trials), candidate_id=halted.candidate_id)
    results = judge(store.study("s"), [*trials, again])
    assert by_id(results, halted.candidate_id) == again
    assert [trial.number for trial in results.trials] == sorted(t.number for t in results.trials)


def test_the_command_says_where_candidates_stopped_and_what_that_spared(
    tmp_path: Path, cli: Callable[..., Any]
) -> None:
    words = ["search", "toy", "--study", "s", "--rungs", "4,6,10", "--algorithm", "random"]
    words += [word for setting in SETTINGS for word in ("--set", setting)]
    words += ["--option", f"folder={tmp_path}", "--store", f"sqlite:///{tmp_path}/c.db"]
    words += ["--observations", "1", "--audit", "0", "--no-confirm", "--trials"]
    ran = cli(*words, "16")
    assert ran.code == 0
    with Store.open(f"sqlite:///{tmp_path}/c.db") as store:
        trials, info = store.trials("s"), store.study("s")
    states = Counter(trial.state for trial in trials)
    at_first = sum(t.state == "stopped" and t.rungs[-1].samples == 4 for t in trials)
    lines = [line for line in ran.out.splitlines() if line.startswith("[")]
    assert sum("stopped at N = 4, " in line and "FID" in line for line in lines) == at_first
    assert f"Rungs: {at_first} stopped at N = 4, " in ran.out
    assert f"{states['done']} finished; " in ran.out
    drawn = Counter(what for what, _ in noted(tmp_path).elements())
    begun = {4: drawn["quality begun 4"], 6: drawn["quality begun 6"], 10: drawn["quality begun"]}
    found = rung_account.account(info, trials)
    assert found.sampled == sum(samples * count for samples, count in begun.items())
    assert found.sampled_without == 10 * begun[4]
    again = json.loads(cli(*words, "16", "--resume", "--json").out)["account"]["rungs"]
    assert again["stopped"] == {"4": at_first, "6": states["stopped"] - at_first}


# --------------------------------------------------------------------------------- several at once


@pytest.mark.usefixtures("cluster")
def test_workers_on_ray_climb_the_same_rungs(tmp_path: Path, store: Store) -> None:
    """Which are stopped depends on who ends first; that each stop is justified does not."""
    ray = plan(tmp_path, cluster=Cluster(workers=2), options={"device": "cpu"})
    with pytest.raises(BadInput, match="judged by 3 samples or more"):
        search(replace(ray, rungs=(2, TOP)), store, silent)
    assert store.studies() == []
    search(ray, store, silent)
    trials = store.trials("s")
    assert Counter(t.state for t in trials).keys() == {"done", "stopped"}
    for trial in trials:
        own = at(trial, trial.rungs[-1].samples)
        rivals = [at(t, trial.rungs[-1].samples) for t in trials if t.number != trial.number]
        if trial.state == "stopped":
            assert own and any(surely_beats(rival, own) for rival in rivals if rival)
        else:
            assert [rung.samples for rung in trial.rungs] == list(RUNGS)
    quality = {key: n for key, n in noted(tmp_path).items() if key[0].startswith("quality")}
    assert {n for (what, _), n in quality.items() if what != "quality begun"} == {1}
