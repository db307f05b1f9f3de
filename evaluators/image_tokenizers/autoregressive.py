"""Autoregressive: a small class-conditional transformer over a tokenizer's tokens.

Trained with the same arithmetic for every tokenizer (see `subwords.compute`), so that long
sequences get fewer steps; and never over more than so many passes of the images, after which a
model of few tokens would only learn them by heart. It tells how predictable tokens are, and draws
images.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import xxhash
from torch import Tensor
from torch.nn import functional

from paretoken.evaluators.engine.laws import draw
from paretoken.evaluators.engine.noise import Purpose, uniforms
from paretoken.evaluators.image_tokenizers.fitting import Fit, Recipe, Say
from paretoken.evaluators.image_tokenizers.layout import Layout
from paretoken.evaluators.models.llamagen import Transformer, TransformerConfig
from paretoken.evaluators.subwords.compute import operations
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.evaluators.training.trainer import Counts
from paretoken.spaces.errors import MeasurementFailed

CLASSES = 10
_PEAK = 2e-3
_PASSES = 40
_FEWEST = 10  # steps; fewer say nothing
_JUDGED_AT_ONCE = 64
_READ_IN = 64  # cache slots are read in whole pieces of so many
_LOOK_EVERY = 16  # tokens after which it is asked whether all sequences are over


@dataclass(frozen=True)
class Budget:
    """dim, layers: of the model. batch: sequences of a step. operations: floating-point operations
    of training. precision: a name in torch."""

    dim: int
    layers: int
    batch: int
    operations: float
    precision: str

    def model(self, layout: Layout) -> TransformerConfig:
        """The transformer of a layout, with heads of 32 numbers."""
        return TransformerConfig(
            dim=self.dim, layers=self.layers, heads=max(1, self.dim // 32),
            vocabulary=layout.entries, height=layout.height, width=layout.width, classes=CLASSES,
            dropout=0.1, class_dropout=0.0, multiple_of=32,
        )  # fmt: skip

    def steps(self, layout: Layout, images: int) -> int:
        """Optimizer steps; raises MeasurementFailed where the budget pays for next to none."""
        each = operations(self.model(layout)) * self.batch * layout.length
        found = min(int(self.operations / each), _PASSES * images // self.batch)
        if found < _FEWEST:
            raise MeasurementFailed(
                "unsupported",
                f"{self.operations / 1e9:g} GFLOPs and {images} images pay for {found} steps of "
                f"{self.batch} x {layout.length} tokens, and fewer than {_FEWEST} say nothing: "
                "raise --option compute or train, or lower model_batch.",
            )
        return found


class Model:
    """One tokenizer's model. ids: tokens int64 [n, T] of images to train on; classes: [n]."""

    def __init__(
        self, layout: Layout, ids: Tensor, classes: Tensor, budget: Budget, artefacts: Artefacts
    ) -> None:
        self._layout, self._budget, self._artefacts = layout, budget, artefacts
        self._device = ids.device
        self._ids, self._classes = ids.to(torch.int32), classes
        self._starts, self._barred = layout.starts(ids.device), layout.barred(ids.device)
        self.steps = budget.steps(layout, len(ids))
        self.counts = Counts()
        self._key = digest(
            "paretoken pictures 1", layout.sizes, layout.offsets, layout.height, layout.ends,
            xxhash.xxh3_128_hexdigest(self._ids.cpu().numpy().tobytes()), classes.tolist(),
            [budget.dim, budget.layers, budget.batch, self.steps, budget.precision],
        )  # fmt: skip
        self._model: Transformer | None = None

    def train(self, seed: int, say: Say) -> str:
        """Train, or find what was trained alike; returns the key."""
        key = digest(self._key, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = Transformer(self._budget.model(self._layout))
            model.initialise()
        self._model = model.to(self._device)
        recipe = Recipe(
            self.steps, self._budget.batch, _PEAK, self._budget.precision, weight_decay=0.05
        )
        fit = Fit(
            self._model, self._loss, len(self._ids), recipe, self._device, captured=True,
            counts=self.counts,
        )  # fmt: skip
        fit.train(key, self._artefacts, seed, say)
        self._model.eval()
        return key

    def _loss(self, picked: Tensor) -> Tensor:
        ids = self._ids[picked].long()
        nats = self._nats(ids, self._classes[picked])
        counted = self._layout.counted(ids)
        return (nats * counted).sum() / counted.sum()

    def _nats(self, ids: Tensor, classes: Tensor) -> Tensor:
        """Negative log-likelihood [n, T] of tokens [n, T] given those before, in nats."""
        assert self._model is not None
        entries = ids + self._starts
        logits = self._model(entries, classes).float()
        if self._barred is not None:
            logits = logits + self._barred
        # Flat: over the middle axis of three the kernels are several times slower.
        flat = functional.cross_entropy(logits.flatten(0, 1), entries.flatten(), reduction="none")
        return flat.view_as(entries)

    @torch.inference_mode()
    def bits(self, ids: Tensor, classes: Tensor, kept: int) -> Tensor:
        """Bits float64 [n] of the first `kept` tokens of held-out ids [n, T]."""
        found = []
        for part, of in zip(
            torch.split(ids, _JUDGED_AT_ONCE), torch.split(classes, _JUDGED_AT_ONCE), strict=True
        ):
            nats = self._nats(part, of) * self._layout.counted(part)
            found.append(nats[:, :kept].double().sum(1) / math.log(2.0))
        return torch.cat(found)

    @torch.inference_mode()
    def drawn(
        self, classes: Tensor, kept: int, seed: int, batch: int, say: Callable[[int, int], None]
    ) -> Tensor:
        """The first `kept` tokens int64 [n, kept] of images of these classes [n], in float32.

        The n-th image takes the same chances at every place, whatever the tokenizer and however
        many tokens are kept.
        """
        assert self._model is not None
        found: list[Tensor] = []
        for part in torch.split(classes, batch):
            done = sum(map(len, found))
            rows = done + torch.arange(len(part), device=self._device)
            uniform = uniforms(seed, Purpose.NEXT, rows, kept, 1)[..., 0]
            found.append(
                self._batch(part, uniform, lambda share, d=done, p=part: say(  # type: ignore[misc]
                    int(kept * (d + share * len(p))), kept * len(classes)
                ))
            )  # fmt: skip
        return torch.cat(found)

    def _batch(self, classes: Tensor, uniform: Tensor, say: Callable[[float], None]) -> Tensor:
        assert self._model is not None
        model, layout = self._model, self._layout
        rows, kept = uniform.shape
        cache = model.allocate(rows)
        fed = classes + layout.entries
        ids = torch.zeros(rows, kept, dtype=torch.int64, device=self._device)
        over = torch.zeros(rows, dtype=torch.bool, device=self._device)
        for place in range(kept):
            read = min(cache.slots, (place // _READ_IN + 1) * _READ_IN)
            positions = torch.full((rows,), place, device=self._device)
            logits = model.reference_window(fed.unsqueeze(1), positions, cache, read)[:, 0]
            if self._barred is not None:
                logits = logits + self._barred[place]
            token = draw(logits.softmax(-1), uniform[:, place]) - self._starts[place]
            if layout.ends:
                token = torch.where(over, layout.end, token)
                over = over | (token == layout.end)
            ids[:, place] = token
            fed = token + self._starts[place]
            if place % _LOOK_EVERY == 0:
                say(place / kept)
                if layout.ends and bool(over.all()):
                    ids[:, place + 1 :] = layout.end
                    break
        return ids


def digest(*parts: object) -> str:
    """xxh3-128 of plain JSON, in hex."""
    return xxhash.xxh3_128_hexdigest(json.dumps(parts, sort_keys=True).encode())
