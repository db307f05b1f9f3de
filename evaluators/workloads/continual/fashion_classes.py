"""Images of five classes of clothes, then of the other five, each as 256 tokens.

Either drawn from the bundled model, so that nothing has to be downloaded, or the real Fashion-MNIST
from a folder with its four .gz files. Drawn images are drawn once, and kept with the artefacts;
those of the usual size on a CPU, where that takes minutes, come with paretoken (`draw.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import safe_open
from torch import Tensor

from paretoken.evaluators.engine.decode import Decoding
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.models.checkpoint import load_tokenizer, load_transformer
from paretoken.evaluators.models.image_target import ImageTarget
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.evaluators.training.domains import Domain, Format
from paretoken.evaluators.workloads.fashion import TOKENIZER, TRANSFORMER, data
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.errors import BadInput, Unreadable
from paretoken.spaces.workload import Report

BUNDLED = Path(str(files("paretoken.evaluators.workloads.continual"))) / "tokens.safetensors"
SPLITS = ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9))
_FORMAT = Format(vocabulary=1024, height=16, width=16, classes=10)
_SEED = 20_241
# Token for token plain decoding, in a quarter of the forwards.
_DRAWN_BY = {
    "is": "decoders/speculative",
    "drafter": {"is": "drafters/jacobi", "window": 16, "coupling": "gumbel"},
}
_ROWS = {"cpu": 64, "cuda": 1024}


def _names() -> tuple[str, str]:
    old, new = (", ".join(data.CLASSES[c] for c in classes) for classes in SPLITS)
    return old, new


@dataclass(frozen=True)
class DrawnClasses:
    """each, held_out: images of every class, to train on and to judge by."""

    each: int
    held_out: int
    artefacts: Artefacts
    device: torch.device

    format = _FORMAT
    names = _names()

    @property
    def identity(self) -> Mapping[str, Any]:
        return {
            "data": "classes of clothes, drawn",
            "model": xxhash.xxh3_128_hexdigest(TRANSFORMER.read_bytes()),
            "each": self.each,
            "held_out": self.held_out,
            "seed": _SEED,
        }

    def load(self, report: Report) -> tuple[Domain, ...]:
        key = self.key
        with safe_open(BUNDLED, framework="pt") as bundled:
            known = (bundled.metadata() or {}).get("key")
            tokens = bundled.get_tensor("tokens") if known == key else None
        if tokens is None:
            kept = self.artefacts.load(key, "tokens")
            tokens = kept.tensors["tokens"]["tokens"] if kept else None
        if tokens is None:
            tokens = self.draw(report)
            self.artefacts.save(key, {"tokens": {"tokens": tokens}}, self.identity)
        classes = torch.arange(len(tokens)) % len(data.CLASSES)
        train = self.each * len(data.CLASSES)
        return split(tokens[:train], classes[:train], tokens[train:], classes[train:])

    @property
    def key(self) -> str:
        """The name of the tokens, among artefacts."""
        return xxhash.xxh3_128_hexdigest(json.dumps(self.identity, sort_keys=True).encode())

    def draw(self, report: Report) -> Tensor:
        """Tokens int16 [n, 256], classes in turn; those to judge by come last."""
        candidate = from_tree({"decoder": _DRAWN_BY})
        transformer, tokenizer = load_transformer(TRANSFORMER), load_tokenizer(TOKENIZER)
        geometry = Geometry(
            transformer.tok_embeddings.weight.detach().float().to(self.device),
            tokenizer.quantize.embedding.weight.detach().to(self.device),
        )
        decoding = Decoding(
            ImageTarget(transformer, self.device, torch.float32), candidate.decoder,
            candidate.sampling, geometry, batch=_ROWS[self.device.type], seed=_SEED, graphs=False,
        )  # fmt: skip
        images = (self.each + self.held_out) * len(data.CLASSES)
        labels = torch.arange(images) % len(data.CLASSES)
        tokens, _ = decoding.run(
            labels, 0, lambda done, of: report(f"drawing images: {done} of {of}, once", done / of)
        )
        return tokens.to(torch.int16)


@dataclass(frozen=True)
class RealClasses:
    """folder: with the four files of Fashion-MNIST; for the others see `DrawnClasses`."""

    folder: Path
    each: int
    held_out: int
    device: torch.device

    format = _FORMAT
    names = _names()

    @property
    def identity(self) -> Mapping[str, Any]:
        files = sorted(self.folder.glob("*.gz"))
        if len(files) < 4:
            raise BadInput(
                f"--option data={self.folder} has {len(files)} .gz files, and Fashion-MNIST four: "
                "install Debian's package dataset-fashion-mnist, or leave the option out."
            )
        return {
            "data": "classes of clothes",
            "files": [xxhash.xxh3_128_hexdigest(file.read_bytes()) for file in files],
            "tokenizer": xxhash.xxh3_128_hexdigest(TOKENIZER.read_bytes()),
            "each": self.each,
            "held_out": self.held_out,
        }

    def load(self, report: Report) -> tuple[Domain, ...]:
        train, classes = self._tokens("train", self.each, report)
        held_out, held_out_classes = self._tokens("test", self.held_out, report)
        return split(train, classes, held_out, held_out_classes)

    @torch.inference_mode()
    def _tokens(self, part: str, each: int, report: Report) -> tuple[Tensor, Tensor]:
        """The first `each` images of every class."""
        tokenizer = load_tokenizer(TOKENIZER).to(self.device)
        images, classes = data.load(part, self.folder)
        nth = torch.zeros_like(classes)
        for one in range(len(data.CLASSES)):
            nth[classes == one] = torch.arange(int((classes == one).sum()))
        images, classes = images[nth < each], classes[nth < each]
        if len(images) < each * len(data.CLASSES):
            raise Unreadable(f"{self.folder} has fewer than {each} {part} images of some class.")
        found: list[Tensor] = []
        for piece in torch.split(images, 500):
            report(f"tokens of {part} images", len(found) * 500 / len(images))
            tokens = tokenizer.encode(data.pixels(piece.to(self.device)))
            found.append(tokens.to(torch.int16).cpu())
        return torch.cat(found), classes


def split(
    tokens: Tensor, classes: Tensor, held_out: Tensor, held_out_classes: Tensor
) -> tuple[Domain, ...]:
    """The two data sets of `SPLITS`."""
    found = []
    for name, chosen in zip(_names(), SPLITS, strict=True):
        train = torch.isin(classes, torch.tensor(chosen))
        test = torch.isin(held_out_classes, torch.tensor(chosen))
        found.append(
            Domain(name, tokens[train], classes[train], held_out[test], held_out_classes[test])
        )
    return tuple(found)
