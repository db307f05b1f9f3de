"""The loop: what is measured, what is reused, what survives a kill, what a failure leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paretoken.cache.front import pareto_front
from paretoken.cache.store import Store
from paretoken.search import leasing
from paretoken.search.accounting import account
from paretoken.search.loop import Plan, search
from paretoken.search.measuring import Reuse
from paretoken.search.progress import Progress
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput, MeasurementFailed
from paretoken.spaces.objectives import Objective
from paretoken.spaces.plugins import KINDS, Plugins
from paretoken.spaces.records import Environment, Quantity, Trial
from paretoken.spaces.workload import Behaviour, Observed, Report, Sampled

ONE_DRAFTER = ("decoder.drafter.window=4", "jacobi.coupling=none", "jacobi.init=random")
ONE_DRAFTER += ("decoder.residual=exact",)
ONE_GROUPING = ("grouped.probability=1.0", "grouped.distance=1.0", "grouped.source=target")
WINDOWS = ("decoder.drafter.window=2,4,8,16", "decoder.verifier=exact,grouped")


class Counting:
    """A workload that counts instead of decoding; settings in `broken` fail to be measured.

    `noise` is added to what is measured, by aspect and observation; `lying` verifiers claim the
    law of exact acceptance.
    """

    objectives = (Objective("images_per_s", "images/s", True, ""), Objective("fid", "", False, ""))
    environment = Environment("cpu test", "test 1")
    modality = "image"
    samples = 10

    def __init__(self) -> None:
        self.measured: Counter[str] = Counter()
        self.judged = self.recorded = 0
        self.broken = self.lying = ""
        self.restless = False  # whether equal work takes other rounds each time, as rounding may do
        self.stop_after = -1
        self.noise: Mapping[str, Callable[[int], float]] = {}

    def space_for(self, options: Mapping[str, Any]) -> str:
        return "fashion-small"

    def open(self, **options: Any) -> Counting:
        return self

    def plain(self) -> Component:
        return from_tree({})

    def check_samples(self, samples: int) -> None:
        if samples < 3:
            raise BadInput(f"nothing is judged by {samples} samples.")

    def context(self) -> Mapping[str, Any]:
        return {"model": "counting"}

    def record(self) -> bytes:
        self.recorded += 1
        return b"rows"

    def behaviour(self, candidate: Component, recording: bytes) -> Behaviour:
        assert recording == b"rows"
        tree = to_tree(candidate)
        verifier = tree["decoder"]["verifier"]["is"]
        lossless = verifier in ("verifiers/exact", self.lying)
        rule = () if lossless else (self._floats(tree["decoder"]["verifier"]),)
        return Behaviour(
            self.context(), (self._floats(tree["sampling"]),), tree["decoder"]["drafter"], rule,
            lossless, {}, {}, tree["runtime"],
        )  # fmt: skip

    def sample(self, candidate: Component, samples: int, seed: int, report: Report) -> Sampled:
        self._count("quality", candidate)
        verifier = to_tree(candidate.decoder.verifier)
        size = min(verifier.get("size", 0), 8)  # groups of 8 and of 14 emit the same tokens
        tokens = np.array([[size, seed % 2**20, seed >> 32]])
        return Sampled(tokens, (), 0.01, candidate)

    def judge(self, sampled: Sampled, report: Report) -> Observed:
        self.judged += 1
        fid = 50.0 + float(sampled.tokens[0, 0]) + self._noise("quality")
        return Observed((Quantity("fid", fid, 1.0, 10, "", False),), 0.01)

    def speed(self, candidate: Component, report: Report) -> Observed:
        self._count("speed", candidate)
        rate = float(candidate.decoder.drafter.most) + self._noise("speed")
        quantity = Quantity("images_per_s", rate, 0.1, 5, "images/s", True)
        work = to_tree(candidate.decoder) | {"run": self.measured["speed"] * self.restless}
        return Observed((quantity,), 0.01, {}, (self._floats(work).astype(np.int64),))

    @staticmethod
    def _floats(tree: Mapping[str, Any]) -> np.ndarray[Any, Any]:
        """Numbers that are equal for equal trees only."""
        return np.frombuffer(json.dumps(tree, sort_keys=True).encode(), np.uint8).astype(float)

    def _noise(self, aspect: str) -> float:
        return self.noise[aspect](self.measured[aspect]) if aspect in self.noise else 0.0

    def generate(
        self,
        tree: Mapping[str, Any],
        classes: tuple[int, ...],
        samples: int,
        seed: int,
        study_seed: int,
        report: Report,
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
    """Without second observations and confirmation, which have tests of their own below."""
    once = Reuse(observations=1, audit=0.0)
    return replace(
        Plan(
            "s", "counting", settings=WINDOWS, algorithm="random", trials=12, reuse=once,
            confirm=False,
        ),
        **changes,
    )  # fmt: skip


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
    repeats = [t for t in store.trials("s") if set(t.origin.values()) == {"canonical"}]
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
            laws = {
                str((b.lossless or b.drafting, [r.tolist() for r in b.rule]))
                for b in (workload.behaviour(from_tree(tree), b"rows") for _, tree in whole)
            }
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
        workload.judge = lambda self, sampled, report: workload.speed(self, self.plain(), report)
        from paretoken.evaluators import image_speed
        image_speed._ENOUGH_S["cpu"] = 0.0
        sample = workload.sample
        def few(self, candidate, samples, seed, report):
            return sample(self, candidate, 4, seed, report)
        workload.sample = few
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


# ------------------------------------------------------------------------------------------- reuse


def test_hits_are_measured_until_a_class_has_its_observations(
    workload: Counting, store: Store
) -> None:
    workload.noise = {"quality": lambda n: (-1.0) ** n}
    exact = (WINDOWS[0], "decoder.verifier=exact")
    search(plan(settings=exact, trials=9, reuse=Reuse(3, 0.0)), store, silent)
    assert workload.measured["quality"] == 3
    trials = store.trials("s")
    levels = [trial.origin["quality"] for trial in trials]
    assert levels[:3] == ["measured"] * 3 and set(levels[3:]) <= {"law", "canonical"}
    fid = trials[0].quantities["fid"]
    # Observations 49, 51, 49 with a spread of 1 each: the mean, and the larger standard error.
    assert fid.value == pytest.approx(149 / 3)
    assert fid.spread == pytest.approx(max(1 / 3**0.5, (4 / 3) ** 0.5 / 3**0.5))
    assert {trial.quantities["fid"].value for trial in trials} == {fid.value}


def test_audits_measure_hits_all_the_same(workload: Counting, store: Store) -> None:
    exact = (WINDOWS[0], "decoder.verifier=exact")
    search(plan(settings=exact, trials=9, reuse=Reuse(1, 1.0)), store, silent)
    proposals = len(store.trials("s"))
    assert workload.measured == {"quality": proposals, "speed": proposals}


def test_without_reuse_every_proposal_is_measured_for_itself(
    workload: Counting, store: Store
) -> None:
    workload.noise = {"quality": float, "speed": lambda n: 0.01 * n}
    search(plan(trials=9, reuse=Reuse(1, 0.0, share=False)), store, silent)
    trials = store.trials("s")
    assert workload.measured == {"quality": len(trials), "speed": len(trials)}
    assert len({trial.quantities["fid"].value for trial in trials}) == len(trials)
    assert account(trials, []).saved == 0


def test_equal_tokens_are_not_judged_twice(workload: Counting, store: Store) -> None:
    groups = (*ONE_DRAFTER, "decoder.verifier=grouped", "grouped.size=8,14", *ONE_GROUPING)
    search(plan(settings=groups, trials=3), store, silent)
    found = account(store.trials("s"), store.disagreements("s"))
    assert found.transcript_hits == 1
    assert workload.judged == workload.measured["quality"] - 1 == 2


def test_several_studies_share_what_is_known(workload: Counting, store: Store) -> None:
    search(plan(), store, silent)
    before = Counter(workload.measured)
    search(plan(study="t"), store, silent)
    assert workload.measured == before
    found = account(store.trials("t"), store.disagreements("t"))
    assert found.saved == 2 * found.proposals
    assert found.seconds_saved == pytest.approx(0.01 * found.saved)


def test_the_model_is_recorded_once(workload: Counting, store: Store) -> None:
    search(plan(trials=3), store, silent)
    search(plan(study="t", trials=3), store, silent)
    assert workload.recorded == 1


def test_a_wrong_hit_is_found_out_split_off_and_shown(workload: Counting, store: Store) -> None:
    workload.lying = "verifiers/grouped"
    settings = (*ONE_DRAFTER, "decoder.verifier=exact,grouped", "grouped.size=8", *ONE_GROUPING)
    search(plan(settings=settings, trials=3, reuse=Reuse(2, 0.0)), store, silent)
    honest, *others = store.trials("s")
    grouped = [t for t in others if t.tree["decoder"]["verifier"]["is"] == "verifiers/grouped"]
    told = store.disagreements("s")[0]
    assert told.split and told.name == "fid"
    assert told.candidate_id in {trial.candidate_id for trial in grouped}
    # 58 +- 1 where 50 +- 1 was known: 8 over sqrt 2.
    assert told.sigmas == pytest.approx(8 / 2**0.5) and told.value == 58 and told.expected == 50
    assert grouped and {trial.quantities["fid"].value for trial in grouped} == {58.0}
    assert honest.quantities["fid"].value == 50.0
    assert account(store.trials("s"), store.disagreements("s")).disagreements > 0


def test_noise_alone_splits_nothing(workload: Counting, store: Store) -> None:
    workload.noise = {"quality": lambda n: (-1.0) ** n, "speed": lambda n: 0.1 * (-1.0) ** n}
    search(plan(reuse=Reuse(3, 0.5)), store, silent)
    assert store.disagreements("s") == []


# ---------------------------------------------------------------------------------- confirmation


def test_the_front_rests_on_fresh_observations(workload: Counting, store: Store) -> None:
    """The first looks flatter by 3; what is reported of the front afterwards does not."""
    fresh = False
    workload.noise = {"quality": lambda n: 0.0 if fresh else -3.0}
    search(plan(trials=6), store, silent)
    objectives = workload.objectives
    flattered = pareto_front(store.trials("s"), objectives)
    assert all(trial.quantities["fid"].value < 50 + _size(trial) for trial in flattered)
    fresh = True
    outcome = search(plan(trials=6, resume=True, confirm=True), store, silent)
    assert outcome.unconfirmed == 0
    for trial in pareto_front(store.trials("s"), objectives):
        assert trial.fresh["quality"] and trial.fresh["speed"]
        assert trial.quantities["fid"].value == 50 + _size(trial)


def _size(trial: Trial) -> int:
    return min(int(trial.tree["decoder"]["verifier"].get("size", 0)), 8)


def test_no_time_to_confirm_is_told_and_resume_goes_on(workload: Counting, store: Store) -> None:
    assert search(plan(trials=6), store, silent).unconfirmed > 0
    before = len(store.trials("s"))
    outcome = search(plan(trials=6, resume=True, confirm=True), store, silent)
    assert outcome.unconfirmed == 0
    assert len(store.trials("s")) == before


def test_stopping_inside_confirmation_loses_nothing(workload: Counting, store: Store) -> None:
    search(plan(trials=6), store, silent)
    before = Counter(workload.measured)
    workload.stop_after = sum(before.values()) + 1
    with pytest.raises(KeyboardInterrupt):
        search(plan(trials=6, resume=True, confirm=True), store, silent)
    workload.stop_after = -1
    assert search(plan(trials=6, resume=True, confirm=True), store, silent).unconfirmed == 0
    candidates = {trial.candidate_id for trial in store.trials("s")}
    kept = sum(m.fresh for each in candidates for m in store.measurements(each))
    assert sum(workload.measured.values()) - sum(before.values()) == kept


# ------------------------------------------------------------------------------- several drivers


def _killed_while_measuring(
    pid: int, workload: Counting, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search by process `pid` that ends in the middle and gives no lease back."""
    with monkeypatch.context() as patch:
        patch.setattr(leasing.os, "getpid", lambda: pid)
        patch.setattr(Store, "release", lambda *_: None)
        workload.stop_after = 2
        with pytest.raises(KeyboardInterrupt):
            search(plan(), store, silent)
        workload.stop_after = -1


def test_nobody_waits_for_the_lease_of_a_dead_process(
    workload: Counting, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    _killed_while_measuring(ended.pid, workload, store, monkeypatch)

    def waited(seconds: float) -> None:
        raise AssertionError("waited for a process that is no more")

    monkeypatch.setattr(leasing.time, "sleep", waited)
    search(plan(resume=True), store, silent)
    assert len({trial.candidate_id for trial in store.trials("s")}) == 12


def test_a_living_process_is_waited_for_until_it_shows_no_progress(
    workload: Counting, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leasing, "_LEASE_S", 1.5)
    monkeypatch.setattr(leasing, "_POLL_S", 0.1)
    _killed_while_measuring(os.getppid(), workload, store, monkeypatch)
    seen: list[Progress] = []
    search(plan(resume=True, trials=2), store, seen.append)
    assert any("another process measures it" in moment.phase for moment in seen)
    assert all(trial.state == "done" for trial in store.trials("s"))


def test_work_that_is_not_as_predicted_is_measured_and_waits_for_nobody(
    workload: Counting, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waited(seconds: float) -> None:
        raise AssertionError("waited for itself")

    monkeypatch.setattr(leasing.time, "sleep", waited)
    workload.restless = True
    one = (*ONE_DRAFTER, "decoder.verifier=exact,grouped", "grouped.size=8", *ONE_GROUPING)
    search(plan(settings=one, trials=3, reuse=Reuse(3, 0.5)), store, silent)
    search(plan(study="t", settings=one, trials=3, reuse=Reuse(3, 0.5)), store, silent)
    assert all(t.state == "done" for study in "st" for t in store.trials(study))


@pytest.mark.parametrize("aspect", ["quality", "speed"])
def test_what_another_stores_between_two_looks_is_not_measured_again(
    aspect: str, workload: Counting, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, looked = Store.find, []

    def too_early(self: Store, what: str, *more: Any, **by: Any) -> Any:
        found = find(self, what, *more, **by)
        if what == aspect and not looked:  # nothing is found, and then there is something
            looked.append(found)
            search(plan(study="other", trials=1), store, silent)
        return found

    monkeypatch.setattr(Store, "find", too_early)
    search(plan(trials=1), store, silent)
    assert looked == [None] and len(store.trials("other")) == 1
    assert workload.measured == {"quality": 1, "speed": 1}
