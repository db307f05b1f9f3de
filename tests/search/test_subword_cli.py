"""The miniature of subword tokenizers: search, front and export on two CPU cores, for real."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paretoken.evaluators.subwords.corpus import english

tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("sentencepiece")
transformers = pytest.importorskip("transformers")

Cli = Callable[..., Any]


@pytest.mark.slow
def test_four_families_on_the_text_that_comes_with_python(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARETOKEN_STORE", f"sqlite:///{tmp_path / 'of.db'}")
    ran = cli(
        "search", "subword", "--study", "cuts", "--algorithm", "grid", "--json",
        "--set", "tokenizer.vocabulary=600", "--set", "tokenizer.words=metaspace",
        "--set", "tokenizer.digits=true", "--set", "tokenizer.normaliser=none,nfkc",
        "--set", "tokenizer.byte_fallback=false", "--set", "swe.cut=merges", "--trials", "9",
        "--option", "compute=4", "--option", "dim=32", "--option", "layers=1",
        "--samples", "2", "--observations", "1", "--no-confirm", "--device", "cpu",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    trials = json.loads(cli("front", "cuts", "--all", "--json").out)["trials"]
    told = cli("front", "cuts", "--all").out
    assert "byte-level BPE of 1,024" in told and "plain decoding" not in told
    done = [trial for trial in trials if trial["state"] == "done"]
    assert len(trials) == 9 and len(done) == 5  # NFKC changes this text: three dots for an ellipsis
    assert {t["failure"]["reason"] for t in trials if t["state"] == "failed"} == {"lossy"}
    held_out = sum(len(document.encode()) for document in english().held_out)
    for trial in done:
        found = trial["quantities"]
        assert found["tokens_per_byte"]["samples"] == held_out
        assert found["bits_per_byte"]["samples"] == 2 and found["bits_per_byte"]["spread"] > 0
        assert found["bits_per_byte"]["value"] < 5.0 < 8.0  # something was learnt
        assert found["encode_mb_per_s"]["value"] > 0
    assert len({trial["quantities"]["tokens_per_byte"]["value"] for trial in done}) == 5
    kept = {name: len(list((tmp_path / "of.artefacts" / name).rglob("manifest.json")))
            for name in ("tokenizers", "trained")}  # fmt: skip
    assert kept == {"tokenizers": 9, "trained": 10}
    shortest = min(done, key=lambda trial: trial["quantities"]["tokens_per_byte"]["value"])
    ran = cli("export", "cuts", "--minimize", "tokens_per_byte", "--to", "tokenizer-json",
              "--out", "cut", "--check")  # fmt: skip
    assert ran.code == 0, ran.err
    loaded = transformers.AutoTokenizer.from_pretrained("cut")
    tokens = sum(len(loaded(document)["input_ids"]) for document in english().held_out)
    assert tokens / held_out == shortest["quantities"]["tokens_per_byte"]["value"]
    assert cli("generate", "--settings", "cut/paretoken_export.json").code == 2
