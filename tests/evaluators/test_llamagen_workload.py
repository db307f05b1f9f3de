"""The workload llamagen: models in the official files' layout, tiny, measured on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from paretoken.evaluators.metrics import make_reference
from paretoken.evaluators.metrics.extractors import load_extractor
from paretoken.evaluators.metrics.reference import Reference
from paretoken.evaluators.models.llamagen import Transformer, TransformerConfig
from paretoken.evaluators.models.vq import Tokenizer, TokenizerConfig
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.errors import BadInput, ParetokenError, Unreadable
from paretoken.spaces.plugins import KINDS

# 64 numbers a head, as the loader takes it for sizes that were not published.
GPT = TransformerConfig(dim=64, layers=2, heads=1, vocabulary=24, height=3, width=3, classes=5)
VQ = TokenizerConfig(channels=32, multipliers=(1, 2, 1), blocks=1, z_channels=32, codebook=24)

Files = dict[str, Any]


def _save(model: nn.Module, path: Path) -> str:
    torch.save({"model": model.state_dict()}, path)
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("llamagen")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        gpt, vq = Transformer(GPT), Tokenizer(VQ)
        nn.init.normal_(gpt.output.weight, std=0.3)  # zero at the start: every law would be flat
        images = torch.randint(0, 256, (40, 20, 26, 3), dtype=torch.uint8).numpy()
    (folder / "photos" / "more").mkdir(parents=True)
    for i, image in enumerate(images):
        place = folder / "photos" / ("more" if i % 2 else ".") / f"{i:03}.png"
        Image.fromarray(image).save(place)
    reference = folder / "reference.safetensors"
    make_reference.of_folder(folder / "photos", load_extractor(), 12).save(reference)
    return {
        "gpt": _save(gpt, folder / "c2i_tiny.pt"),
        "vq": _save(vq, folder / "vq_tiny.pt"),
        "reference": str(reference),
        "side": 3,
        "device": "cpu",
    }


def _open(**options: Any) -> Any:
    return KINDS["workloads"].load("llamagen").open(**options)


def _silent(phase: str, share: float) -> None:
    """Nobody watches."""


def test_quality_is_measured_with_a_spread_over_four_sets(files: Files) -> None:
    workload = _open(**files, samples=80)
    observed = workload.judge(workload.sample(from_tree({}), 80, 0, _silent), _silent)
    found = {quantity.name: quantity for quantity in observed.quantities}
    assert found["fid"].samples == 80
    assert found["fid"].detail["n"] == 20 and found["fid"].detail["sets"] == 4
    assert found["fid"].value > 0 and found["fid"].spread > 0
    assert found["fid"].detail["reference"] == Reference.load(Path(files["reference"])).digest


def test_fewer_samples_are_judged_as_what_they_are(files: Files) -> None:
    workload = _open(**files, samples=100)
    workload.check_samples(80)
    with pytest.raises(BadInput, match="--samples 80 or more, not 79"):
        workload.check_samples(79)
    found = {}
    for samples in (80, 100):
        sampled = workload.sample(from_tree({}), samples, 0, _silent)
        assert sampled.tokens.shape[0] == samples
        found[samples] = workload.judge(sampled, _silent).quantities[0]
    assert [found[n].samples for n in (80, 100)] == [80, 100]
    assert found[80].comparable != found[100].comparable


def test_speed_is_measured_at_the_batch_that_was_named(files: Files) -> None:
    jacobi = from_tree(
        {
            "decoder": {
                "is": "decoders/speculative",
                "drafter": {"is": "drafters/jacobi", "window": 4, "coupling": "gumbel"},
            }
        }
    )
    observed = _open(**files, batch=3).speed(jacobi, _silent)
    found = {quantity.name: quantity for quantity in observed.quantities}
    assert found["images_per_s"].value > 0
    assert found["images_per_s"].detail["batch"] == 3
    assert 1 <= found["step_compression"].value <= 4


def test_images_have_the_size_that_side_and_stride_give(files: Files) -> None:
    images = _open(**files).generate({}, (0, 4), 3, 1, 0, _silent)
    assert images.shape == (3, 3, 12, 12) and images.dtype == np.uint8


@pytest.mark.parametrize(
    ("name", "side"),
    [("c2i_B_256", 16), ("c2i_X_384L", 24), ("c2i_L_384", 24), ("mine_512", 32), ("mine", 16)],
)
def test_the_grid_is_read_off_the_published_names(files: Files, name: str, side: int) -> None:
    gpt = Path(files["gpt"]).with_name(f"{name}.pt")
    gpt.write_bytes(Path(files["gpt"]).read_bytes())
    opened = _open(**{**files, "gpt": str(gpt), "side": None})
    images = opened._transformer.config
    assert (images.height, images.width) == (side, side)


@pytest.mark.parametrize("option", ["gpt", "vq", "reference"])
def test_a_missing_option_is_named_with_an_example(files: Files, option: str) -> None:
    given = {key: value for key, value in files.items() if key != option}
    with pytest.raises(BadInput, match=f"needs --option {option}=FILE") as caught:
        _open(**given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gpt": "/nowhere/c2i_B_256.pt"}, "--option gpt names a file; there is none at /nowhere"),
        ({"gtp": "c2i_B_256.pt"}, "no option gtp: it knows gpt, vq"),
        ({"samples": 79}, "--samples 80 or more, not 79"),
        ({"side": "16x16"}, "side is a number of tokens"),
        ({"side": True}, "side is a number of tokens"),
        ({"extractor": "lite1"}, "Did you mean 'lite0'"),
        ({"extractor": "inception"}, "carries no weights"),
        ({"device": "tpu"}, "no device is called|not supported"),
    ],
)
def test_a_wrong_option_is_answered_in_one_line(files: Files, options: Files, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        _open(**{**files, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", ["gpt", "vq", "reference"])
def test_a_truncated_file_is_named(files: Files, option: str, tmp_path: Path) -> None:
    whole = Path(files[option])
    cut = tmp_path / whole.name
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(Unreadable, match=whole.name) as caught:
        _open(**{**files, option: str(cut)})
    assert "\n" not in str(caught.value)


def test_files_that_do_not_belong_together_are_refused(files: Files, tmp_path: Path) -> None:
    other = Tokenizer(
        TokenizerConfig(channels=32, multipliers=(1, 1), blocks=1, z_channels=32, codebook=32)
    )
    with pytest.raises(BadInput, match=r"predicts 24 tokens, but .* has 32 codes"):
        _open(**{**files, "vq": _save(other, tmp_path / "other.pt")})
    swapped = {**files, "gpt": files["vq"], "vq": files["gpt"]}
    with pytest.raises(ParetokenError, match="no class-conditional LlamaGen transformer"):
        _open(**swapped)


def test_a_wrong_number_of_classes_is_refused(files: Files, tmp_path: Path) -> None:
    weights = torch.load(files["gpt"], weights_only=True)["model"]
    table = "cls_embedding.embedding_table.weight"
    torch.save({"model": weights | {table: weights[table][:1]}}, tmp_path / "none.pt")
    with pytest.raises(BadInput, match="1 row of class embeddings") as caught:
        _open(**{**files, "gpt": str(tmp_path / "none.pt")})
    assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="class 5 does not exist: the model knows 0 to 4"):
        _open(**files).generate({}, (0, 5), 2, 0, 0, _silent)


def test_a_reference_of_another_extractor_is_refused(files: Files, tmp_path: Path) -> None:
    known = Reference.load(Path(files["reference"]))
    foreign = Reference(known.mean, known.triangle, known.rows, known.images, "inception@299:0")
    foreign.save(tmp_path / "foreign.safetensors")
    with pytest.raises(BadInput, match="made with inception@299:0, not with lite0@64"):
        _open(**{**files, "reference": str(tmp_path / "foreign.safetensors")})


def _command(*words: str) -> Any:
    import typer

    app = typer.Typer()
    app.command()(make_reference.main)
    return CliRunner().invoke(app, list(words))


def test_the_command_writes_what_the_workload_reads(files: Files, tmp_path: Path) -> None:
    photos, out = Path(files["gpt"]).parent / "photos", tmp_path / "made.safetensors"
    done = _command(str(photos), "--size", "12", "--out", str(out), "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "40 images" in done.output
    assert Reference.load(out).digest == Reference.load(Path(files["reference"])).digest


def test_the_command_names_the_image_at_fault(files: Files, tmp_path: Path) -> None:
    for size in ((8, 8), (8, 9)):
        Image.new("RGB", size).save(tmp_path / f"{size[1]}.png")
    out = ("--out", str(tmp_path / "made.safetensors"), "--device", "cpu")
    done = _command(str(tmp_path), *out)
    assert done.exit_code == 2 and "give --size" in done.output
    (tmp_path / "8.png").write_bytes(b"no image")
    done = _command(str(tmp_path), *out)
    assert done.exit_code == 1 and "8.png is damaged" in done.output
    done = _command(str(tmp_path / "nothing"), *out)
    assert done.exit_code == 2 and "has 0" in done.output
