"""vLLM and SGLang, where they are installed, read what is exported for them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from paretoken.search.exporting.artefact import make
from paretoken.search.exporting.provenance import Chosen
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.errors import BadInput
from paretoken.spaces.objectives import Objective
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.records import Environment, Quantity, StudyInfo, Trial

ENGINES = ("vllm", "sglang")
DRAFTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "lookup": {"is": "drafters/prompt_lookup", "window": 6, "ngram": 3},
    "model": {"is": "drafters/small_model", "window": 4},
}
SPEED = Objective("tokens_per_s", "tokens/s", True, "")


def exported(engine: str, drafter: dict[str, Any], folder: Path) -> Path:
    """A folder with what is written for an engine."""
    decoder = {"is": "decoders/speculative", **({"drafter": drafter} if drafter else {})}
    parts = {
        "decoder": decoder,
        "sampling": {"is": "samplings/standard", "temperature": 0.0},
        "runtime": {"is": "runtimes/local", "dtype": "bfloat16"},
    }
    tree = to_tree(canonical(from_tree(parts)))
    speed = {"tokens_per_s": Quantity("tokens_per_s", 9.0, 0.1, 5, "tokens/s")}
    place = Environment("cuda NVIDIA H100", "paretoken 0.1.0, torch 2.14.1", "abc1234")
    trial = Trial(1, f"{1:032x}", tree, (), "done", speed, environment=place)
    options = {"model": "MODEL", "draft": "DRAFT"}
    study = StudyInfo("s", "text", "grid", 0, {}, (SPEED,), options, "")
    made = make(
        KINDS["exporters"].load(engine), Chosen(study, trial, "2026-01-01T00:00:00+00:00", trial),
        unverified=True,
    )  # fmt: skip
    for name, text in made.files().items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("drafter", DRAFTERS)
def test_engines_read_what_is_written_for_them(engine: str, drafter: str, tmp_path: Path) -> None:
    if find_spec(engine) is None:
        pytest.skip(f"needs pip install {engine}")
    folder = exported(engine, DRAFTERS[drafter], tmp_path)
    read = KINDS["readers"].load(engine)
    read(folder)
    file = folder / f"{engine}.yaml"
    written = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**written, "no-such-argument": 1}))
    with pytest.raises(BadInput, match=r"no.such.argument"):
        read(folder)
    if drafter == "none":
        return
    wrong = "speculative-config" if engine == "vllm" else "speculative-num-draft-tokens"
    value = {**written[wrong], "num_speculative_tokens": "many"} if engine == "vllm" else "many"
    file.write_text(yaml.safe_dump({**written, wrong: value}))
    with pytest.raises(BadInput, match="many"):
        read(folder)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_that_is_not_there_is_told(engine: str, tmp_path: Path) -> None:
    if find_spec(engine) is not None:
        pytest.skip(f"{engine} is installed here")
    with pytest.raises(BadInput, match=f"pip install {engine}, or leave out --check"):
        KINDS["readers"].load(engine)(exported(engine, {}, tmp_path))
