"""The loop: what is measured, what is reused, what survives a kill, what a failure leaves."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paretoken.cache.store import Store
from paretoken.search.loop import Plan, search
from paretoken.search.progress import Progress
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput, MeasurementFailed
from paretoken.spaces.objectives import Objective
from paretoken.spaces.plugins import KINDS, Plugins
from paretoken.spaces.records import Environment, Quantity
from paretoken.spaces.workload import Behaviour, Observed, Report

WINDOWS = ("decoder.drafter.window=2,4,8,16", "decoder.verifier=exact,grouped")


class Counting:
    """A workload that counts instead of decoding; settings in `broken` fail to be measured."""

    objectives = (Objective("images_per_s", "images/s", True, ""), Objective("fid", "", False, ""))
    environment = Environment("cpu test", "test 1")
    space = "fashion-small"

    def __init__(self) -> None:
        self.measured: Counter[str] = Counter()
        self.broken = ""
        self.stop_after = -1

    def open(self, **options: Any) -> Counting:
        return self

    def plain(self) -> Component:
        return from_tree({})

    def behaviour(self, candidate: Component) -> Behaviour:
        tree = to_tree(candidate)
        law = {} if candidate.decoder.lossless else tree["decoder"]
        return Behaviour("model", "float32", law, {"samples": 10}, tree["decoder"], tree["runtime"])

    def quality(self, candidate: Component, seed: int, report: Report) -> Observed:
        self._count("quality", candidate)
        verifier = candidate.decoder.verifier
        fid = 50.0 + (verifier.size if verifier.tag() == "verifiers/grouped" else 0)
        return Observed((Quantity("fid", fid, 1.0, 10, "", False),), 0.01)

    def speed(self, candidate: Component, seed: int, report: Report) -> Observed:
        self._count("speed", candidate)
        rate = float(candidate.decoder.drafter.most)
        return Observed((Quantity("images_per_s", rate, 0.1, 5, "images/s", True),), 0.01)

    def generate(
        self, tree: Mapping[str, Any], classes: tuple[int, ...], samples: int, seed: int
    ) -> Any:
        raise AssertionError("a search generates nothing")

    def _count(self, aspect: str, candidate: Component) -> None:
        if self.broken and candidate.decoder.verifier.tag() == self.broken:
            raise MeasurementFailed("nan", "the model's logits are not numbers (NaN)")
        if self.stop_after == sum(self.measured.values()):
            raise KeyboardInterrupt
        self.measured[aspect] += 1


@pytest.fixture
def workload(monkeypatch: pytest.MonkeyPatch) -> Counting:
    counting = Counting()

    class Registered(Plugins):
        def load(self, name: str) -> Any:
            return counting if name == "counting" else super().load(name)

    monkeypatch.setitem(KINDS, "workloads", Registered("workloads", KINDS["workloads"].package))
    return counting


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/s.db") as opened:
        yield opened


def plan(**changes: Any) -> Plan:
    return replace(
        Plan("s", "counting", settings=WINDOWS, algorithm="random", trials=12), **changes
    )


def silent(moment: Progress) -> None:
    """Watch nothing."""


def test_plain_decoding_comes_first_and_is_the_measure_of_speed(
    workload: Counting, store: Store
) -> None:
    search(plan(), store, silent)
    first, *others = store.trials("s")
    assert first.tree == to_tree(from_tree({}))
    assert (first.quantities["speedup"].value, first.quantities["speedup"].spread) == (1.0, 0.0)
    for trial in others:
        assert trial.quantities["speedup"].value == trial.quantities["images_per_s"].value


def test_lossless_settings_share_one_quality_measurement(workload: Counting, store: Store) -> None:
    search(plan(settings=(WINDOWS[0], "decoder.verifier=exact"), trials=9), store, silent)
    assert workload.measured["quality"] == 1
    assert len({trial.quantities["fid"].value for trial in store.trials("s")}) == 1
    distinct = {trial.candidate_id for trial in store.trials("s")}
    assert workload.measured["speed"] == len(distinct) > 3


def test_a_repeated_proposal_is_answered_from_the_store(workload: Counting, store: Store) -> None:
    one = ("decoder.drafter.window=4", "jacobi.coupling=none", "decoder.verifier=exact")
    search(plan(settings=one, trials=5), store, silent)
    assert workload.measured == {"quality": 1, "speed": 2}
    repeats = [t for t in store.trials("s") if set(t.origin.values()) == {"reused"}]
    assert repeats  # residual is inert under an exact verifier: two writings, one candidate


def test_an_interrupted_search_goes_on_as_if_it_had_not_stopped(
    workload: Counting, store: Store, tmp_path: Path
) -> None:
    search(plan(study="whole"), store, silent)
    whole = [(t.numbers, t.tree) for t in store.trials("whole")]
    for stop_after in (0, 1, 4, 5):
        with Store.open(f"sqlite:///{tmp_path}/{stop_after}.db") as other:
            workload.measured.clear()
            workload.stop_after = stop_after
            with pytest.raises(KeyboardInterrupt):
                search(plan(), other, silent)
            workload.stop_after = -1
            search(plan(resume=True), other, silent)
            assert [(t.numbers, t.tree) for t in other.trials("s")] == whole
            assert all(t.state == "done" for t in other.trials("s"))
            laws = {str(workload.behaviour(from_tree(tree)).law) for _, tree in whole}
            assert workload.measured["quality"] == len(laws)  # nothing was measured twice


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    """SIGKILL in the middle of a real search on the shipped model, then --resume."""
    url = f"sqlite:///{tmp_path}/k.db"
    script = textwrap.dedent(
        f"""
        import os, signal
        from paretoken.cache.store import Store
        from paretoken.search.loop import Plan, search
        def watch(moment):
            if moment.finished and moment.finished.number == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        options = {{"samples": 250, "batch": 1}}
        plan = Plan("k", "fashion", "fashion-small", trials=2, options=options)
        from paretoken.evaluators import image_workload
        workload = image_workload.ImageWorkload
        workload.quality = lambda self, c, seed, report: workload.speed(self, c, seed, report)
        image_workload._ENOUGH_S["cpu"] = 0.0
        with Store.open({url!r}) as store:
            search(plan, store, watch)
        """
    )
    died = subprocess.run([sys.executable, "-c", script], capture_output=True, env=os.environ)
    assert died.returncode == -9, died.stderr.decode()
    with Store.open(url) as store:
        (only,) = store.trials("k")
        assert only.state == "done"
        assert len(store.measurements(only.candidate_id)) == 2


def test_a_failed_candidate_is_a_record_and_the_search_goes_on(
    workload: Counting, store: Store
) -> None:
    workload.broken = "verifiers/grouped"
    search(plan(), store, silent)
    trials = store.trials("s")
    failed = [t for t in trials if t.state == "failed"]
    assert failed and any(t.state == "done" and t.number for t in trials)
    for trial in failed:
        assert trial.failure is not None and trial.failure.reason == "nan"
        assert "MeasurementFailed" in trial.failure.traceback
        assert not trial.quantities


def test_a_plain_decoding_that_fails_ends_the_search_with_its_reason(
    workload: Counting, store: Store
) -> None:
    workload.broken = "verifiers/exact"
    with pytest.raises(MeasurementFailed, match="plain decoding could not be measured"):
        search(plan(), store, silent)
    assert store.trials("s")[0].state == "failed"
    with pytest.raises(MeasurementFailed, match="study of another name"):
        search(plan(resume=True), store, silent)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"workload": "fasion"}, "Did you mean 'fashion'"),
        ({"algorithm": "nsga3"}, "nsga2"),
        ({"space": "fashion-smal"}, "fashion-small"),
        ({"settings": ("decoder.windw=4",)}, "window"),
        ({"settings": ("decoder.window=400",)}, "64"),
        ({"resume": True}, "no study is called"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_leaves_no_study(
    changes: dict[str, Any], told: str, workload: Counting, store: Store
) -> None:
    with pytest.raises(BadInput) as error:
        search(plan(**changes), store, silent)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert store.studies() == []


def test_a_second_study_of_one_name_is_refused(workload: Counting, store: Store) -> None:
    search(plan(trials=2), store, silent)
    with pytest.raises(BadInput, match="--resume"):
        search(plan(), store, silent)


def test_a_time_limit_cuts_candidates(workload: Counting, store: Store) -> None:
    search(plan(trials=None, minutes=1e-9), store, silent)
    assert [t.number for t in store.trials("s")] == [0]
    search(plan(trials=6, minutes=None, resume=True), store, silent)
    assert len({t.candidate_id for t in store.trials("s")}) == 6


def test_progress_counts_candidates_not_proposals(workload: Counting, store: Store) -> None:
    seen: list[Progress] = []
    search(plan(), store, seen.append)
    finished = [moment for moment in seen if moment.finished is not None]
    assert finished[-1].done == 12
    assert finished[-1].wanted == 12
    assert [m.done for m in finished] == sorted(m.done for m in finished)
