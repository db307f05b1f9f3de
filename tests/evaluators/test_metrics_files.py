"""References and calibrations on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from paretoken.evaluators.metrics.distances import distances
from paretoken.evaluators.metrics.features import Features
from paretoken.evaluators.metrics.reference import ROWS, Reference
from paretoken.evaluators.metrics.spread import Calibration
from paretoken.spaces.errors import BadInput, Unreadable


def features(n: int, seed: int = 0, d: int = 12) -> Features:
    generator = torch.Generator().manual_seed(seed)
    return Features(
        torch.rand(n, d, generator=generator), torch.rand(n, 5, generator=generator), "toy@1:0"
    )


def test_a_reference_comes_back_as_it_was(tmp_path: Path) -> None:
    made = Reference.of_features(features(100), "first hundred")
    made.save(tmp_path / "reference.safetensors")
    read = Reference.load(tmp_path / "reference.safetensors")
    assert read.digest == made.digest
    assert (read.images, read.extractor, read.description) == (100, "toy@1:0", "first hundred")
    assert distances(features(40, 1), read) == distances(features(40, 1), made)
    assert [path.name for path in tmp_path.iterdir()] == ["reference.safetensors"]


def test_statistics_are_those_of_numpy() -> None:
    pool = features(100).pool.double().numpy()
    statistics = Reference.of_features(features(100)).statistics
    assert np.allclose(statistics["mu"], pool.mean(0), rtol=1e-12)
    sigma = np.cov(pool, rowvar=False)
    # Stored as fp32: relative error at most 2^-24.
    assert np.allclose(statistics["sigma"], sigma, rtol=2**-24, atol=0)


def test_a_file_of_1280_features_stays_below_20_mb() -> None:
    d = 1280
    assert 8 * d + 4 * d * (d + 1) // 2 + 2 * d * ROWS + 4096 < 20e6


def test_digest_depends_on_content_and_not_on_the_description() -> None:
    made = Reference.of_features(features(100), "a")
    assert made.digest == Reference.of_features(features(100), "b").digest
    assert made.digest != Reference.of_features(features(100, seed=1), "a").digest
    assert made.digest != Reference.of_features(features(100), "a", rows=50).digest


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def replace_by_text(path: Path) -> None:
    path.write_text("no reference at all, but long enough for a header")


def replace_by_foreign(path: Path) -> None:
    save_file({"weights": np.zeros(3)}, path)


def replace_by_incomplete(path: Path) -> None:
    save_file({"mean": np.zeros(3)}, path, {"format": "paretoken-reference/1"})


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "damage",
    [cut, flip, replace_by_text, replace_by_foreign, replace_by_incomplete, empty, Path.unlink],
)
def test_damaged_references_are_unreadable(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = tmp_path / "reference.safetensors"
    Reference.of_features(features(30)).save(path)
    damage(path)
    with pytest.raises(Unreadable, match=r"reference\.safetensors"):
        Reference.load(path)


def test_references_refuse_what_they_cannot_hold() -> None:
    with pytest.raises(BadInput, match="at least 2"):
        Reference.of_features(features(1))
    large = features(30)
    with pytest.raises(BadInput, match="fp16"):
        Reference.of_features(Features(large.pool * 1e6, large.logits, large.extractor))


def test_a_calibration_comes_back_as_it_was(tmp_path: Path) -> None:
    reference = Reference.of_features(features(60))
    made = Calibration.of({20: features(60, 1).split(20), 30: features(60, 1).split(30)}, reference)
    made.save(tmp_path / "calibration.json")
    assert Calibration.load(tmp_path / "calibration.json") == made


@pytest.mark.parametrize("content", ["", "[]", '{"extractor": "a"}', '{"points": {"fid": 3}}'])
def test_damaged_calibrations_are_unreadable(tmp_path: Path, content: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(content)
    with pytest.raises(Unreadable, match=r"calibration\.json"):
        Calibration.load(path)
    with pytest.raises(Unreadable, match=r"absent\.json"):
        Calibration.load(tmp_path / "absent.json")
