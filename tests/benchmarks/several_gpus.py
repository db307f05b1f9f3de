"""What a second GPU brings: the same proposals, searched by one worker and by two.

    python tests/benchmarks/several_gpus.py --folder build/gpus --candidates 96
    python tests/benchmarks/several_gpus.py --folder build/gpus --faults

Both commands need two GPUs. The first measures every proposal for itself, with a whole GPU for each
worker, and prints candidates an hour, where the workers' time goes, and whether a busy neighbour
disturbs timing. The second runs `paretoken search` as a user does: a worker is killed on one GPU
while the other goes on, then a GPU is hidden, and shown again.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from paretoken.cache.store import Store
from paretoken.search.dispatch_cluster import Share, connect
from paretoken.search.dispatch_place import Place
from paretoken.search.loop import Plan, search
from paretoken.search.measuring import Reuse
from paretoken.search.progress import Progress
from paretoken.search.workers import Cluster
from paretoken.spaces.errors import ParetokenError
from paretoken.spaces.records import StudyInfo, Trial

OUT = Console(width=110)
STEPS = ("record", "identify", "sample", "judge", "speed")
MEANT = {
    "record": "rows recorded, once",
    "identify": "law level",
    "sample": "sampling, capture apart",
    "judge": "metric",
    "speed": "timing, capture apart",
    "capture": "graph capture",
    "idle": "idle: driver, store, end",
}


def main(
    folder: Annotated[Path, typer.Option(help="Stores and timelines go here.")],
    candidates: Annotated[int, typer.Option(help="Plain decoding included.")] = 96,
    samples: int = 1000,
    workload: str = "fashion",
    space: str = "image-decoding",
    device: Annotated[str, typer.Option(help="cpu tries the script where there is no GPU.")] = "",
    beside: Annotated[int, typer.Option(help="Candidates timed beside a neighbour.")] = 8,
    faults: Annotated[bool, typer.Option("--faults", help="Kill, hide, show again.")] = False,
    seed: int = 0,
) -> None:
    """Search with one worker and with two, time beside a neighbour, print tables."""
    folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"samples": samples, "batch": 1}
    options |= {"device": device} if device else {}
    plan = Plan(
        "gpus", workload, space, trials=candidates, seed=seed, options=options, algorithm="random",
        reuse=Reuse(share=False), confirm=False,
    )  # fmt: skip
    if faults:
        _faults(folder / "faults.db", plan)
        return
    # Every kernel is compiled once a machine: whoever came first would pay for all.
    few = replace(plan, options=options | {"samples": min(samples, 500)})
    _searched(few, folder / "warm.db", 2)
    runs = []
    for workers in (1, 2):
        runs.append(_searched(plan, folder / f"{workers}.db", workers))
        (folder / f"{workers}.json").write_text(json.dumps(runs[-1].calls))
    _print_pace(runs)
    trees = [dict(trial.tree) for trial in runs[0].trials]
    _print_beside(_beside(runs[0].info, trees[:beside]), runs)


@dataclass
class Run:
    """One search. calls: (worker, method, begin, end) in seconds since it began."""

    workers: int
    info: StudyInfo
    trials: list[Trial]
    details: dict[int, dict[str, float]]
    seconds: float
    calls: list[tuple[int, str, float, float]] = field(default_factory=list)

    @property
    def measuring(self) -> tuple[float, float]:
        """When the first candidate after plain decoding began, and when the last one ended."""
        laws = [begin for _, method, begin, _ in self.calls if method == "identify"]
        return sorted(laws)[1], max(end for *_, end in self.calls)

    @property
    def per_hour(self) -> float:
        """Candidates an hour once workers are ready and plain decoding is measured."""
        begin, end = self.measuring
        return 3600 * (len(self.trials) - 1) / (end - begin)


def _searched(plan: Plan, file: Path, workers: int) -> Run:
    """A whole search, and when each call to a worker began and ended."""
    for old in file.parent.glob(f"{file.name}*"):
        old.unlink()
    calls: list[tuple[int, str, float, float]] = []
    known: dict[int, int] = {}
    begun = time.monotonic()
    answer = Place._answer

    def timed(place: Place, asked: Any, report: Any, deadline: float, method: str) -> Any:
        worker = known.setdefault(id(place), len(known))
        begin = time.monotonic() - begun
        try:
            return answer(place, asked, report, deadline, method)
        finally:
            calls.append((worker, method, begin, time.monotonic() - begun))

    def watch(progress: Progress) -> None:
        if progress.finished is not None:
            print(f"{workers} worker(s): {progress.done} of {progress.wanted}", file=sys.stderr)

    with Store.open(f"sqlite:///{file}") as store, mock.patch.object(Place, "_answer", timed):
        search(replace(plan, cluster=Cluster(workers=workers)), store, watch)
        seconds = time.monotonic() - begun
        trials = store.trials(plan.study)
        details: dict[int, dict[str, float]] = {}
        for trial in trials:
            found = store.measurements(trial.candidate_id)
            details[trial.number] = {
                one.aspect: float(one.detail.get("capture_seconds", 0.0)) for one in found
            }
        return Run(workers, store.study(plan.study), trials, details, seconds, calls)


def _print_pace(runs: Sequence[Run]) -> None:
    one, two = runs
    same = [trial.candidate_id for trial in one.trials] == [t.candidate_id for t in two.trials]
    table = Table("", "1 GPU", "2 GPUs", "ratio")

    def row(what: str, values: Sequence[float], form: str, ratio: bool = False) -> None:
        relation = f"{values[1] / values[0]:.3f}" if ratio else ""
        table.add_row(what, *(format(value, form) for value in values), relation)

    row("candidates", [len(run.trials) for run in runs], "d")
    row("failed", [sum(t.state == "failed" for t in run.trials) for run in runs], "d")
    row("whole command, s", [run.seconds for run in runs], ".1f")
    loading = [max(end for _, m, _, end in run.calls if m == "about") for run in runs]
    row("of it until all workers have loaded, s", loading, ".1f")
    row("candidates an hour, workers loaded", [run.per_hour for run in runs], ".0f", ratio=True)
    whole = [3600 * len(run.trials) / run.seconds for run in runs]
    row("candidates an hour, whole command", whole, ".0f", ratio=True)
    spent = [_spent(run) for run in runs]
    for part, meaning in MEANT.items():
        row(f"% of the workers' time: {meaning}", [100 * each[part] for each in spent], ".1f")
    OUT.print(table)
    OUT.print("the same candidates in both runs" if same else "NOT the same candidates")


def _spent(run: Run) -> dict[str, float]:
    """Shares of the workers' time between the first and the last measurement."""
    begin, end = run.measuring
    busy: dict[str, float] = defaultdict(float)
    for _, method, start, stop in run.calls:
        if method in STEPS and start >= begin:
            busy[method] += stop - start
    for number, captured in run.details.items():
        if number:
            for aspect, method in (("quality", "sample"), ("speed", "speed")):
                seconds = captured.get(aspect, 0.0)
                busy[method] -= seconds
                busy["capture"] += seconds
    whole = run.workers * (end - begin)
    busy["idle"] = whole - sum(busy.values())
    return {part: busy[part] / whole for part in MEANT}


def _beside(info: StudyInfo, trees: Sequence[Any]) -> list[list[dict[str, Any]]]:
    """Speeds of each tree: on one GPU and on the other, alone; then on both at the same time."""
    stopping = threading.Event()
    cluster = Cluster(workers=2)
    with contextlib.ExitStack() as open_:
        connect(cluster)
        gpus = 0.0 if info.options.get("device") == "cpu" else 1.0
        places = [Place(Share(1, gpus, True), info, 0, stopping) for _ in range(2)]
        for place in places:
            place.start()
            open_.callback(place.kill)
        for place in places:
            place.opened(_silent)

        def timed(place: Place, tree: Any) -> dict[str, Any]:
            clocked = place.call(_silent, float("inf"), "speed", tree)
            return {q.name: q for q in clocked.observed.quantities}

        timed(places[0], trees[0]), timed(places[1], trees[0])  # warm
        found = []
        for tree in trees:
            alone = [timed(place, tree) for place in places]
            with _busy(places[1], trees[0]):
                near_one = timed(places[0], tree)
            with _busy(places[0], trees[0]):
                near_other = timed(places[1], tree)
            found.append([*alone, near_one, near_other])
        return found


@contextlib.contextmanager
def _busy(place: Place, tree: Any) -> Iterator[None]:
    """That worker samples and times all the while."""
    enough = threading.Event()

    def work() -> None:
        while not enough.is_set():
            place.call(_silent, float("inf"), "sample", tree, 500, 1, {})
            place.call(_silent, float("inf"), "speed", tree)

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        time.sleep(0.5)
        yield
        enough.set()
        working.result()


def _silent(phase: str, share: float) -> None:
    pass


def _print_beside(found: Sequence[Sequence[dict[str, Any]]], runs: Sequence[Run]) -> None:
    table = Table(
        "images/s of candidate", "first GPU alone", "second GPU alone", "first, neighbour busy",
        "second, neighbour busy",
    )  # fmt: skip
    apart, disturbed = [], []
    for number, speeds in enumerate(found):
        seen = [(s["images_per_s"].value, s["images_per_s"].spread) for s in speeds]
        table.add_row(str(number), *(f"{value:.2f} ± {spread:.2f}" for value, spread in seen))
        apart.append(_away(seen[0], seen[1]))
        disturbed += [_away(seen[0], seen[2]), _away(seen[1], seen[3])]
    OUT.print(table)
    both = [
        tuple((t.quantities["images_per_s"].value, t.quantities["images_per_s"].spread) for t in p)
        for p in zip(*(run.trials for run in runs), strict=True)
        if all(t.state == "done" for t in p)
    ]
    searches = [_away(*pair) for pair in both]
    for what, away in (
        ("first GPU and second, both alone", apart),
        ("alone and beside a busy neighbour", disturbed),
        ("search on one GPU and search on two", searches),
    ):
        ratio, sigma = np.array(away).T
        OUT.print(
            f"{what}: ratio {np.median(ratio):.4f} (median of {len(away)}), differences within 2 "
            f"standard deviations {np.mean(sigma <= 2):.0%}, largest {sigma.max():.1f}"
        )


def _away(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """The ratio of two speeds, and their difference in standard deviations."""
    return other[0] / one[0], abs(one[0] - other[0]) / float(np.hypot(one[1], other[1]))


def _faults(file: Path, plan: Plan) -> None:
    """A worker killed, a GPU hidden, both shown again: the same study all the time."""
    for old in file.parent.glob(f"{file.name}*"):
        old.unlink()
    table = Table("what", "done", "failed, why", "GPUs that worked", "seconds")
    store = f"sqlite:///{file}"
    steps: tuple[tuple[str, int, str | None], ...] = (
        ("a worker is killed at the 6th candidate", 24, None),
        ("--resume with one GPU hidden", 32, "0"),
        ("--resume with both", 44, None),
    )
    for what, trials, visible in steps:
        begun, resumed = time.monotonic(), file.exists()
        environment = dict(os.environ) | ({"CUDA_VISIBLE_DEVICES": visible} if visible else {})
        command = [
            sys.executable, "-m", "paretoken.search", "search", plan.workload, "--study", "gpus",
            "--store", store, "--ray", "local", "--trials", str(trials), "--no-confirm",
            *(["--resume"] if resumed else ["--space", str(plan.space), "--seed", "1"]),
            *([] if resumed else ["--samples", str(plan.options["samples"])]),
        ]  # fmt: skip
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        used: Counter[str] = Counter()
        killed = ""
        while process.poll() is None:
            working = _working()
            used.update(set(working.values()))
            if not killed and trials == steps[0][1] and _done(store) >= 6 and len(working) == 2:
                pid = min(working)
                killed = f"worker {pid} on GPU {working[pid]} after {_done(store)} candidates"
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.25)
        with Store.open(store) as opened:
            found = opened.trials("gpus")
        why = Counter(t.failure.reason for t in found if t.failure is not None)
        table.add_row(
            what + (f": {killed}" if killed else "") + f", exit {process.returncode}",
            str(sum(t.state == "done" for t in found)),
            ", ".join(f"{count} {reason}" for reason, count in why.items()) or "none",
            ", ".join(sorted(used)),
            f"{time.monotonic() - begun:.0f}",
        )
    OUT.print(table)


def _done(store: str) -> int:
    try:
        with Store.open(store, create=False) as opened:
            return sum(trial.state != "pending" for trial in opened.trials("gpus"))
    except ParetokenError:  # not made yet
        return 0


def _working() -> dict[int, str]:
    """Process ids of Ray's workers, and the GPU on which each is."""
    listed = subprocess.run(
        ["nvidia-smi", "--query-compute-apps=pid,gpu_bus_id", "--format=csv,noheader"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = {}
    for line in listed.stdout.splitlines():
        pid, _, bus = line.partition(", ")
        with contextlib.suppress(OSError):
            if b"ray::Worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found[int(pid)] = bus
    return found


if __name__ == "__main__":
    typer.run(main)
