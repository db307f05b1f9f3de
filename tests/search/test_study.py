"""The Python API is the command line, with frames; and every format holds the same."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import paretoken.search as api
from paretoken.cache.store import Store
from paretoken.search.loop import Plan
from paretoken.search.query.selecting import NothingMatches
from paretoken.spaces.errors import BadInput, UnknownName, Unreadable

Cli = Callable[..., Any]


@pytest.fixture
def study(url: str) -> Any:
    with api.Study.open(url, "demo") as opened:
        yield opened


def test_frames_say_what_the_command_line_says(study: Any, cli: Cli) -> None:
    front = study.front()
    told = json.loads(cli("front", "demo", "--json").out)["front"]
    assert list(front.number) == [4, 3, 1] == [found["number"] for found in told]
    assert list(front.fid) == [found["quantities"]["fid"]["value"] for found in told]
    assert list(front.speedup_spread) == [f["quantities"]["speedup"]["spread"] for f in told]
    assert list(front["decoder.verifier"]) == ["grouped", "grouped", "exact"]
    assert front["decoder.verifier.size"].isna().tolist() == [False, False, True]
    assert list(study.front("verifier == 'exact'").number) == [1]
    assert list(study.front(objectives="kid,target_forwards").number) == [1, 3, 4]
    trials = study.trials()
    assert list(trials.number) == list(range(8)) and trials.state[6] == "failed"
    assert trials.failure[6] == "nan" and pd.isna(trials.fid[6]) and trials.front.sum() == 3
    assert list(study.trials(budget="fid<=+2%").number) == [0, 1, 2]
    assert list(study.trials(budget=["fid<=+2%", "speedup>=+100%"]).number) == [1]


def test_best_is_a_row_and_history_a_frame(study: Any) -> None:
    assert study.best().number == 4 and study.best("fid <= 60").fid == 52.0
    assert study.best(knee=True).number == 3 and study.best(minimize="fid").number == 1
    assert study.best(budget="fid<=+2%")["decoder.verifier"] == "exact"
    history = study.history()
    assert list(history.volume) == [50, 125, 125, 149, 179, 179, 179]
    assert history.attrs["reference"] == {"fid": 100.0, "images_per_s": 0.0}
    assert history.evaluations.is_monotonic_increasing and history.seconds.is_monotonic_increasing
    compared = study.compare(0, 3).set_index("quantity")
    assert compared.difference["fid"] == 2.0
    assert compared.attrs["alike"] == {"quality": False, "speed": False}


def test_exports_are_paths(study: Any, url: str, tmp_path: Path) -> None:
    path = study.export(tmp_path / "tuned.json", where="fid <= 60")
    written = json.loads(path.read_text())
    assert written["candidate"]["decoder"]["verifier"] == {"is": "verifiers/grouped", "size": 2}
    with pytest.raises(BadInput, match="exists already"):
        study.export(path)
    with pytest.raises(BadInput, match="names one already"):
        study.export(path, candidate="a9", knee=True)
    other = api.export("demo", tmp_path / "other.json", store=url, candidate=study.best().candidate)
    assert json.loads(other.read_text())["candidate"]["decoder"]["verifier"]["size"] == 4


def test_the_functions_open_and_close_a_study(url: str) -> None:
    assert list(api.front("demo", store=url).number) == [4, 3, 1]
    assert api.best("demo", store=url, where="fid <= 60").number == 3
    with pytest.raises(UnknownName, match="Did you mean 'demo'"):
        api.front("dmeo", store=url)
    with pytest.raises(Unreadable, match="there is no store"):
        api.front("demo", store="sqlite:///absent.db")
    with pytest.raises(NothingMatches, match="the nearest is number"):
        api.best("demo", store=url, where="fid <= 1")
    with api.Study.open(url) as only:  # the one study there is
        assert only.name == "demo" and only.info.workload == "fashion"


def test_a_search_is_the_one_of_the_command_line(
    toy: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {
        "store": f"sqlite:///{tmp_path}/toy.db",
        "settings": {"decoder.verifier": "grouped", "grouped.size": [2, 4]},
        "algorithm": "random",
        "samples": 10,
        "folder": str(tmp_path),
        "confirm": False,
    }
    with api.search("toy", "one", trials=4, **asked) as found:
        trials = found.trials()
        assert len(trials) >= 4 and set(trials.state) == {"done"}
        assert set(trials["decoder.verifier.size"].dropna()) <= {2, 4}
        options = {"samples": 10, "folder": str(tmp_path)}
        assert found.info.options == options and found.info.algorithm == "random"
    assert capsys.readouterr().err  # a line a trial
    seen: list[Any] = []
    with api.search("toy", "one", resume=True, trials=5, watch=seen.append, **asked) as found:
        assert len(found.trials()) > len(trials) and seen
    with pytest.raises(BadInput, match="already"):
        api.search("toy", "one", **asked)


def test_python_can_ask_for_whatever_the_command_line_asks_a_search_for() -> None:
    asked = {field.name for field in fields(Plan)} - {"options"}
    assert asked <= set(inspect.signature(api.search).parameters)


@pytest.mark.parametrize(
    "words",
    [
        ("front", "demo"),
        ("front", "demo", "--all"),
        ("best", "demo", "--budget", "fid<=+4%"),
        ("compare", "demo", "0", "3"),
        ("history", "demo", "--all"),
        ("show", "a9a22d96"),
    ],
)
def test_every_format_holds_the_same(
    cli: Cli, url: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    for suffix in ("csv", "parquet", "json", "txt"):
        ran = cli(*words, "--out", f"found.{suffix}")
        assert (ran.code, ran.out, ran.err) == (0, "", f"wrote found.{suffix}\n")
    assert cli(*words, "--format", "csv").out == Path("found.csv").read_text()
    assert cli(*words, "--json").out == Path("found.json").read_text()
    assert cli(*words, "--out", "odd.xyz", "--format", "json").code == 0
    assert Path("odd.xyz").read_text() == Path("found.json").read_text()
    assert Path("found.txt").read_text().strip()
    of_csv, of_parquet = (
        pd.read_csv("found.csv", keep_default_na=False, na_values=[""]),
        pd.read_parquet("found.parquet"),
    )
    assert len(of_csv) == len(of_parquet) > 0 and list(of_csv) == list(of_parquet)
    for name in of_csv:
        both = (of_csv[name], of_parquet[name])
        assert both[0].isna().equals(both[1].isna()), name
        numbers = all(map(pd.api.types.is_numeric_dtype, both))
        for one, other in zip(*both, strict=True):
            assert pd.isna(one) or (one == other if numbers else str(one) == str(other)), name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--format", "parquet"), "name a file with --out FILE.parquet"),
        (("--format", "xml"), "no format is called 'xml'"),
        (("--format", "csv", "--json"), "disagree"),
        (("--out", "front.xls"), "ends in none of .txt, .json, .csv, .parquet"),
        (("--out", "folder.csv"), "is a folder"),
        (("--out", "absent/front.csv"), "cannot write"),
    ],
)
def test_formats_that_cannot_be_are_refused_and_nothing_is_written(
    cli: Cli, url: str, words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    (tmp_path / "folder.csv").mkdir()
    before = sorted(tmp_path.rglob("*"))
    ran = cli("front", "demo", *words)
    assert ran.code == 2 and not ran.out and said in ran.err and ran.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_settings_of_unlike_kinds_make_one_column_of_text(store: Store) -> None:
    from paretoken.search.frames import trials_frame
    from paretoken.search.report.results import judge
    from paretoken.spaces.records import Trial

    trees = ({"a": 1}, {"a": "x"}, {"a": None}, {"a": True}, {"a": [1, 2]}, {})
    trials = [Trial(n, f"{n:032x}", tree, (), "failed", {}) for n, tree in enumerate(trees)]
    frame = trials_frame(judge(store.study("demo"), trials), trials)
    assert frame["a"].astype(object).where(frame["a"].notna(), None).tolist() == [
        "1", "x", None, "true", "[1, 2]", None,
    ]  # fmt: skip


def test_importing_the_package_loads_nothing_else() -> None:
    program = (
        "import sys, paretoken.search\n"
        "print(sorted({'pandas', 'sqlalchemy', 'pyglove', 'paretoken.search.study'}"
        " & set(sys.modules)))\n"
        "import paretoken.search.exporting.artefact, paretoken.search.cli.search\n"
        "from paretoken.search import export, search\n"
        "print(export.__module__, search.__module__)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout.split("\n")[:2] == ["[]", "paretoken.search.study paretoken.search.begin"]
    with pytest.raises(AttributeError, match="no attribute 'fronts'"):
        _ = api.fronts
