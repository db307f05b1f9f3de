"""Recorded rows: raw logits of the real model on which decoders are compared without decoding.

They are recorded once per model, rounded to half precision and kept; from then on they are inputs,
the same in every process. What is computed from them is computed in float64 on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor

from paretoken.spaces.errors import Unreadable

SAMPLES = 8
STEP = 16  # every so many-th position of a sample is kept: 128 of 8 samples of 256 tokens
_NEVER = -60000.0  # a logit in half precision whose probability is 0 exactly
_SURE = 40.0


@dataclass(frozen=True, eq=False)
class RecordedRows:
    """Raw logits after real prefixes.

    conditional, unconditional: float16 [R, V]. draft: float16 [R, V], conditional logits one
    position earlier, from which drafts are imagined to come. index: int64 [R], the token of the
    sample that each row predicts. vocabulary: int64 [V], the tokens that the columns stand for,
    where only the likeliest of a large vocabulary were kept.
    """

    conditional: NDArray[np.float16]
    unconditional: NDArray[np.float16]
    draft: NDArray[np.float16]
    index: NDArray[np.int64]
    vocabulary: NDArray[np.int64] | None = None

    @classmethod
    def of(
        cls,
        conditional: Tensor,
        unconditional: Tensor,
        step: int = STEP,
        vocabulary: Tensor | None = None,
    ) -> RecordedRows:
        """Rows of a model's logits [n, N, V] on samples, every so many-th position of each.

        vocabulary: the tokens [V] that the columns are, where they are not all.
        """
        places = torch.arange(1, conditional.shape[1], step)
        return cls(
            conditional=_half(conditional[:, places]),
            unconditional=_half(unconditional[:, places]),
            draft=_half(conditional[:, places - 1]),
            index=np.tile(places.numpy(), len(conditional)),
            vocabulary=None if vocabulary is None else vocabulary.numpy(),
        )

    def dump(self) -> bytes:
        """The rows as bytes (safetensors)."""
        fields = {name: getattr(self, name) for name in _FIELDS}
        return save({name: value for name, value in fields.items() if value is not None})

    @classmethod
    def load(cls, data: bytes) -> RecordedRows:
        """What `dump` wrote; raises Unreadable."""
        try:
            return cls(**load(data))
        except (SafetensorError, TypeError) as error:
            raise Unreadable(
                f"the recorded rows in the store are damaged ({error}): use another store."
            ) from error

    @cached_property
    def logits(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Target conditional and unconditional and draft logits [R', V] in float64, index [R'].

        Behind the recorded rows come constructed ones, every ordered pair of which occurs as target
        and draft: all tokens alike; one sure; the best two alike; every other one impossible.
        """
        vocabulary = self.conditional.shape[1]
        kinds = torch.zeros(4, vocabulary, dtype=torch.float64)
        kinds[1, 0] = _SURE
        kinds[2] = -torch.arange(vocabulary).div(2, rounding_mode="floor").double().log1p()
        kinds[3, ::2] = _NEVER
        target = kinds.repeat_interleave(len(kinds), 0)
        draft = kinds.repeat(len(kinds), 1)
        recorded = (
            torch.from_numpy(part.astype(np.float64))
            for part in (self.conditional, self.unconditional, self.draft)
        )
        conditional, unconditional, drafted = recorded
        index = torch.from_numpy(self.index)
        return (
            torch.cat([conditional, target]),
            torch.cat([unconditional, target]),
            torch.cat([drafted, draft]),
            torch.cat([index, torch.arange(len(target))]),
        )


_FIELDS = ("conditional", "unconditional", "draft", "index", "vocabulary")


def _half(logits: Tensor) -> NDArray[np.float16]:
    """Logits [n, R, V] as float16 [n * R, V], within its range."""
    flat = logits.flatten(0, 1).float().clamp(_NEVER, -_NEVER)
    return np.ascontiguousarray(flat.half().numpy())
