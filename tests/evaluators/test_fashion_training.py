"""Training the fashion model, in miniature: all stages run, and interruptions change nothing."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import load_file
from torch import Tensor

from paretoken.evaluators.models.checkpoint import load_tokenizer, load_transformer
from paretoken.evaluators.models.llamagen import TransformerConfig
from paretoken.evaluators.models.vq import TokenizerConfig
from paretoken.evaluators.resumable import Average, OutOfTime, Run
from paretoken.evaluators.workloads.fashion import (
    data,
    tokenizer_training,
    train,
    transformer_training,
)
from paretoken.evaluators.workloads.fashion.views import VIEWS, seen
from paretoken.spaces.errors import Unreadable

TOKENIZER = TokenizerConfig(
    image_channels=1, channels=32, multipliers=(1, 2), blocks=1, z_channels=32, codebook=64
)
TRANSFORMER = TransformerConfig(dim=16, layers=1, heads=2, vocabulary=64, classes=10)


def write_pictures(folder: Path, count: int = 16) -> Path:
    """A data set in the format of the real one: smooth blobs."""
    generator = torch.Generator().manual_seed(0)
    for stem in ("train", "t10k"):
        centre = 28 * torch.rand(count, 2, 1, 1, generator=generator)
        grid = torch.arange(28.0)
        away = (grid.view(1, -1, 1) - centre[:, 0]) ** 2 + (grid - centre[:, 1]) ** 2
        images = (255 * torch.exp(-away / 40)).byte()
        labels = torch.arange(count).remainder(10).byte()
        for name, header, values in (("images-idx3", 16, images), ("labels-idx1", 8, labels)):
            with gzip.open(folder / f"{stem}-{name}-ubyte.gz", "wb") as file:
                file.write(bytes(header) + values.numpy().tobytes())
    return folder


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Small models, and a folder with a small data set."""
    monkeypatch.setattr(tokenizer_training, "CONFIG", TOKENIZER)
    monkeypatch.setattr(transformer_training, "CONFIG", TRANSFORMER)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine small models wait for their threads, ten times
    yield write_pictures(tmp_path)
    torch.set_num_threads(threads)


def run(out: Path, folder: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        train.main(
            out, folder, tokenizer_steps=6, transformer_steps=5, batch=4, views=3, device="cpu"
        )


def weights(out: Path) -> dict[str, Tensor]:
    return {
        f"{name}/{key}": value
        for name in ("tokenizer", "transformer")
        for key, value in load_file(out / f"{name}.safetensors").items()
    }


def test_stopping_anywhere_and_going_on_gives_the_same_weights(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(whole, tiny)
    calls = itertools.count(1)
    # Out of time at every third look at the clock: in both stages, before and after the freeze.
    monkeypatch.setattr(Run, "due", lambda self: next(calls) % 3 == 0)

    def pause(self: Run) -> None:
        self.save()
        raise OutOfTime

    monkeypatch.setattr(Run, "pause", pause)
    while not (broken / "transformer.safetensors").exists():
        run(broken, tiny)
    assert capsys.readouterr().out.count("resume with the same command") >= 4
    expected, found = weights(whole), weights(broken)
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_what_is_exported_loads_and_is_plain_llamagen(tiny: Path, tmp_path: Path) -> None:
    run(tmp_path / "out", tiny)
    transformer = load_transformer(tmp_path / "out" / "transformer.safetensors")
    tokenizer = load_tokenizer(tmp_path / "out" / "tokenizer.safetensors")
    assert (transformer.config, tokenizer.config) == (TRANSFORMER, TOKENIZER)
    assert not any("view" in key for key in transformer.state_dict())
    images, classes = data.load("test", tiny)
    logits = transformer.float()(tokenizer.encode(data.pixels(images)), classes)
    assert logits.isfinite().all()


def test_encoder_and_codebook_stand_still_once_frozen(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the decoder would be tuned to other codes than those it is shipped with."""
    kept: dict[str, Tensor] = {}
    freeze = tokenizer_training._freeze

    def remember(model: tokenizer_training.Tokenizer) -> None:
        freeze(model)
        kept.update({key: value.clone() for key, value in model.state_dict().items()})

    monkeypatch.setattr(tokenizer_training, "_freeze", remember)
    images, _ = data.load("train", tiny)
    with torch.random.fork_rng(devices=[]):
        model = tokenizer_training.train(
            images, 10, 4, 0, Run(tmp_path / "o", None), lambda _: None
        )
    for key, value in model.state_dict().items():
        if key.startswith(("encoder.", "quant_conv.", "quantize.")):
            assert torch.equal(value, kept[key].bfloat16().float()), key
    assert not torch.equal(model.decoder.conv_out.weight, kept["decoder.conv_out.weight"])


def test_every_view_keeps_the_whole_picture(tiny: Path) -> None:
    images, _ = data.load("train", tiny)
    assert images.shape[1:] == (1, 32, 32)
    assert VIEWS[0] == (0, 0, False) and len(set(VIEWS)) == len(VIEWS)
    assert torch.equal(seen(images, 0), images)
    for view, (right, down, mirrored) in enumerate(VIEWS):
        moved = seen(images, view)
        moved = moved.flip(3) if mirrored else moved
        inner = moved[:, :, 2 + down : 30 + down, 2 + right : 30 + right]
        assert torch.equal(inner, images[:, :, 2:30, 2:30])
        assert int(moved.long().sum()) == int(images.long().sum())


def test_an_average_starts_with_the_model_and_follows_it() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    average = Average(model, decay=0.5)
    with torch.no_grad():
        model.weight.fill_(1.0)
    average.values[0].zero_()
    for step in range(20, 23):  # late enough for the full decay
        average.update(step)
    assert float(average.values[0]) == pytest.approx(1 - 0.5**3)
    average.swap()
    assert float(model.weight.detach()) == pytest.approx(0.875) and float(average.values[0]) == 1.0


def test_missing_data_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="dataset-fashion-mnist"):
        data.load("train", tmp_path)


def test_damaged_data_is_told(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(Unreadable, match="no gzipped IDX file"):
        data.load("train", tmp_path)


def test_a_damaged_checkpoint_is_told(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "checkpoint.pt").write_bytes(b"PK nothing")
    with pytest.raises(typer.Exit) as caught:
        run(tmp_path / "out", tiny)
    assert caught.value.exit_code == 1
    assert "delete it to start anew" in capsys.readouterr().err
