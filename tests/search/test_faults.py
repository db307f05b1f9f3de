"""What goes wrong in a search, for real: workers killed, hanging and gobbling, drivers killed, …

Each time: nothing lost, nothing doubled, a record that a person can read, and the search ends.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from paretoken.cache.store import Store
from paretoken.search.evaluator import Local
from paretoken.search.failures import NodeLost
from paretoken.search.loop import Plan, search
from paretoken.search.measuring import Reuse
from paretoken.search.progress import Progress
from paretoken.search.workers import Cluster
from paretoken.spaces.errors import Unreadable
from paretoken.spaces.records import Failure, Trial

SETTINGS = (
    "decoder.drafter.window=4",
    "decoder.verifier=exact,grouped",
    "jacobi.coupling=none",
    "jacobi.init=random",
    "decoder.residual=exact",
    "grouped.probability=1.0",
    "grouped.distance=1.0",
    "grouped.source=target",
)


def plan(folder: Path, faults: dict[int, str], **changes: Any) -> Plan:
    """Every candidate once: groups of the sizes that have a fault, those of 9 and 10, and exact."""
    sizes = ",".join(map(str, [*faults, 9, 10]))
    options = {
        "folder": str(folder),
        "device": "cpu",
        "faults": {str(k): v for k, v in faults.items()},
    }
    fields: dict[str, Any] = {
        "settings": (*SETTINGS, f"grouped.size={sizes}"),
        "algorithm": "grid",
        "trials": None,
        "reuse": Reuse(observations=1, audit=0.0),
        "confirm": False,
        "cluster": Cluster(workers=2),
        "options": options | changes.pop("options", {}),
    }
    return Plan("s", "toy", **{**fields, **changes})


def silent(moment: Progress) -> None:
    """Watch nothing."""


def size(trial: Trial) -> int:
    found: int = trial.tree["decoder"]["verifier"].get("size", 0)
    return found


def noted(folder: Path) -> list[list[str]]:
    log = folder / "log"
    return [line.split("\t") for line in log.read_text().splitlines()] if log.exists() else []


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"{what} took more than {seconds} s"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether the process lives; one that nobody has waited for yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/s.db") as opened:
        yield opened


FAULTS = {
    2: ("raise in probe", "error-Odd", "odd probe"),
    3: ("raise", "error-Odd", "odd measurement"),
    4: ("nan", "nan", "fid is not a number"),
    5: ("inf", "infinite", "fid is infinite"),
    6: ("inf spread", "infinite", "the spread of images_per_s is infinite"),
    7: ("nan in probe", "nan", "NaN or infinity"),
    8: ("fail", "nan", "the logits are not numbers"),
}


@pytest.mark.usefixtures("cluster", "toy")
@pytest.mark.parametrize("workers", [None, Cluster(workers=2)], ids=["alone", "ray"])
def test_what_raises_or_is_no_number_is_a_record(
    workers: Cluster | None, store: Store, tmp_path: Path
) -> None:
    faults = {each: fault for each, (fault, _, _) in FAULTS.items()}
    search(plan(tmp_path, faults, cluster=workers), store, silent)
    trials = store.trials("s")
    assert {trial.state for trial in trials} == {"done", "failed"}
    for trial in trials:
        if size(trial) in FAULTS:
            _, reason, detail = FAULTS[size(trial)]
            assert trial.failure is not None and trial.failure.reason == reason
            assert detail in trial.failure.detail
            assert "Traceback" in trial.failure.traceback
        else:
            assert trial.state == "done", trial
    assert {0, 9, 10} == {size(trial) for trial in trials if trial.state == "done"}
    for trial in trials:  # a number that is none was not stored either
        for measurement in store.measurements(trial.candidate_id):
            assert all(abs(q.value) < 1e9 > q.spread for q in measurement.quantities)


@pytest.mark.usefixtures("cluster", "toy")
def test_a_plug_in_that_workers_cannot_import_fails_its_candidates_only(
    store: Store, tmp_path: Path
) -> None:
    settings = (*SETTINGS, "decoder.verifier=exact,elsewhere")
    one = plan(tmp_path, {}, settings=settings, space="image-decoding", trials=4)
    search(one, store, silent)
    trials = store.trials("s")
    for trial in trials:
        if trial.tree["decoder"]["verifier"]["is"] == "verifiers/elsewhere":
            assert trial.failure is not None
            assert trial.failure.reason == "error-ImportError"
            assert trial.failure.detail == "this driver lacks its library"
    assert {trial.state for trial in trials} == {"done", "failed"}


@pytest.mark.usefixtures("cluster", "toy")
def test_who_kills_hangs_or_gobbles_costs_one_worker_each(store: Store, tmp_path: Path) -> None:
    faults = {2: "die", 3: "hang", 4: "gobble"}
    # Each candidate some times: a lethal one is not let near a second worker.
    one = plan(
        tmp_path, faults, algorithm="random", trials=7,
        cluster=Cluster(workers=2, limit_s=4.0, memory_gib=3.0),
    )  # fmt: skip
    begun = time.monotonic()
    search(one, store, silent)
    assert time.monotonic() - begun < 90
    trials = store.trials("s")
    reasons = {2: "worker-died", 3: "timeout", 4: "out-of-memory"}
    for trial in trials:
        if size(trial) in reasons:
            assert trial.failure is not None
            assert trial.failure.reason == reasons[size(trial)], trial.failure
        else:
            assert trial.state == "done", trial
    assert {size(trial) for trial in trials} == {0, 2, 3, 4, 9, 10}
    details = {size(t): t.failure.detail for t in reversed(trials) if t.failure}
    assert "connection error" in details[2] and "--limit" in details[3]
    assert "last seen: sampling" in details[3]
    tried = Counter(tree for what, tree, _ in noted(tmp_path) if what == "quality begun")
    assert set(tried.values()) == {1}
    repeated = [t for t in trials if t.failure and "not tried again" in t.failure.detail]
    assert len(repeated) == sum(size(t) in reasons for t in trials) - 3
    pids = {int(pid) for *_, pid in noted(tmp_path)}
    assert len(pids) >= 3  # workers were replaced, and the new ones measured


@pytest.mark.usefixtures("cluster", "toy")
def test_without_any_worker_left_the_search_ends_and_keeps_what_it_has(
    store: Store, tmp_path: Path
) -> None:
    one = plan(tmp_path, {2: "die and take the weights along"}, cluster=Cluster(workers=1))
    with pytest.raises(Unreadable, match=r"no worker is left .*no such weights.*--resume"):
        search(one, store, silent)
    assert any(trial.failure for trial in store.trials("s"))
    (tmp_path / "gone").unlink()
    search(plan(tmp_path, {}, cluster=Cluster(workers=1), resume=True), store, silent)
    assert {trial.state for trial in store.trials("s")} == {"done", "failed"}


@pytest.mark.usefixtures("cluster", "toy")
def test_who_is_replaced_by_another_model_is_not_replaced(store: Store, tmp_path: Path) -> None:
    """Whatever the file of weights is by now, the study is of what was opened first."""
    own = {"kinds": ["first", *["changed"] * 3], "data": "own"}
    one = plan(tmp_path, {2: "die"}, cluster=Cluster(workers=1), options=own)
    with pytest.raises(Unreadable, match=r"no worker is left .*unlike workloads: data differ"):
        search(one, store, silent)


@pytest.mark.usefixtures("cluster", "toy")
def test_a_store_that_is_locked_for_some_seconds_is_waited_for(
    store: Store, tmp_path: Path
) -> None:
    def lock() -> None:
        wait_for(lambda: len(noted(tmp_path)) > 4, 60, "the first measurements")
        connection = sqlite3.connect(tmp_path / "s.db", isolation_level=None, timeout=30)
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(4)
        connection.execute("ROLLBACK")
        connection.close()
        locked.append(True)

    locked: list[bool] = []
    other = threading.Thread(target=lock)
    other.start()
    search(plan(tmp_path, {5: "", 6: "", 7: ""}, options={"seconds": 0.3}), store, silent)
    other.join()
    assert locked and {trial.state for trial in store.trials("s")} == {"done"}
    assert len(store.trials("s")) >= 7


# ------------------------------------------------------------------------- drivers in processes


DRIVER = """
import sys
from paretoken.search.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def driver(cluster: None, toys: Path, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts `paretoken search` on the cluster of the tests, in a process group of its own."""
    import ray

    path = f"{toys}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    address = ray.get_runtime_context().gcs_address

    def start(url: str, *more: str) -> subprocess.Popen[str]:
        words = [
            "search", "toy", "--study", "s", "--store", url, "--trials", "10", "--workers", "2",
            "--algorithm", "random", "--observations", "1", "--audit", "0", "--no-confirm",
            "--ray", address, *more,
        ]  # fmt: skip
        if "--resume" not in more:
            words += ["--option", f"folder={tmp_path}", "--option", "seconds=0.4"]
            words += ["--device", "cpu"]
            for setting in (*SETTINGS, "decoder.drafter.window=2,4,8", "grouped.size=2,3,5,9"):
                words += ["--set", setting]
        return subprocess.Popen(
            [sys.executable, "-c", DRIVER, *words],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A shell starts what it puts into the background with Ctrl-C ignored, tests too.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )

    return start


def check_whole(url: str) -> None:
    """All ten candidates are done, no trial is missing, and nothing was stored twice."""
    with Store.open(url, create=False) as store:
        trials = store.trials("s")
        assert [trial.number for trial in trials] == list(range(len(trials)))
        assert {trial.state for trial in trials} == {"done"}
        candidates = {trial.candidate_id for trial in trials}
        assert len(candidates) == 10
        stored = Counter(
            (one.aspect, one.key) for each in candidates for one in store.measurements(each)
        )
        assert set(stored.values()) == {1}


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def test_a_killed_driver_loses_nothing_and_its_workers_end(
    kind: str,
    driver: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    if kind == "postgres":
        url = request.getfixturevalue("postgres_url")
    killed = driver(url)
    wait_for(lambda: len(noted(tmp_path)) >= 12, 180, "the first measurements")
    killed.kill()
    killed.communicate()
    with Store.open(url, create=False) as store:
        states = Counter(trial.state for trial in store.trials("s"))
        assert states["done"] and states["pending"], states
    workers = {int(pid) for *_, pid in noted(tmp_path)}
    wait_for(lambda: not any(map(is_running, workers)), 20, "the end of the workers")
    resumed = driver(url, "--resume")
    _, errors = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, errors
    check_whole(url)


def test_ctrl_c_stops_the_workers_and_says_how_to_go_on(
    driver: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    stopped = driver(url)
    wait_for(lambda: len(noted(tmp_path)) >= 8, 180, "the first measurements")
    os.killpg(stopped.pid, signal.SIGINT)
    told, errors = stopped.communicate(timeout=20)
    assert stopped.returncode == 130, told + errors
    assert "finished candidates are kept" in errors and "--resume --trials 10 --ray" in errors
    assert "Traceback" not in errors
    workers = {int(pid) for *_, pid in noted(tmp_path)}
    wait_for(lambda: not any(map(is_running, workers)), 10, "the end of the workers")
    with Store.open(url, create=False) as store:
        assert not any(trial.failure for trial in store.trials("s"))
    resumed = driver(url, "--resume")
    _, errors = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, errors
    check_whole(url)


# ---------------------------------------------------------------------------------- lost machines


LOSING = """
import sys, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster as Machines
from paretoken.cache.store import Store
from paretoken.search.loop import Plan, search
from paretoken.search.measuring import Reuse
from paretoken.search.workers import Cluster

folder, settings = Path(sys.argv[1]), tuple(sys.argv[2:])
soon = {"health_check_failure_threshold": 3, "health_check_period_ms": 500}
head = {"num_cpus": 0, "include_dashboard": False, "_system_config": soon}
machines = Machines(initialize_head=True, head_node_args=head)
first = machines.add_node(num_cpus=1)
ray.init(address=machines.address, log_to_driver=False, logging_level="ERROR")
options = {"folder": str(folder), "seconds": 2.0}
once = Reuse(1, 0.0)
plan = Plan("s", "toy", None, settings, "grid", 3, options=options, reuse=once, confirm=False,
            cluster=Cluster(workers=1))

def drive():
    with Store.open(f"sqlite:///{folder}/s.db") as store:
        search(plan, store, lambda moment: None)

driver = threading.Thread(target=drive)
driver.start()
log = folder / "log"
while not log.exists() or log.read_text().count("quality begun") < 2:
    time.sleep(0.05)
machines.remove_node(first, allow_graceful=False)
machines.add_node(num_cpus=1)
driver.join()
"""


@pytest.mark.slow
def test_who_loses_its_machine_is_measured_on_another(toys: Path, tmp_path: Path) -> None:
    settings = (*SETTINGS, "decoder.verifier=grouped", "grouped.size=2,3")
    path = f"{toys}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [sys.executable, "-c", LOSING, str(tmp_path), *settings],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        assert [trial.state for trial in store.trials("s")] == ["done"] * 3
    with sqlite3.connect(tmp_path / "s.db") as connection:
        work = connection.execute("SELECT state, attempts FROM work ORDER BY attempts").fetchall()
    assert work[-1] == ("done", 2) and {attempts for _, attempts in work[:-1]} == {1}


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(("losses", "state"), [(2, "done"), (3, "failed")])
def test_lost_machines_are_tried_again_twice_and_no_more(
    losses: int, state: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, lost = Local.speed, []

    def speed(self: Local, tree: Any, report: Any) -> Any:
        if tree["decoder"]["verifier"].get("size") == 2 and len(lost) < losses:
            lost.append(tree)
            raise NodeLost(Failure("node-lost", "its node has died"))
        return measure(self, tree, report)

    monkeypatch.setattr(Local, "speed", speed)
    search(plan(tmp_path, {2: ""}, cluster=None), store, silent)
    (trial,) = [each for each in store.trials("s") if size(each) == 2]
    assert (trial.state, len(lost)) == (state, losses)
    if state == "failed":
        assert trial.failure is not None and trial.failure.reason == "node-lost"
        assert trial.failure.detail.startswith("on 3 machines, one after the other: its node")
    # What had been measured before the loss was not measured again.
    begun = [tree for what, tree, _ in noted(tmp_path) if what == "quality" and '"size": 2' in tree]
    assert len(begun) == 1
    with sqlite3.connect(tmp_path / "s.db") as connection:
        (most,) = connection.execute("SELECT max(attempts) FROM work").fetchone()
    assert most == 3
