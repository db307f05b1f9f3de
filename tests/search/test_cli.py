"""The commands that read a store: what they print, and how they fail."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from paretoken.search.cli.main import COMMANDS
from paretoken.spaces.plugins import KINDS

Cli = Callable[..., Any]
PLAIN_ID = "a9a22d960d00"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_teaches_with_an_example(cli: Cli, command: str) -> None:
    ran = cli(command, "--help")
    assert ran.code == 0 and not ran.err
    assert f"paretoken {command}" in ran.out.replace(f"Usage: paretoken {command}", "")
    assert "--json" in ran.out


def test_the_root_lists_the_commands_and_knows_its_version(cli: Cli) -> None:
    for words in ((), ("--help",)):
        ran = cli(*words)
        assert ran.code == 0 and all(f" {command} " in ran.out for command in COMMANDS)
    assert cli("--version").out.startswith("paretoken 0.")


def test_front_is_the_one_worked_out_by_hand(cli: Cli, url: str) -> None:
    document = json.loads(cli("front", "demo", "--json").out)
    assert [found["number"] for found in document["front"]] == [4, 3, 1]  # fastest first
    assert [found["number"] for found in document["indistinguishable"]] == [7]
    assert document["done"] == 7 and document["failed"] == 1 and "trials" not in document
    assert document["front"][0]["quantities"]["speedup"]["value"] == pytest.approx(4.0)
    everyone = json.loads(cli("front", "demo", "--json", "--all").out)["trials"]
    assert [found["number"] for found in everyone] == list(range(8))
    assert everyone[6]["failure"]["reason"] == "nan"


def test_front_as_a_table_marks_its_rows(cli: Cli, url: str) -> None:
    ran = cli("front", "demo")
    assert ran.code == 0 and "3 of 7" in ran.out and "FID" in ran.out and "forwards" in ran.out
    rows = [line.split()[:2] for line in ran.out.splitlines() if "±" in line and " · " in line]
    assert rows == [["●?", "4"], ["●?", "3"], ["≈", "7"], ["●↺?", "1"]]  # 1 reuses plain's quality
    assert "plain decoding" in ran.out and "the logits of" not in ran.out
    assert "the logits of <row> 3 are NaN" in cli("front", "demo", "--all").out


def test_front_fits_a_narrow_terminal(cli: Cli, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = cli("front", "demo").out.splitlines()
    assert any("jacobi(window=16) · grouped(size=4)" in line for line in lines)
    assert all("…" not in line for line in lines)


def test_objectives_can_be_chosen(cli: Cli, url: str) -> None:
    found = json.loads(cli("front", "demo", "--json", "--objectives", "fid").out)
    assert {trial["number"] for trial in found["front"]} == {0, 1, 2}  # equally good
    ran = cli("front", "demo", "--objectives", "fidd")
    assert ran.code == 2 and "Did you mean 'fid'?" in ran.err and not ran.out


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ((), 4),
        (("--where", "fid <= 60"), 3),
        (("--where", "fid <= 60", "--minimize", "fid"), 1),  # ties go to the faster
        (("--where", 'verifier == "exact"'), 1),
        (("--maximize", "kid"), 5),
    ],
)
def test_best_takes_the_best_that_meets_the_condition(
    cli: Cli, url: str, words: tuple[str, ...], number: int
) -> None:
    assert json.loads(cli("best", "demo", "--json", *words).out)["number"] == number
    assert f" {number} " in cli("best", "demo", *words).out


def test_best_says_how_near_the_nearest_came(cli: Cli, url: str) -> None:
    ran = cli("best", "demo", "--where", "fid <= 49 and speedup >= 2")
    assert ran.code == 1 and not ran.out and ran.err.count("\n") == 1
    assert "fid = 50 (wanted <= 49)" in ran.err


def test_a_malformed_condition_is_one_clear_line_and_a_caret(cli: Cli, url: str) -> None:
    ran = cli("best", "demo", "--where", "fid <= 60 && x")
    assert ran.code == 2 and not ran.out
    assert ran.err.splitlines()[0] == ("error: --where, column 11: write 'and' instead of '&&'.")
    assert ran.err.splitlines()[2].endswith("^")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("front", "dmeo"), 2, "Did you mean 'demo'?"),
        (("report", "dmeo"), 2, "Did you mean 'demo'?"),
        (("front",), 2, "See 'paretoken front --help'."),
        (("frnt",), 2, "Did you mean 'front'?"),
        (("front", "demo", "--al"), 2, "--all"),
        (("search", "fashion", "--study", "x", "--trials", "none"), 2, "--trials"),
        (("search", "fashion"), 2, "--study"),
        (("show", "ffff"), 2, "ffff"),
        (("show", "not-hex"), 2, "not-hex"),
        (("plugins", "verifers"), 2, "Did you mean 'verifiers'?"),
        (("export", "demo", "--to", "jsn"), 2, "Did you mean 'json'?"),
        (("best", "demo", "--maximize", "fid", "--minimize", "fid"), 2, "--minimize"),
        (("front", "demo", "--store", "sqlite:///absent.db"), 1, "absent.db"),
        (("front", "demo", "--store", "sqlite:///text.db"), 1, "text.db"),
        (("front", "demo", "--store", "sqlite:///folder"), 1, "folder"),
        (("front", "demo", "--store", "nonsense"), 2, "sqlite:///"),
    ],
)
def test_bad_input_is_one_line_on_stderr(
    cli: Cli, url: str, words: tuple[str, ...], code: int, said: str
) -> None:
    Path("text.db").write_text("this is no database, but a letter to whom it may concern")
    Path("folder").mkdir()
    ran = cli(*words)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("error: ") and ran.err.count("\n") == 1 and said in ran.err


def test_an_unexpected_error_points_to_debug(
    cli: Cli, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("paretoken.search.report.results.judge", broken)
    ran = cli("front", "demo")
    assert ran.code == 1 and ran.err.count("\n") == 1
    assert "unexpected RuntimeError: two lines (run with --debug" in ran.err
    assert "Traceback" in cli("front", "demo", "--debug").err


def test_studies_lists_what_the_store_holds(cli: Cli, url: str) -> None:
    (study,) = json.loads(cli("studies", "--json").out)
    assert study["name"] == "demo" and study["trials"] == {
        "done": 7,
        "stopped": 0,
        "failed": 1,
        "pending": 0,
    }
    assert "fid, images_per_s" in cli("studies").out


def test_show_tells_everything_about_a_candidate(cli: Cli, url: str) -> None:
    identity = json.loads(cli("best", "demo", "--json").out)["candidate"]
    found = json.loads(cli("show", identity[:8], "--json").out)
    assert found["candidate"] == identity and found["studies"] == [
        {"study": "demo", "number": 4, "state": "done"}
    ]
    assert [m["aspect"] for m in found["measurements"]] == ["quality", "speed"]
    assert found["settings"]["decoder"]["verifier"] == {"is": "verifiers/grouped", "size": 4}
    text = cli("show", identity[:8]).out
    assert "size = 4" in text and "images_per_s" in text and "demo (number 4, done)" in text


def test_plugins_tell_what_they_are_or_why_they_do_not_load(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporters = json.loads(cli("plugins", "exporters", "--json").out)
    assert not any(exporter["error"] for exporter in exporters)
    (own,) = [exporter for exporter in exporters if exporter["name"] == "json"]
    assert own["doc"].startswith("paretoken's own settings")

    def broken() -> Iterator[tuple[str, Any]]:
        yield "torn", ImportError("no module\ncalled x")

    monkeypatch.setitem(KINDS, "workloads", SimpleNamespace(package="p", working=broken))
    (torn,) = json.loads(cli("workloads", "--json").out)
    assert torn["error"] == "ImportError: no module called x"
    ran = cli("workloads")
    assert ran.code == 0 and "does not load: ImportError" in ran.out


_ABSENT = ("torch", "ray", "optuna", "transformers", "pyglove", "alembic", "pandas")
_PROBE = f"""
import sys
from paretoken.search.cli.main import main
code = main(sys.argv[1:])
found = [name for name in {_ABSENT!r} if name in sys.modules]
print("loaded:", *found, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize(
    "words",
    [
        ("front", "demo"),
        ("front", "demo", "--where", "verifier == 'grouped'"),
        ("best", "demo"),
        ("best", "demo", "--knee", "--budget", "fid<=+50%"),
        ("compare", "demo", "0", "3"),
        ("history", "demo"),
        ("studies",),
        ("show", PLAIN_ID),
        ("export", "demo"),
        ("report", "demo"),
    ],
)
def test_reading_a_store_loads_nothing_heavy(url: str, words: tuple[str, ...]) -> None:
    started = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-c", _PROBE, *words], capture_output=True, text=True, check=False
    )
    print(f"{words[0]}: {time.perf_counter() - started:.2f} s")
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.splitlines()[-1] == "loaded:"


def test_a_reader_that_goes_away_is_no_error(url: str) -> None:
    command = f"{sys.executable} -m paretoken.search front demo --all --json | head -1"
    ran = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert ran.stdout == "{\n" and ran.stderr == ""
