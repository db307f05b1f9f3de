"""`search`: what it hands to the loop, what it shows, and what happens when it is stopped."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from paretoken.cache.store import Store
from paretoken.search.cli.live import watching
from paretoken.search.measuring import Reuse
from paretoken.search.progress import Progress, Watcher
from paretoken.search.report.results import read
from paretoken.search.workers import Cluster
from paretoken.spaces.errors import BadInput

Cli = Callable[..., Any]


@dataclass(frozen=True)
class Plan:
    """The fields that the real plan has."""

    study: str
    workload: str
    space: str | None
    settings: tuple[str, ...]
    algorithm: str
    trials: int | None
    minutes: float | None
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    resume: bool = False
    reuse: Reuse = field(default_factory=Reuse)
    confirm: bool = True
    rungs: tuple[int, ...] = ()
    cluster: Cluster | None = None
    race: int = 0


OUTCOME = SimpleNamespace(
    unconfirmed=1, recording_seconds=0.0, law_seconds=0.5, measured_seconds=50.0, near_ties=2
)


def replay(plan: Plan, store: Store, watch: Watcher) -> Any:
    """A search that only tells what the store holds already."""
    trials = [trial for trial in store.trials(plan.study) if trial.state != "pending"]
    for at, trial in enumerate(trials, start=1):
        watch(Progress("quality: 128 of 500 images", 0.25, at - 1, 8, 61.0, None))
        watch(Progress("", 1.0, at, 8, 60.4, trial))
    return OUTCOME


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    found = SimpleNamespace(Plan=Plan, search=replay)
    monkeypatch.setitem(sys.modules, "paretoken.search.loop", found)
    return found


def test_each_option_reaches_the_plan(cli: Cli, url: str, loop: SimpleNamespace) -> None:
    plans = []
    loop.search = lambda plan, store, watch: plans.append(plan) or OUTCOME
    base = ("search", "fashion", "--study", "demo")
    assert cli(*base).code == 0
    assert plans.pop() == Plan("demo", "fashion", None, (), "nsga2", 30, None, 0)
    assert cli(*base, "--minutes", "5").code == 0
    assert (plans[0].trials, plans.pop().minutes) == (None, 5.0)
    words = "--space my.py:SPACE --set a.b=1,2 --set c=3 --algorithm tpe --trials 7 --minutes 2.5"
    words += " --samples 100 --batch 4 --device cuda --seed 9 --resume"
    words += " --option gpt=x.pt --option cfg=1.5 --option half=true"
    words += " --observations 3 --audit 0.2 --no-reuse --no-confirm"
    assert cli(*base, *words.split()).code == 0
    options = {"gpt": "x.pt", "cfg": 1.5, "half": True, "samples": 100, "batch": 4}
    options["device"] = "cuda"
    settings = ("a.b=1,2", "c=3")
    wanted = Plan("demo", "fashion", "my.py:SPACE", settings, "tpe", 7, 2.5, 9, options, True)
    wanted = replace(wanted, reuse=Reuse(3, 0.2, share=False), confirm=False)
    assert plans == [wanted]


def test_options_about_workers_reach_the_plan_and_the_hint(
    cli: Cli, url: str, loop: SimpleNamespace
) -> None:
    def stopped(plan: Plan, *_: object) -> None:
        plans.append(plan)
        raise KeyboardInterrupt

    plans: list[Plan] = []
    loop.search = stopped
    base = ("search", "fashion", "--study", "demo")
    assert cli(*base, "--ray", "local").code == 130
    assert plans.pop().cluster == Cluster("local", None, None, 1800.0, None, "")
    ran = cli(*base, "--race", "8")
    assert plans.pop().race == 8 and "--resume --trials 30 --race 8" in ran.err
    words = "--ray 10.0.0.1:6379 --workers 3 --gpus-per-worker 0.5 --limit 60"
    words += " --memory-per-worker 4 --ray-wheel paretoken.whl"
    ran = cli(*base, *words.split())
    assert plans.pop().cluster == Cluster("10.0.0.1:6379", 3, 0.5, 60.0, 4.0, "paretoken.whl")
    assert f"--resume --trials 30 {words}" in ran.err
    ran = cli(*base, "--workers", "3")
    assert ran.code == 2 and "add --ray local" in ran.err and not plans


def test_without_a_terminal_each_trial_is_a_line_and_the_front_ends_it(
    cli: Cli, url: str, loop: SimpleNamespace
) -> None:
    out = cli("search", "fashion", "--study", "demo", "--resume").out
    lines = [line for line in out.splitlines() if line.startswith("[")]
    assert len(lines) == 8 and lines[0].startswith("[1/8, 0 s, 1:00 left] #0 speed-up 1, images/s")
    assert "(quality reused) | jacobi" in lines[1]
    assert "failed, nan: the logits of <row> 3 are NaN" in lines[6]
    assert "3 of 7" in out and "paretoken report demo" in out
    assert "Law fingerprints took 0.5 s, 1.0 % of measuring. 2 of them were known by one" in out
    assert "1 points of the front are left to measure afresh" in out


def test_json_has_standard_output_for_itself(cli: Cli, url: str, loop: SimpleNamespace) -> None:
    ran = cli("search", "fashion", "--study", "demo", "--json")
    assert [found["number"] for found in json.loads(ran.out)["front"]] == [4, 3, 1]
    assert ran.err.count("\n") == 8


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(
    cli: Cli, url: str, loop: SimpleNamespace
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    loop.search = stopped
    ran = cli("search", "fashion", "--study", "demo")
    assert ran.code == 130 and not ran.out
    assert "7 finished candidates are kept" in ran.err
    again = f"paretoken search fashion --study demo --resume --trials 30 --store {url}"
    assert again in ran.err
    ran = cli("search", "fashion", "--study", "new")
    assert ran.code == 130 and "0 finished" in ran.err


def test_an_error_of_the_search_is_one_line(cli: Cli, url: str, loop: SimpleNamespace) -> None:
    def refused(*_: object) -> None:
        raise BadInput("no.")

    loop.search = refused
    ran = cli("search", "fashion", "--study", "demo")
    assert (ran.code, ran.out, ran.err) == (2, "", "error: no.\n")
    assert cli("search", "fashion", "--study", "demo", "--option", "gpt").code == 2


def test_a_terminal_sees_phase_time_and_front(store: Store) -> None:
    console = Console(force_terminal=True, width=150, record=True)
    last = store.trials("demo")[-1]
    with watching(console, lambda: store.study("demo"), lambda: read(store, "demo")) as watch:
        watch(Progress("quality: 128 of 500 images", 0.25, 0, 8, None, None))
        watch(Progress("speed", 0.5, 8, 8, 83.0, last))
        watch(Progress("quality: 3 of 500 images", 0.1, 8, None, 82.0, None))
    text = console.export_text()
    assert "quality: 3 of 500 images" in text and "1:22 left" in text
    assert "front so far: 3 of 7" in text and "grouped(size=4)" in text
    assert "failed: 1" in text
