"""The miniature of image tokenizers: search, front, export and images on the CPU, for real."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("vector_quantize_pytorch")

Cli = Callable[..., Any]

_SMALL = (
    "--option", "train=160", "--option", "images=40", "--option", "steps=20",
    "--option", "width=16", "--option", "batch=8", "--observations", "1", "--no-confirm",
    "--device", "cpu",
)  # fmt: skip


@pytest.mark.slow
def test_five_families_on_two_hundred_drawn_pictures(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARETOKEN_STORE", f"sqlite:///{tmp_path / 'of.db'}")
    ran = cli(
        "search", "tokenizer", "--study", "few", "--space", "tokenizers-compared",
        "--algorithm", "grid", "--trials", "9", "--json", *_SMALL,
        "--set", "tokenizer=flextok,jpeg,tokenbridge,fsq",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    front = json.loads(cli("front", "few", "--all", "--json").out)
    trials = front["trials"]
    told = cli("front", "few", "--all").out
    assert "VQ of 512, 8 x 8" in told and "plain decoding" not in told
    assert "jpeg(quality=25" in told and "flextok(kept=8" in told
    assert len(trials) == 9 and {trial["state"] for trial in trials} == {"done"}
    families = {trial["settings"]["tokenizer"]["is"] for trial in trials}
    assert len(families) == 5
    for trial in trials:
        found = trial["quantities"]
        assert found["rfid"]["value"] > 0 and found["rfid"]["spread"] > 0
        assert 0 < found["bits"]["value"] <= found["raw_bits"]["value"] + 1e-9
        assert found["sequential_calls"]["value"] >= found["tokens"]["value"]
    # What is decoded differently was trained once: vq, fsq, tokenbridge and flextok.
    assert len(list((tmp_path / "of.artefacts" / "image_tokenizers").rglob("manifest.json"))) == 4
    ran = cli("front", "few", "--objectives", "psnr,bits,encode_ms", "--where", "bits < 1000")
    assert ran.code == 0, ran.err
    ran = cli("export", "few", "--minimize", "sequential_calls", "--out", "short.json")
    assert ran.code == 0, ran.err
    ran = cli(
        "generate", "--settings", "short.json", "--out", "drawn.png", "-n", "9",
        "--option", "compute=2", "--option", f"artefacts={tmp_path / 'of.artefacts'}",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    with Image.open("drawn.png") as drawn:
        assert drawn.size == (3 * 34 - 2, 3 * 34 - 2)
