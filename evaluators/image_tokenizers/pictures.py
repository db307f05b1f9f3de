"""Pictures: the images that tokenizers are trained and judged on, 32 x 32 and grey."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import Tensor

from paretoken.evaluators.image_tokenizers.autoregressive import digest
from paretoken.evaluators.models.checkpoint import load_tokenizer
from paretoken.evaluators.models.vq import to_uint8
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.evaluators.workloads.continual.fashion_classes import DrawnClasses
from paretoken.evaluators.workloads.fashion import TOKENIZER
from paretoken.evaluators.workloads.fashion.data import CLASSES, load
from paretoken.spaces.errors import BadInput, Unreadable
from paretoken.spaces.workload import Report

_AT_ONCE = 100
_BUNDLED = (40, 10)  # of every class, whose tokens come with paretoken


@dataclass(frozen=True)
class Pictures:
    """uint8 [n, 1, 32, 32] to train on and, never trained on, to judge by; their classes int64."""

    train: Tensor
    classes: Tensor
    held_out: Tensor
    held_out_classes: Tensor

    @cached_property
    def digest(self) -> str:
        """Of all pixels and classes."""
        state = xxhash.xxh3_128()
        for part in (self.train, self.classes, self.held_out, self.held_out_classes):
            state.update(f"{tuple(part.shape)}".encode())
            state.update(part.cpu().contiguous().numpy().tobytes())
        return state.hexdigest()


def real(folder: Path, train: int, held_out: int) -> Pictures:
    """The first so many of Fashion-MNIST's images to train on, and of those to test by."""
    files = sorted(folder.glob("*.gz"))
    if len(files) < 4:
        raise BadInput(
            f"--option data={folder} has {len(files)} .gz files, and Fashion-MNIST four: install "
            "Debian's package dataset-fashion-mnist, or leave the option out."
        )
    images, classes = load("train", folder)
    others, of_others = load("test", folder)
    if train > len(images) or held_out > len(others):
        raise Unreadable(
            f"{folder} has {len(images)} images to train on and {len(others)} to judge by, fewer "
            f"than {train} and {held_out}: lower --option train or --option images."
        )
    return Pictures(images[:train], classes[:train], others[:held_out], of_others[:held_out])


def drawn(
    train: int, held_out: int, folder: Path, device: torch.device, report: Report
) -> Pictures:
    """Images that the bundled model drew, decoded by the bundled tokenizer: nothing to download.

    They carry that tokenizer's traces, and show what it can write, no more. As many as come with
    paretoken (400 and 100) need no drawing. folder: of artefacts, where what was drawn or decoded
    is kept.
    """
    classes = len(CLASSES)
    each = max(_BUNDLED[0], -(-train // classes)), max(_BUNDLED[1], -(-held_out // classes))
    source = DrawnClasses(*each, Artefacts(folder, "tokens"), device)
    kept = Artefacts(folder, "pictures")
    key = digest(source.key, xxhash.xxh3_128_hexdigest(TOKENIZER.read_bytes()), train, held_out)
    found = kept.load(key, "pictures")
    if found is None:
        old, new = source.load(report)
        tokenizer = load_tokenizer(TOKENIZER)
        made = {}
        for name, of, wanted in (
            ("tokens", "classes", train), ("held_out", "held_out_classes", held_out)
        ):  # fmt: skip
            tokens, labels = (
                torch.cat([getattr(d, part) for d in (old, new)]) for part in (name, of)
            )
            order = _in_turn(labels)[:wanted]
            made[name] = _decoded(tokenizer, tokens[order], report)
            made[of] = labels[order]
        kept.save(key, {"pictures": made}, source.identity)
    else:
        made = found.tensors["pictures"]
    return Pictures(made["tokens"], made["classes"], made["held_out"], made["held_out_classes"])


def _in_turn(classes: Tensor) -> Tensor:
    """An order in which classes [n] come in turn, so that a beginning has all of them."""
    nth = torch.zeros_like(classes)
    for one in range(len(CLASSES)):
        nth[classes == one] = torch.arange(int((classes == one).sum()))
    return (nth * len(CLASSES) + classes).argsort()


@torch.inference_mode()
def _decoded(tokenizer: Any, tokens: Tensor, report: Report) -> Tensor:
    side = int(tokens.shape[1] ** 0.5)
    images: list[Tensor] = []
    for part in torch.split(tokens.long(), _AT_ONCE):
        report("images from tokens, once", len(images) * _AT_ONCE / len(tokens))
        images.append(to_uint8(tokenizer.decode(part, side, side)))
    return torch.cat(images)


def identity(pictures: Pictures) -> Mapping[str, Any]:
    """What results on equal images have in common, as plain JSON."""
    return {
        "images": pictures.digest,
        "train": len(pictures.train),
        "held_out": len(pictures.held_out),
    }
