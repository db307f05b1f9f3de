"""The miniature of continual pre-training: search, front and export on two CPU cores, for real."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paretoken.cache.store import Store

Cli = Callable[..., Any]

_SMALL = (
    "--option", "data=text", "--option", "steps=30", "--option", "each=20",
    "--option", "held_out=4", "--option", "dim=32", "--option", "layers=1",
    "--option", "batch=4", "--samples", "2", "--observations", "1", "--no-confirm",
    "--device", "cpu",
)  # fmt: skip


@pytest.mark.slow
def test_the_infinite_schedule_against_repeated_cosine_at_equal_compute(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARETOKEN_STORE", f"sqlite:///{tmp_path / 'of.db'}")
    grid = ("--space", "schedules-compared", "--algorithm", "grid")
    ran = cli(
        "search", "continual", "--study", "rates", *grid, *_SMALL, "--json",
        "--set", "training.schedule=infinite,wsd",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    trials = {
        trial["number"]: trial
        for trial in json.loads(cli("front", "rates", "--all", "--json").out)["trials"]
    }
    assert len(trials) == 3
    for trial in trials.values():
        found = trial["quantities"]
        assert found["steps"]["value"] == 60  # equal compute
        for name in ("new_loss", "old_loss", "forgetting", "shipped_loss"):
            assert found[name]["samples"] == 2 and found[name]["spread"] > 0
        assert found["new_loss"]["value"] < 5.5  # ln 256 = 5.545: something was learnt
        lost = found["old_loss"]["value"] - found["shipped_loss"]["value"]
        assert found["forgetting"]["value"] == pytest.approx(lost, abs=1e-9)
    losses = {trial["quantities"]["new_loss"]["value"] for trial in trials.values()}
    assert len(losses) == 3  # three schedules are three trainings
    kept = list((tmp_path / "of.artefacts" / "trained").rglob("manifest.json"))
    # Of each schedule and seed two models; and of those that anneal, the two branch points.
    assert len(kept) == 3 * 2 * 2 + 2 * 2 * 2
    # Nothing decodes here: number 0 goes by its own name, and no speed-up is spoken of.
    assert cli("report", "rates", "--out", "rates.html").code == 0
    page = (tmp_path / "rates.html").read_text()
    for told in (cli("front", "rates", "--all").out, cli("best", "rates").out, page):
        assert "plain decoding" not in told and "speed-up is against" not in told
    assert "repeated cosine" in cli("front", "rates", "--all").out and "repeated cosine" in page
    # Steps are equal for all, so the best is that of the next objective, and the axes are others.
    best = json.loads(cli("best", "rates", "--json").out)
    assert best["quantities"]["new_loss"]["value"] == min(losses)
    assert '"axes":["new_loss","forgetting"]' in page.replace(" ", "").replace("\n", "")
    grown = json.loads(cli("history", "rates", "--json").out)["reference"]
    assert set(grown) == {"steps", "new_loss"}  # those that the volume is made of
    ran = cli("export", "rates", "--out", "settings.json")
    assert ran.code == 0 and "generate" not in ran.out and "--to torch-schedule" in ran.out
    ran = cli("export", "rates", "--candidate", trials[0]["candidate"], "--check",
              "--to", "training-arguments", "--out", "hf")  # fmt: skip
    assert ran.code == 0, ran.err
    ran = cli("export", "rates", "--candidate", trials[1]["candidate"], "--to", "torch-schedule")
    assert ran.code == 0 and "LambdaLR" in ran.out
    refused = cli("export", "rates", "--candidate", trials[1]["candidate"],
                  "--to", "training-arguments")  # fmt: skip
    assert refused.code == 3 and "NOT_EXPRESSIBLE" in refused.err
    # Another anneal of a trunk that is there trains that anneal alone: 2 runs, 4 steps twice.
    ran = cli("search", "continual", "--study", "again", *grid, *_SMALL, "--json",
              "--set", "training.schedule=wsd", "--set", "wsd.shape=linear")  # fmt: skip
    assert ran.code == 0, ran.err
    with Store.open(f"sqlite:///{tmp_path / 'of.db'}") as store:
        linear = store.trials("again")[-1].candidate_id
        (quality,) = (m for m in store.measurements(linear) if m.aspect == "quality")
    assert (quality.detail["trained_steps"], quality.detail["spared_steps"]) == (16, 2 * (26 + 52))
    assert cli("generate", "--settings", "hf/paretoken_export.json").code == 2
