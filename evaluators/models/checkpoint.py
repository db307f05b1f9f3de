"""Models from files: LlamaGen's published checkpoints, and the safetensors files written here.

Sizes come from the file: from its metadata if it has any, otherwise from the shapes of the weights.
Nothing in a file is executed, and every weight must fit: the official loaders skip what they do not
know, which turns a wrong file into a model that draws noise.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from torch import Tensor, nn

from paretoken.evaluators.models.llamagen import OFFICIAL_SIZES, Transformer, TransformerConfig
from paretoken.evaluators.models.vq import Tokenizer, TokenizerConfig
from paretoken.spaces.errors import BadValue, Unreadable

# Where training scripts put the weights: plain, DeepSpeed, Lightning.
_WRAPPERS = ("model", "module", "state_dict")
_NAMED = 3  # keys named in a message before it only counts them

Weights = dict[str, Tensor]
Model = TypeVar("Model", bound=nn.Module)


def load_transformer(path: Path, height: int = 16, width: int = 16) -> Transformer:
    """The transformer of a file such as c2i_B_256.pt, ready for decoding, in the file's type.

    height, width: the grid of tokens (24 x 24 for the *_384 files), which published checkpoints do
    not tell; a file with a configuration of its own knows better.
    """
    weights, metadata = read_weights(path)
    settings = _settings(path, metadata) or _transformer_sizes(path, weights, height, width)
    return _filled(path, lambda: Transformer(TransformerConfig(**settings)), weights)


def load_tokenizer(path: Path) -> Tokenizer:
    """The image tokenizer of a file such as vq_ds16_c2i.pt, ready for use, in float32.

    Half precision would save nothing that is measured, and eight bits do not hold a pixel.
    """
    weights, metadata = read_weights(path)
    settings = _settings(path, metadata) or _tokenizer_sizes(path, weights)
    return _filled(path, lambda: Tokenizer(TokenizerConfig(**settings)), weights).float()


def read_weights(path: Path) -> tuple[Weights, dict[str, str]]:
    """Weights by name, and the metadata (empty for anything but safetensors), on the CPU."""
    if not path.is_file():
        raise Unreadable(f"{path} is no file: name a checkpoint (.pt, .pth, .safetensors).")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                weights = {key: file.get_tensor(key) for key in file.keys()}
                return weights, file.metadata() or {}
        # Training scripts store their command line beside the weights; as data it is harmless.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for a damaged or foreign file
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
        raise Unreadable(
            f"{path} is truncated or no checkpoint ({reason}): fetch or write it again."
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise Unreadable(
            f"{path} holds no weights by name: they may stand alone or under one of "
            f"{', '.join(_WRAPPERS)}."
        )
    # torch.compile puts its own name before every key.
    return {key.removeprefix("_orig_mod."): value for key, value in content.items()}, {}


def _settings(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The configuration in a file's metadata, if there is one."""
    try:
        settings = json.loads(metadata.get("config", "{}"))
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise Unreadable(f"{path} has a configuration that is no JSON object: write it again.")
    return settings


def _shape(path: Path, weights: Weights, key: str, what: str, axes: int) -> list[int]:
    if key not in weights or weights[key].ndim != axes:
        raise Unreadable(
            f"{path} is no {what}: {key} is missing or has not {axes} axes. Name another file."
        )
    return list(weights[key].shape)


def _count(weights: Weights, pattern: str) -> int:
    """How many numbers the first group of a pattern takes among the keys."""
    return len({match[1] for key in weights if (match := re.match(pattern, key))})


def _transformer_sizes(path: Path, weights: Weights, height: int, width: int) -> dict[str, Any]:
    what = "class-conditional LlamaGen transformer"
    rows, _ = _shape(path, weights, "cls_embedding.embedding_table.weight", what, 2)
    vocabulary, dim = _shape(path, weights, "tok_embeddings.weight", what, 2)
    layers = _count(weights, r"layers\.(\d+)\.")
    heads = [size[2] for size in OFFICIAL_SIZES.values() if size[:2] == (dim, layers)]
    if not heads and dim % 64:
        raise BadValue(
            f"{path} has {layers} layers of dim {dim}, no published size, and does not tell its "
            "number of heads: write it as safetensors with its configuration as metadata."
        )
    return {
        "dim": dim,
        "layers": layers,
        "heads": heads[0] if heads else dim // 64,  # 64 numbers a head, as in all small sizes
        "vocabulary": vocabulary,
        "height": height,
        "width": width,
        "classes": rows - 1,
    }


def _tokenizer_sizes(path: Path, weights: Weights) -> dict[str, Any]:
    what = "LlamaGen image tokenizer"
    channels, image_channels, *_ = _shape(path, weights, "encoder.conv_in.weight", what, 4)
    codebook, code_dim = _shape(path, weights, "quantize.embedding.weight", what, 2)
    widths = [
        _shape(path, weights, f"encoder.conv_blocks.{i}.res.0.conv1.weight", what, 4)[0]
        for i in range(_count(weights, r"encoder\.conv_blocks\.(\d+)\."))
    ]
    return {
        "image_channels": image_channels,
        "channels": channels,
        "multipliers": [width // channels for width in widths],
        "blocks": _count(weights, r"encoder\.conv_blocks\.0\.res\.(\d+)\."),
        "z_channels": _shape(path, weights, "encoder.conv_out.weight", what, 4)[0],
        "codebook": codebook,
        "code_dim": code_dim,
    }


def _filled(path: Path, build: Callable[[], Model], weights: Weights) -> Model:
    """The model that `build` makes, with the weights of a file; each must have its place."""
    try:
        with torch.device("meta"):  # no memory and no random start
            model = build()
    except (TypeError, ValueError, RuntimeError, IndexError, ZeroDivisionError) as error:
        raise Unreadable(
            f"{path} tells sizes that no model can have ({error}): write or fetch it again."
        ) from error
    expected = model.state_dict()
    misshapen = [
        f"{key} ({_by(weights[key])}, not {_by(value)})"
        for key, value in expected.items()
        if key in weights and weights[key].shape != value.shape
    ]
    misfits = [
        *_listed("missing", [key for key in expected if key not in weights]),
        *_listed("unexpected", [key for key in weights if key not in expected]),
        *_listed("of another shape", misshapen),
    ]
    if misfits:
        raise Unreadable(
            f"{path} does not fit LlamaGen's {type(model).__name__.lower()}: {'; '.join(misfits)}. "
            "Name the file of such a model."
        )
    model.load_state_dict(weights, assign=True)
    # What is in no file, the rotary table, leaves "meta" with this.
    return model.to("cpu").eval().requires_grad_(False)


def _listed(fault: str, keys: list[str]) -> list[str]:
    if not keys:
        return []
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return [f"{fault}: {', '.join(keys[:_NAMED])}{more}"]


def _by(weight: Tensor) -> str:
    return "x".join(map(str, weight.shape)) or "a number"
