"""Plug-ins of another package: installed by pip, listed, conforming, searched with, exported with.

The package is `tests/example_plugin`, which README.md shows. What is run here is run in processes
that find it where pip put it.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "example_plugin"
PARTS = {
    "verifiers": "sample_and_match",
    "metrics": "rouge_l",
    "workloads": "proofreading",
    "exporters": "mlx_lm",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pip installed the example into, without any index."""
    source = tmp_path_factory.mktemp("source") / "example"
    shutil.copytree(EXAMPLE, source)  # building leaves its traces beside the code
    place = tmp_path_factory.mktemp("installed")
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--no-index", "--no-deps",
            "--no-build-isolation", "--disable-pip-version-check", "--target", str(place),
            str(source),
        ],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return place


def paretoken(place: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command with what is installed in `place`, in a folder of its own."""
    known = [str(place), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, "-m", "paretoken.search", *words],
        cwd=folder, capture_output=True, text=True, timeout=300,
        env={
            **os.environ, "PYTHONPATH": os.pathsep.join(known), "OMP_NUM_THREADS": "1",
            "PARETOKEN_STORE": f"sqlite:///{folder / 'outside.db'}",
            "XDG_CACHE_HOME": str(folder / "cache"),
        },
    )  # fmt: skip


def checked(place: Path, folder: Path, kind: str, saved: Path) -> list[dict[str, Any]]:
    """The checks of a part of the example, as `plugins --check --json` tells them."""
    opened = {"model": saved, "draft": saved, "samples": 2, "tokens": 6, "device": "cpu"}
    options = [w for k, v in opened.items() for w in ("--option", f"{k}={v}")]
    done = paretoken(
        place, folder, "plugins", kind, "--check", PARTS[kind], "--json",
        *(options if kind == "workloads" else []),
    )  # fmt: skip
    assert done.stdout, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert done.returncode == int(any(one["problem"] for one in found))
    return found


def test_its_parts_are_listed(installed: Path, tmp_path: Path) -> None:
    done = paretoken(installed, tmp_path, "plugins", "--json")
    assert done.returncode == 0, done.stderr
    told = {(one["kind"], one["name"]): one for one in json.loads(done.stdout)}
    for kind, name in PARTS.items():
        found = told[kind, name]
        assert found["error"] is None and found["doc"]
    without = paretoken(tmp_path, tmp_path, "plugins", "verifiers", "--json")  # a control
    assert PARTS["verifiers"] not in without.stdout


@pytest.mark.parametrize("kind", PARTS)
def test_its_parts_conform(installed: Path, tmp_path: Path, saved: Path, kind: str) -> None:
    found = checked(installed, tmp_path, kind, saved)
    assert len(found) >= 4
    assert [one for one in found if one["problem"]] == []


# What makes a part wrong: file, what stands there, what stands there then, what the suite says.
WRONG = {
    "verifiers": (
        "sample_and_match.py", "(own == proposal.tokens) & ",
        "((own == proposal.tokens) | (chance.accept < 0.1)) & ", "another law than the target's",
    ),
    "metrics": ("rouge_l.py", "for said in answers]", "for said in answers[1:]]", "numbers for"),
    "workloads": ("proofreading.py", "metrics=(rouge_l,),", "metrics=(),", "rouge_l is missing"),
    "exporters": ("mlx_lm.py", '"--num-draft-tokens"', '"--draft-tokens"', "its own schema"),
}  # fmt: skip


@pytest.mark.parametrize("kind", PARTS)
def test_the_suite_notices_a_wrong_one(
    installed: Path, tmp_path: Path, saved: Path, kind: str
) -> None:
    file, right, wrong, said = WRONG[kind]
    place = tmp_path / "wrong"
    shutil.copytree(installed, place)
    module = place / "paretoken_example" / file
    text = module.read_text(encoding="utf-8")
    assert right in text
    module.write_text(text.replace(right, wrong), encoding="utf-8")
    problems = [one["problem"] for one in checked(place, tmp_path, kind, saved)]
    assert any(said in problem for problem in problems), problems


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A command that works: what it prints, read as JSON."""

    def ran(*words: str) -> dict[str, Any]:
        done = paretoken(installed, tmp_path, *words, "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return ran


def test_its_workload_is_searched_with_its_verifier_and_exported(
    run: Callable[..., Any], installed: Path, tmp_path: Path, saved: Path
) -> None:
    options = {"model": saved, "draft": saved, "samples": 2, "tokens": 8, "device": "cpu"}
    fixed = (
        "decoder=speculative", "decoder.drafter=small_model", "small_model.window=4",
        "small_model.drafts=1", "small_model.choice=drawn", "decoder.length=fixed",
        "decoder.verifier=exact,sample_and_match",
        "decoder.residual=exact", "sampling.temperature=1.0", "sampling.top_k=50",
        "sampling.top_p=1.0",
    )  # fmt: skip
    run(
        "search", "proofreading", "--study", "p", "--space", "text-decoding", "--algorithm", "grid",
        "--trials", "3", "--observations", "1", "--no-confirm",
        *(word for k, v in options.items() for word in ("--option", f"{k}={v}")),
        *(word for setting in fixed for word in ("--set", setting)),
    )  # fmt: skip
    best = run("best", "p", "--where", 'verifier == "sample_and_match"')
    assert 0.0 <= best["quantities"]["rouge_l"]["value"] <= 1.0
    # The draft is the target, so drafts are as likely as can be, and still some do not match.
    drafted = 'verifier == "exact" and drafter == "small_model"'
    exact = run("best", "p", "--where", drafted)
    kept, all_kept = (one["quantities"]["acceptance_rate"]["value"] for one in (best, exact))
    assert kept < all_kept == 1.0

    told = run("export", "p", "--where", 'verifier == "sample_and_match"', "--to", "mlx-lm")
    folder = tmp_path / told["out"]
    words = shlex.split((folder / "mlx_lm.args").read_text(encoding="utf-8"))
    assert dict(zip(words[::2], words[1::2], strict=True)) == {
        "--temp": "1.0", "--top-k": "50", "--top-p": "1.0", "--draft-model": str(saved),
        "--num-draft-tokens": "3",
    }  # fmt: skip
    sidecar = json.loads((folder / "paretoken_export.json").read_text(encoding="utf-8"))
    assert sidecar["candidate"]["decoder"]["verifier"] == {"is": "verifiers/sample_and_match"}
    assert sidecar["from"]["fingerprints"][0]["evidence"]["lossless"] == "claimed"
    # The exact rule keeps more drafts than mlx-lm would: refused, and the way out is named.
    refused = paretoken(
        installed, tmp_path, "export", "p", "--where", drafted, "--to", "mlx-lm", "--out", "no",
    )  # fmt: skip
    assert refused.returncode == 3 and "UNVERIFIED_SEMANTICS verifier = exact" in refused.stderr
    assert not (tmp_path / "no").exists()
