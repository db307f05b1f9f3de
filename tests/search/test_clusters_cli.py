"""The miniature of cluster granularity: sweep, front and drawing on two CPU cores, for real."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]

_SMALL = (
    "--option", "compute=40", "--option", "dim=32", "--option", "layers=1",
    "--option", "training_batch=4", "--samples", "40", "--batch", "4", "--observations", "1",
    "--no-confirm", "--device", "cpu",
)  # fmt: skip


@pytest.mark.slow
def test_a_sweep_over_the_number_of_clusters(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARETOKEN_STORE", f"sqlite:///{tmp_path / 'of.db'}")
    grid = ("--space", "granularity", "--algorithm", "grid", "--set", "clustering=balanced,kmeans")
    ran = cli(
        "search", "clusters", "--study", "sweep", *grid, *_SMALL, "--json", "--trials", "7",
        "--set", "clusters=1,32,1024",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    trials = json.loads(cli("front", "sweep", "--all", "--json").out)["trials"]
    # Of seven proposals two have settings that were seen: one cluster, and number 0.
    assert len(trials) == 5 and {trial["state"] for trial in trials} == {"done"}
    found: dict[float, list[Any]] = {}
    for trial in trials:
        quantities = trial["quantities"]
        found.setdefault(quantities["clusters"]["value"], []).append(quantities)
        assert quantities["fid"]["samples"] == 40 and quantities["images_per_s"]["value"] > 0
    # Both ends are one behaviour whoever clusters; between them there are two.
    assert {k: len({q["fid"]["value"] for q in of}) for k, of in found.items()} == {
        1.0: 1, 32.0: 2, 1024.0: 1
    }  # fmt: skip
    calls = {k: {q["target_forwards"]["value"] for q in of} for k, of in found.items()}
    assert calls == {1.0: {1.0}, 32.0: {257.0}, 1024.0: {256.0}}
    (one,) = {q["images_per_s"]["value"] for q in found[1.0]}
    assert one > 2 * max(q["images_per_s"]["value"] for q in found[1024.0])  # 15 where it is quiet
    assert {q["fine_bits"]["value"] for q in found[1024.0]} == {0.0}
    assert {q["coarse_bits"]["value"] for q in found[1.0]} == {0.0}
    # Two stages of two clusterings, and one at either end.
    kept = list((tmp_path / "of.artefacts" / "trained").rglob("manifest.json"))
    assert len(kept) == 2 * 2 + 2
    told = cli("front", "sweep", "--all").out
    assert "plain autoregression" in told and "plain decoding" not in told
    assert "clusters=32" in told
    assert cli("report", "sweep", "--out", "sweep.html").code == 0
    ran = cli("export", "sweep", "--maximize", "images_per_s", "--to", "json", "--out", "few.json")
    assert ran.code == 0, ran.err
    # Exported settings draw, with what was trained for them: nothing is trained anew.
    ran = cli(
        "generate", "--settings", "few.json", "--out", "few.png", "-n", "4",
        "--option", f"artefacts={tmp_path / 'of.artefacts'}",
    )  # fmt: skip
    assert ran.code == 0 and (tmp_path / "few.png").stat().st_size > 0, ran.err
    assert len(list((tmp_path / "of.artefacts" / "trained").rglob("manifest.json"))) == len(kept)
