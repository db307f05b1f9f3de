"""Where the data of continual pre-training come from: drawn once, or the real pictures."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from paretoken.evaluators.models.checkpoint import load_tokenizer
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.evaluators.workloads.continual.fashion_classes import (
    BUNDLED,
    DrawnClasses,
    RealClasses,
)
from paretoken.evaluators.workloads.fashion import TOKENIZER, data
from paretoken.spaces.errors import BadInput, Unreadable

CPU = torch.device("cpu")


def quiet(phase: str, share: float) -> None:
    """Nobody is told."""


@pytest.mark.slow
def test_images_are_drawn_once_and_are_those_that_are_bundled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = DrawnClasses(1, 1, Artefacts(tmp_path, "tokens"), CPU)
    old, new = source.load(quiet)
    assert old.tokens.shape == new.held_out.shape == (5, 256)
    first = load_file(BUNDLED)["tokens"][:20]
    rows = torch.cat([old.tokens, new.tokens, old.held_out, new.held_out])
    # A near-tie may fall the other way on another processor, and changes all behind it.
    assert int((rows == first).all(dim=1).sum()) >= 18

    def drawn_again(self: DrawnClasses, report: object) -> torch.Tensor:
        raise AssertionError("these are kept")

    monkeypatch.setattr(DrawnClasses, "draw", drawn_again)
    again, _ = DrawnClasses(1, 1, Artefacts(tmp_path, "tokens"), CPU).load(quiet)
    assert torch.equal(again.tokens, old.tokens)
    with pytest.raises(AssertionError, match="kept"):
        DrawnClasses(1, 2, Artefacts(tmp_path, "tokens"), CPU).load(quiet)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Thirty pictures to train on and twenty to test by, the classes in turn."""
    generator = torch.Generator().manual_seed(0)
    for stem, count in (("train", 30), ("t10k", 20)):
        images = torch.randint(256, (count, 28, 28), generator=generator, dtype=torch.uint8)
        labels = torch.arange(count).remainder(10).byte()
        for name, header, values in (("images-idx3", 16, images), ("labels-idx1", 8, labels)):
            with gzip.open(tmp_path / f"{stem}-{name}-ubyte.gz", "wb") as file:
                file.write(bytes(header) + values.numpy().tobytes())
    return tmp_path


def test_real_pictures_are_tokenised_and_split(pictures: Path) -> None:
    source = RealClasses(pictures, 2, 1, CPU)
    old, new = source.load(quiet)
    assert old.tokens.shape == (10, 256) and new.held_out.shape == (5, 256)
    assert old.classes.tolist() == [0, 1, 2, 3, 4] * 2
    assert new.held_out_classes.tolist() == [5, 6, 7, 8, 9]
    images, _ = data.load("train", pictures)
    tokens = load_tokenizer(TOKENIZER).encode(data.pixels(images[10:15]))
    assert torch.equal(old.tokens[5:], tokens.to(torch.int16))  # the second of classes 0 to 4


def test_other_pictures_are_other_data_and_missing_ones_are_told(
    pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = RealClasses(pictures, 2, 1, CPU).identity
    assert before != RealClasses(pictures, 1, 1, CPU).identity
    with pytest.raises(Unreadable, match="fewer than 4 train images"):
        RealClasses(pictures, 4, 1, CPU).load(quiet)
    file = pictures / "train-labels-idx1-ubyte.gz"
    with gzip.open(file, "wb") as changed:
        changed.write(bytes(8) + bytes(range(9, -1, -1)) * 3)
    assert before != RealClasses(pictures, 2, 1, CPU).identity
    with pytest.raises(BadInput, match="leave the option out"):
        _ = RealClasses(tmp_path_factory.mktemp("empty"), 2, 1, CPU).identity
