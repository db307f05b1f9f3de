"""A tokenizer that was written is read back as it was; what was changed is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer import Typer
from typer.testing import CliRunner

from paretoken.evaluators.image_tokenizers.family import ImageTokenizer, Learner, Sizes
from paretoken.evaluators.image_tokenizers.pictures import Pictures
from paretoken.evaluators.image_tokenizers.writing import load, main, save
from paretoken.spaces.errors import Unreadable

Family = Callable[..., ImageTokenizer]
Learnt = Callable[..., Learner | None]
SIZES = Sizes(16, 1, 8)


def test_what_is_written_codes_alike(
    name: str, family: Family, learnt: Learnt, some: Pictures, tmp_path: Path
) -> None:
    tokenizer = family(name)
    learner = learnt(tokenizer, some.train)
    coder = tokenizer.coder(learner, some.train)
    save(tokenizer, learner, SIZES, some.train, tmp_path / "to")
    again = load(tmp_path / "to")
    ids = coder.encode(some.held_out)
    assert torch.equal(ids, again.encode(some.held_out))
    assert torch.equal(coder.decode(ids, 1).images, again.decode(ids, 1).images)
    assert again.layout == coder.layout and again.kept == coder.kept


def test_what_was_changed_is_refused(
    family: Family, learnt: Learnt, some: Pictures, tmp_path: Path
) -> None:
    tokenizer = family("fsq")
    save(tokenizer, learnt(tokenizer, some.train), SIZES, some.train, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    other = {**config, "probe": [[0] * 64] * 8}
    (tmp_path / "config.json").write_text(json.dumps(other))
    with pytest.raises(Unreadable, match="other tokens"):
        load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "format": "other"}))
    with pytest.raises(Unreadable, match="its format is 'other'"):
        load(tmp_path)
    (tmp_path / "tokenizer.safetensors").write_bytes(b"damaged")
    with pytest.raises(Unreadable, match="no image tokenizer"):
        load(tmp_path)


def test_settings_of_other_searches_are_refused(tmp_path: Path) -> None:
    app = Typer()
    app.command()(main)
    (tmp_path / "of.json").write_text(json.dumps({"schema": 1, "from": {"workload": "fashion"}}))
    for file, says in (("none.json", "cannot read"), ("of.json", "no search of image tokenizers")):
        ran = CliRunner().invoke(app, [str(tmp_path / file), "--out", str(tmp_path / "to")])
        assert ran.exit_code == 2 and says in ran.output
