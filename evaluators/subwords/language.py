"""Language: a small causal model of a split's tokens, trained with a budget, judged in bits a byte.

Tokens are cut into rows as long as the model's context; each row is predicted from its own
beginning. The last row of held-out text is padded behind its end, where nothing is counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from paretoken.evaluators.models.llamagen import Transformer
from paretoken.evaluators.subwords.compute import operations, route, steps
from paretoken.evaluators.subwords.split import Ids, Part, Split
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.evaluators.training.domains import Domain, Format
from paretoken.evaluators.training.trainer import Recipe, Trainer
from paretoken.spaces.errors import MeasurementFailed

_JUDGED_AT_ONCE = 16  # rows: their logits over a large vocabulary take memory


@dataclass(frozen=True)
class Sizes:
    """Of the model and its training: the same for every tokenizer.

    context: tokens. budget: floating-point operations of training. precision: a name in torch.
    """

    dim: int
    layers: int
    context: int
    batch: int
    budget: float
    precision: str

    def recipe(self, vocabulary: int) -> Recipe:
        """How a model of so many entries is trained."""
        form = Format(vocabulary=vocabulary, height=1, width=self.context, classes=1)
        return Recipe(form.model(self.dim, self.layers), self.batch, self.precision)


class Language:
    """One split's model."""

    def __init__(
        self, split: Split, sizes: Sizes, artefacts: Artefacts, device: torch.device
    ) -> None:
        self._split, self._sizes = split, sizes
        self._artefacts, self._device = artefacts, device
        self._recipe = sizes.recipe(split.vocabulary)
        self.steps = steps(self._recipe.model, sizes.batch, sizes.budget)
        self.operations = operations(self._recipe.model)
        rows = full_rows(split.train.ids, sizes.context)
        if not len(rows):
            raise MeasurementFailed(
                "unsupported",
                f"the text to train on has {len(split.train.ids)} tokens, fewer than a context of "
                f"{sizes.context}: take a longer text, or a smaller --option context.",
            )
        self._held_out, self._lengths = padded_rows(split.held_out.ids, sizes.context)
        none = torch.zeros(len(rows), dtype=torch.int64)
        domain = Domain("text", rows, none, self._held_out, none[:1].expand(len(self._held_out)))
        identity = {"split": split.digest, "recipe": self._recipe.plain()}
        self.trainer = Trainer(self._recipe, [domain.to(device)], artefacts, identity, device)

    @property
    def bytes_seen(self) -> float:
        """Bytes of text that training sees, counted again where it sees them again."""
        tokens = self.steps * self._sizes.batch * self._sizes.context
        return tokens * self._split.train.bytes / len(self._split.train.ids)

    def train(self, seed: int, say: Callable[[int, int], None]) -> str:
        """Train, or find what was trained alike; returns the key of the weights."""
        return self.trainer.train(route(self.steps), seed, False, say)

    def bits_per_byte(self, key: str) -> float:
        """Of the held-out text, under the weights of a key; what is unknown is spelt."""
        found = self._artefacts.load(key, "weights")
        if found is None:
            raise MeasurementFailed(
                "lost", f"the trained weights {key} were there and are gone: measure again"
            )
        model = Transformer(replace(self._recipe.model))
        model.load_state_dict(found.tensors["weights"])
        model.to(self._device).eval()
        return bits_per_byte(nats(model, self._held_out, self._lengths), self._split.held_out)


def bits_per_byte(nats: float, of: Part) -> float:
    """nats: the negative log-likelihood of all tokens of `of`."""
    return (nats / math.log(2.0) + of.spelt_bits) / of.bytes


@torch.inference_mode()
def nats(model: Transformer, rows: Tensor, lengths: Tensor) -> float:
    """Negative log-likelihood of rows [n, N], of each its first lengths [n] tokens, in float32."""
    device = next(model.parameters()).device
    total = 0.0
    for tokens, real in zip(
        torch.split(rows, _JUDGED_AT_ONCE), torch.split(lengths, _JUDGED_AT_ONCE), strict=True
    ):
        tokens = tokens.long().to(device)
        logits = model(tokens, torch.zeros(len(tokens), dtype=torch.int64, device=device))
        loss = functional.cross_entropy(logits.mT, tokens, reduction="none")
        counted = torch.arange(tokens.shape[1], device=device) < real.to(device).unsqueeze(1)
        total += float((loss * counted).double().sum())
    return total


def full_rows(ids: Ids, context: int) -> Tensor:
    """int16 [n, N]: as many whole rows as there are."""
    rows = len(ids) // context
    return torch.from_numpy(ids[: rows * context].reshape(rows, context).astype(np.int16))


def padded_rows(ids: Ids, context: int) -> tuple[Tensor, Tensor]:
    """All tokens as int16 [n, N], and how many of each row are real."""
    rows = -(-len(ids) // context)
    padded = np.zeros(rows * context, dtype=np.int16)
    padded[: len(ids)] = ids
    lengths = torch.full((rows,), context)
    if rows:
        lengths[-1] = len(ids) - (rows - 1) * context
    return torch.from_numpy(padded.reshape(rows, context)), lengths
