"""Workers on a local Ray cluster: the same results as in this process, several at a time."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from paretoken.cache.store import Store
from paretoken.search import dispatch_place
from paretoken.search.dispatch_cluster import Share, shares
from paretoken.search.failures import NodeLost
from paretoken.search.loop import Plan, search
from paretoken.search.measuring import Reuse
from paretoken.search.progress import Progress
from paretoken.search.workers import Cluster
from paretoken.spaces.errors import BadInput, MeasurementFailed, Unreadable

SETTINGS = (
    "decoder.drafter.window=2,4,8,16",
    "decoder.verifier=exact,grouped",
    "jacobi.coupling=none",
    "jacobi.init=random",
    "decoder.residual=exact",
    "grouped.probability=1.0",
    "grouped.distance=1.0",
    "grouped.source=target",
)


def plan(folder: Path, study: str = "s", **changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "settings": (*SETTINGS, "grouped.size=2,4,8"),
        "algorithm": "random",
        "trials": 10,
        "reuse": Reuse(observations=1, audit=0.0),
        "confirm": False,
        "cluster": Cluster(workers=2),
        "options": {"folder": str(folder), "device": "cpu"} | changes.pop("options", {}),
    }
    return Plan(study, "toy", **{**fields, **changes})


def noted(folder: Path) -> list[tuple[str, str, int]]:
    lines = (folder / "log").read_text().splitlines()
    return [(what, tree, int(pid)) for what, tree, pid in (line.split("\t") for line in lines)]


def silent(moment: Progress) -> None:
    """Watch nothing."""


@pytest.mark.usefixtures("cluster", "toy")
def test_two_workers_find_what_one_process_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same candidates, same numbers; each worker loads once, and nothing is measured twice."""
    monkeypatch.setattr(dispatch_place, "_LOOK_S", 0.05)
    seen: list[Progress] = []
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        search(plan(tmp_path, options={"seconds": 0.1}), store, seen.append)
        found = {t.candidate_id: t for t in store.trials("s")}
        said = noted(tmp_path)
        (tmp_path / "log").unlink()
        with Store.open(f"sqlite:///{tmp_path}/alone.db") as other:
            search(plan(tmp_path, cluster=None), other, silent)
            alone = {t.candidate_id: t for t in other.trials("s")}
    here = noted(tmp_path)
    assert found.keys() == alone.keys() and len(found) == 10
    for one in found:
        assert found[one].quantities["fid"].value == alone[one].quantities["fid"].value
        assert found[one].quantities["speedup"].value == alone[one].quantities["speedup"].value
    by_work = Counter((what, tree) for what, tree, _ in said)
    assert set(by_work.values()) == {1}
    whats = Counter(what for what, *_ in said)
    assert whats == Counter(what for what, *_ in here)  # equal behaviour: as often as alone
    pids = {pid for _, _, pid in said}
    assert len(pids) == 2 and os.getpid() not in pids
    assert {pid for *_, pid in here} == {os.getpid()}
    done = [moment.finished for moment in seen if moment.finished]
    assert [m.done for m in seen if m.finished][-1] == 10
    assert len({trial.number for trial in done}) == len(done)
    assert any("sampling" in moment.phase for moment in seen)


@pytest.mark.usefixtures("cluster", "toy")
def test_workers_are_kept_busy_and_the_front_is_confirmed(tmp_path: Path) -> None:
    """Proposals are asked ahead: with 0.4 s each, two workers need little more than half."""
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        settings = (*SETTINGS, "decoder.verifier=grouped", "grouped.size=2,3,5,6,7,9,10,12")
        one = plan(tmp_path, settings=settings, options={"seconds": 0.4}, confirm=True)
        watch = Busy()
        outcome = search(one, store, watch)
        assert outcome.unconfirmed == 0
        measured = outcome.measured_seconds
    assert watch.seconds < 0.5 * measured + 4 * 0.4 + 1.0, (watch.seconds, measured)


class Busy:
    """The time from the end of trial 0 to the end of the search."""

    def __init__(self) -> None:
        self.began = self.seconds = 0.0

    def __call__(self, moment: Progress) -> None:
        if moment.finished is not None and moment.finished.number == 0:
            self.began = time.monotonic()
        self.seconds = time.monotonic() - self.began


@pytest.mark.usefixtures("cluster", "toy")
def test_what_does_not_fit_or_cannot_be_opened_is_told_before_anything_is_stored(
    tmp_path: Path,
) -> None:
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        for changes, told in (
            ({"workers": 5}, "--workers 4 at most"),
            ({"gpus": 0.5}, "--device is cpu"),
            ({"memory_gib": 1e6}, "take less for each"),
        ):
            with pytest.raises(BadInput, match=told):
                search(plan(tmp_path, cluster=Cluster(**changes)), store, silent)
        with pytest.raises(Unreadable, match="FileNotFoundError, no such weights"):
            search(plan(tmp_path, options={"unopenable": True}), store, silent)
        kinds = ["cpu", "cpu with other data"]
        with pytest.raises(Unreadable, match="unlike workloads: data differ"):
            search(plan(tmp_path, options={"kinds": kinds, "data": "own"}), store, silent)
        assert store.studies() == []


@pytest.mark.usefixtures("cluster", "toy")
def test_nobody_measures_with_other_weights_than_the_keys_are_of(tmp_path: Path) -> None:
    """Machines without a common folder learn for themselves: other weights, other numbers."""
    cluster = Cluster(workers=2, gpus=0.5)  # the one with a whole GPU times, the others do the rest
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        alike = {"device": "cuda", "learns": "a router", "seconds": 0.05}
        search(plan(tmp_path, "alike", cluster=cluster, options=alike), store, silent)
        assert {trial.state for trial in store.trials("alike")} == {"done"}
        apart = {**alike, "learns": "otherwise"}
        one = plan(tmp_path, "apart", cluster=cluster, options=apart, reuse=Reuse(share=False))
        with pytest.raises(MeasurementFailed, match="artefacts=FOLDER"):
            search(one, store, silent)
        failure = store.trials("apart")[0].failure
        assert failure is not None and failure.reason == "learnt-otherwise"


@pytest.mark.usefixtures("cluster", "toy")
def test_what_has_to_be_learnt_first_has_no_limit(tmp_path: Path) -> None:
    limited = Cluster(workers=1, limit_s=2.0)
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        options = {"learns": "a router", "learning": 3.0}
        search(plan(tmp_path, cluster=limited, trials=1, options=options), store, silent)
        assert store.trials("s")[0].state == "done"


@pytest.mark.usefixtures("cluster", "toy")
def test_workers_with_a_part_of_a_gpu_judge_and_one_with_a_whole_one_times(tmp_path: Path) -> None:
    """Ray only counts the two GPUs here; which worker does what is the same with real ones."""
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        options = {"device": "cuda", "seconds": 0.2}
        search(plan(tmp_path, cluster=Cluster(gpus=0.5), options=options), store, silent)
        assert {trial.state for trial in store.trials("s")} == {"done"}
    judging = {pid for what, _, pid in noted(tmp_path) if what == "quality"}
    timing = {pid for what, _, pid in noted(tmp_path) if what == "speed"}
    assert len(timing) == 1 and len(judging - timing) == 2


@pytest.mark.usefixtures("cluster", "toy")
def test_one_kind_of_device_times_and_every_kind_judges(tmp_path: Path) -> None:
    kinds = ["cpu old", "cpu new", "cpu new"]
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        options = {"kinds": kinds, "seconds": 0.2}
        search(plan(tmp_path, cluster=Cluster(workers=3), options=options), store, silent)
        found = {trial.environment.device for trial in store.trials("s") if trial.environment}
        assert found == {"cpu new"}
        for number in range(3):  # resumed, it stays with that kind, though most are of another now
            (tmp_path / f"taken {number}").rmdir()
        more = plan(tmp_path, cluster=Cluster(workers=3), trials=12, resume=True)
        search(more, store, silent)
        found = {trial.environment.device for trial in store.trials("s") if trial.environment}
        assert found == {"cpu new"} and len(store.trials("s")) >= 12
    judging = {pid for what, _, pid in noted(tmp_path) if what == "quality"}
    timing = {pid for what, _, pid in noted(tmp_path) if what == "speed"}
    assert len(judging - timing) >= 1


H100 = {"CPU": 16.0, "GPU": 1.0, "memory": 2.0**37}
TWO = {"CPU": 16.0, "GPU": 2.0, "memory": 2.0**37}
QUARTERS = [Share(2, 0.25, False)] * 2
CPUS = {"CPU": 8.0, "memory": 2.0**35}


@pytest.mark.parametrize(
    ("cluster", "nodes", "device", "expected"),
    [
        (Cluster(), [H100, TWO], None, [Share(8, 1, True)] * 3),
        (Cluster(gpus=2), [H100, TWO], None, [Share(16, 2, True)]),
        (Cluster(gpus=2), [H100, H100], None, "do not fit"),
        (Cluster(gpus=2, workers=1), [H100, TWO], None, [Share(16, 2, True)]),
        (Cluster(gpus=0.5), [H100, TWO], None, [Share(4, 1, True)] + [Share(4, 0.5, False)] * 4),
        (Cluster(gpus=0.25, workers=2), [TWO], None, [Share(2, 1, True), *QUARTERS]),
        (Cluster(gpus=0.25, workers=3), [H100], None, "one with a whole GPU that times"),
        (Cluster(gpus=1.5), [TWO], None, "a whole number"),
        (Cluster(gpus=1), [CPUS], None, "the cluster has none"),
        (Cluster(gpus=1), [TWO], "cpu", "--device is cpu"),
        (Cluster(), [CPUS], "cuda", "do not fit"),
        (Cluster(), [CPUS, CPUS], None, [Share(8, 0, True)] * 2),
        (Cluster(workers=3), [CPUS, CPUS], None, [Share(4, 0, True)] * 3),
        (Cluster(workers=2, gpus=0), [TWO], None, [Share(8, 0, True)] * 2),
        (Cluster(workers=17), [CPUS, CPUS], None, "--workers 16 at most"),
        (Cluster(workers=2, memory_gib=20), [CPUS], None, "--workers 1 at most"),
    ],
)  # fmt: skip
def test_timing_has_whole_devices(
    cluster: Cluster, nodes: list[dict[str, float]], device: str | None, expected: Any
) -> None:
    if isinstance(expected, str):
        with pytest.raises(BadInput, match=expected):
            shares(cluster, nodes, device)
    else:
        assert shares(cluster, nodes, device) == expected


DIED = """The actor died unexpectedly before finishing this task.
\tclass_name: Worker
\tpid: 28215
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit \
detail: Worker unexpectedly exits with a connection error code 2. End of file. Some common causes \
include: (1) the process was killed by the OOM killer due to high memory usage, (2) ray stop \
--force was called, or (3) the worker crashed unexpectedly due to SIGSEGV."""
NODE = """The actor died unexpectedly before finishing this task.
\tclass_name: Worker
The actor died because its node has died. Node Id: 057d5fced04179eb02c7b53aea7badc68b9952c0
\tthe actor's node was terminated unexpectedly: health check failed due to missing heartbeats"""
MADE = """The actor died because of an error raised in its creation, \x1b[36mray::Worker\x1b[39m
           ^^^^^^^
RuntimeError: The actor with name Worker failed to import on the worker.
ModuleNotFoundError: No module named 'paretoken'"""


@pytest.mark.parametrize(
    ("said", "reason", "detail"),
    [
        (DIED, "worker-died", "The actor is dead because its worker process has died. SYSTEM_ERROR "
         "Worker unexpectedly exits with a connection error code 2. End of file (during: quality)"),
        (NODE, "node-lost", "The actor died because its node has died. Node Id: "
         "057d5fced04179eb02c7b53aea7badc68b9952c0 the actor's node was terminated unexpectedly: "
         "health check failed due to missing heartbeats (during: quality)"),
        (MADE, "worker-died", "ModuleNotFoundError: No module named 'paretoken' (during: quality)"),
    ],
    ids=["killed", "node", "not made"],
)  # fmt: skip
def test_what_ray_says_of_a_death_becomes_one_readable_line(
    said: str, reason: str, detail: str
) -> None:
    """Texts of Ray 2.60, as they were printed."""
    died = dispatch_place._death(said, "quality")
    assert (died.failure.reason, died.failure.detail) == (reason, detail)
    assert isinstance(died, NodeLost) == (reason == "node-lost")
