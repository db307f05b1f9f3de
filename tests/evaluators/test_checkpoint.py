"""Weights from files: every wrapper that is in use, and a clear word about every misfit."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from paretoken.evaluators.models import checkpoint
from paretoken.evaluators.models.checkpoint import load_tokenizer, load_transformer
from paretoken.evaluators.models.image_target import ImageTarget
from paretoken.evaluators.models.llamagen import Transformer, TransformerConfig
from paretoken.evaluators.models.vq import Tokenizer, TokenizerConfig
from paretoken.spaces.errors import BadValue, ParetokenError, Unreadable

GPT = TransformerConfig(dim=64, layers=2, heads=1, vocabulary=24, height=2, width=3, classes=4)
VQ = TokenizerConfig(
    image_channels=1, channels=32, multipliers=(1, 2), blocks=1, z_channels=32, codebook=24
)

Weights = dict[str, Tensor]


def weights_of(model: nn.Module) -> Weights:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.fixture
def gpt() -> Weights:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return weights_of(Transformer(GPT))


@pytest.fixture
def vq() -> Weights:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return weights_of(Tokenizer(VQ))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: {"model": w},
        lambda w: {"module": w, "dp_world_size": 8},
        lambda w: {"state_dict": w, "epoch": 3},
        lambda w: w,
        lambda w: {"model": {f"_orig_mod.{key}": value for key, value in w.items()}},
        lambda w: {"model": w, "args": argparse.Namespace(lr=1e-4), "steps": 5},
    ],
    ids=["model", "module", "state_dict", "bare", "compiled", "with its command line"],
)
def test_every_wrapper_is_unwrapped(
    wrap: Callable[[Weights], Any], gpt: Weights, tmp_path: Path
) -> None:
    path = tmp_path / "c2i.pt"
    torch.save(wrap(gpt), path)
    model = load_transformer(path, height=2, width=3)
    assert model.config == GPT
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, gpt[name]), name


def test_a_loaded_transformer_decodes_like_the_one_that_was_saved(
    gpt: Weights, tmp_path: Path
) -> None:
    torch.save(gpt, tmp_path / "c2i.pt")
    original = Transformer(GPT).eval()
    original.load_state_dict(gpt)
    loaded = load_transformer(tmp_path / "c2i.pt", height=2, width=3)
    tokens, classes = torch.arange(6).view(1, 6), torch.tensor([2])
    torch.testing.assert_close(loaded(tokens, classes), original(tokens, classes).detach())
    target = ImageTarget(loaded, torch.device("cpu"), torch.float64)
    cache = target.allocate(1, False)
    first = target.begin(classes, torch.zeros(1).long(), cache).unsqueeze(1)
    logits, _ = target.forward(first, torch.zeros(1).long(), cache, False)
    assert logits.isfinite().all()


def test_sizes_of_published_transformers_follow_from_the_shapes(tmp_path: Path) -> None:
    """24 layers of dim 3200 have 32 heads of 100, which no rule of thumb would say."""
    with torch.device("meta"):
        three = Transformer(TransformerConfig.named("3B"))
    sizes = checkpoint._transformer_sizes(tmp_path, three.state_dict(), 24, 24)
    assert TransformerConfig(**sizes) == TransformerConfig.named("3B", side=24)


def test_a_tokenizer_tells_its_sizes(vq: Weights, tmp_path: Path) -> None:
    torch.save({"model": vq}, tmp_path / "vq.pt")
    model = load_tokenizer(tmp_path / "vq.pt")
    assert model.config == VQ
    assert torch.equal(model.encoder.conv_in.weight, vq["encoder.conv_in.weight"])


def test_safetensors_carry_their_configuration(gpt: Weights, vq: Weights, tmp_path: Path) -> None:
    """The grid and the number of heads come with it; bfloat16 weights stay, or widen to decode."""
    for name, config, weights in (("gpt", GPT, gpt), ("vq", VQ, vq)):
        half = {key: value.bfloat16() for key, value in weights.items()}
        described = {"config": json.dumps(asdict(config))}
        save_file(half, tmp_path / f"{name}.safetensors", metadata=described)
    transformer = load_transformer(tmp_path / "gpt.safetensors")
    assert transformer.config == GPT
    assert transformer.output.weight.dtype is torch.bfloat16
    assert transformer.rotary.dtype is torch.float32
    tokenizer = load_tokenizer(tmp_path / "vq.safetensors")
    assert tokenizer.config == VQ
    weight = tokenizer.quantize.embedding.weight
    assert weight.dtype is torch.float32
    assert torch.equal(weight, vq["quantize.embedding.weight"].bfloat16().float())


def message(load: Callable[[Path], Any], path: Path, kind: type[ParetokenError]) -> str:
    with pytest.raises(kind) as caught:
        load(path)
    text = str(caught.value)
    assert "\n" not in text and str(path) in text
    return text


def test_a_missing_key_is_named(gpt: Weights, tmp_path: Path) -> None:
    del gpt["layers.1.ffn_norm.weight"]
    torch.save(gpt, tmp_path / "c2i.pt")
    text = message(load_transformer, tmp_path / "c2i.pt", Unreadable)
    assert "missing: layers.1.ffn_norm.weight." in text


def test_all_misfits_are_in_one_line(gpt: Weights, tmp_path: Path) -> None:
    for name in ("w1", "w2", "w3"):
        del gpt[f"layers.0.feed_forward.{name}.weight"]
    del gpt["norm.weight"], gpt["layers.0.ffn_norm.weight"]
    gpt["freqs_cis"] = torch.zeros(3)
    gpt["output.weight"] = torch.zeros(7, 64)
    torch.save(gpt, tmp_path / "c2i.pt")
    text = message(load_transformer, tmp_path / "c2i.pt", Unreadable)
    assert "missing: " in text and "and 2 more" in text
    assert "unexpected: freqs_cis" in text
    assert "output.weight (7x64, not 24x64)" in text


def test_the_wrong_model_is_told_apart(gpt: Weights, vq: Weights, tmp_path: Path) -> None:
    torch.save(gpt, tmp_path / "gpt.pt")
    torch.save(vq, tmp_path / "vq.pt")
    assert "tokenizer: encoder.conv_in" in message(load_tokenizer, tmp_path / "gpt.pt", Unreadable)
    assert "cls_embedding" in message(load_transformer, tmp_path / "vq.pt", Unreadable)


@pytest.mark.parametrize("name", ["cut.pt", "cut.safetensors"])
def test_a_truncated_file_is_told(name: str, gpt: Weights, tmp_path: Path) -> None:
    path = tmp_path / name
    save_file(gpt, path) if path.suffix == ".safetensors" else torch.save(gpt, path)
    whole = path.read_bytes()
    for kept in (len(whole) // 2, 100, 0):
        path.write_bytes(whole[:kept])
        assert "truncated or no checkpoint" in message(load_transformer, path, Unreadable)


@pytest.mark.parametrize("name", ["text.pt", "text.safetensors"])
def test_a_foreign_file_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("<html>Sign in to download</html>" * 50)
    assert "no checkpoint" in message(load_tokenizer, tmp_path / name, Unreadable)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    assert "is no file" in message(load_tokenizer, tmp_path / "none.pt", Unreadable)


class Harmful:
    """Unpickling this would call `Path.touch`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    torch.save({"model": Harmful(tmp_path / "executed")}, tmp_path / "harm.pt")
    message(load_transformer, tmp_path / "harm.pt", Unreadable)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "content", [{"epoch": 3}, [torch.zeros(2)], {"model": {"x": "text"}}], ids=str
)
def test_a_file_without_weights_is_told(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    assert "no weights by name" in message(load_transformer, tmp_path / "other.pt", Unreadable)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("{", "no JSON object"),
        ("[1]", "no JSON object"),
        ('{"depth": 3}', "sizes that no model can have"),
        ('{"dim": "wide"}', "sizes that no model can have"),
        ('{"dim": 30, "heads": 7}', "multiple of 4 * heads"),
        ('{"heads": 0}', "sizes that no model can have"),
    ],
)
def test_a_damaged_configuration_is_told(
    config: str, told: str, gpt: Weights, tmp_path: Path
) -> None:
    save_file(gpt, tmp_path / "x.safetensors", metadata={"config": config})
    assert told in message(load_transformer, tmp_path / "x.safetensors", Unreadable)


def test_an_unknown_number_of_heads_is_not_guessed(tmp_path: Path) -> None:
    model = Transformer(TransformerConfig(dim=48, layers=1, heads=3, vocabulary=8, classes=2))
    torch.save(model.state_dict(), tmp_path / "odd.pt")
    assert "number of heads" in message(load_transformer, tmp_path / "odd.pt", BadValue)
