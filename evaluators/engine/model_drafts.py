"""Drafts of a language model: a smaller one, or part of the target.

The model keeps a cache of its own. A round begins by feeding the last two tokens that stand: if all
drafts were kept, the last of them has not been fed yet, and otherwise feeding it again changes
nothing. So the cache holds what stands, however many drafts a row kept.
Source: Leviathan, Kalman and Matias (2023, arXiv:2211.17192).
"""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.engine.drafter import Round, Shape
from paretoken.evaluators.engine.laws import draw
from paretoken.evaluators.engine.noise import Purpose, uniforms
from paretoken.evaluators.engine.proposal import Proposal
from paretoken.evaluators.engine.target import Target
from paretoken.evaluators.engine.windowed import Windowed
from paretoken.spaces.errors import BadInput


class ModelDrafter(Windowed):
    """A drafter with a model."""

    @property
    def has_law(self) -> bool:
        return True


class ModelDrafts:
    """Drafts [B, D] one after another from `model`, under the target's sampling law.

    slots: drafts in a round at most. The length rule may end a row's drafts early.
    """

    def __init__(self, model: Target, shape: Shape, slots: int) -> None:
        assert shape.sampling is not None and shape.stop is not None
        if model.vocabulary != shape.vocabulary:
            raise BadInput(
                f"the draft model knows {model.vocabulary} tokens and the target "
                f"{shape.vocabulary}: name one of the same family."
            )
        self._model, self._shape, self._slots = model, shape, slots
        self.capturable = model.capturable
        self._sampling, self._stop = shape.sampling, shape.stop
        self._cache = model.allocate(shape.batch, False)
        rows, device = shape.batch, shape.device
        # The last two tokens of the prompt, then the sample with what overhangs it.
        size = 2 + shape.length + slots + 1
        self._line = torch.zeros(rows, size, dtype=torch.int64, device=device)
        self._count = torch.zeros(rows, dtype=torch.int64, device=device)
        self._round = torch.zeros_like(self._count)
        self._chance = torch.zeros(rows, shape.length, slots, device=device)

    def reset(self, rows: Tensor, ids: Tensor, seed: int, classes: Tensor) -> None:
        self._model.begin(classes, rows, self._cache)
        for row, prompt in zip(rows.tolist(), classes.tolist(), strict=True):
            self._line[row, :2] = self._shape.target.contexts[prompt].tokens[-2:]
        self._count[rows] = 0
        self._round[rows] = 0
        if not self._sampling.certain:
            self._chance[rows] = uniforms(seed, Purpose.DRAFT, ids, self._shape.length, self._slots)

    def propose(self, drafts: int) -> Proposal:
        shape = self._shape
        tokens, laws, valid = [], [], []
        goes = torch.ones(shape.batch, dtype=torch.bool, device=shape.device)
        if drafts:
            last_two = self._count.unsqueeze(-1) + torch.arange(2, device=shape.device)
            feed, place = self._line.gather(1, last_two), self._count - 1
        for slot in range(drafts):
            logits, _ = self._model.forward(feed, place, self._cache, False)
            logits = logits[:, -1:]
            law = self._sampling.laws(logits, None, (self._count + slot).unsqueeze(-1))[:, 0]
            token = law.argmax(-1) if self._sampling.certain else draw(law, self._uniform(slot))
            tokens.append(token)
            laws.append(law)
            valid.append(goes)
            if self._stop.asks_law:
                on = self._stop.goes_on(logits[:, 0].softmax(-1), token)
                goes = goes if on is None else goes & on
                if shape.device.type == "cpu" and not goes.any():
                    break
            feed, place = token.unsqueeze(-1), self._count + slot + 1
        if not tokens:
            return self._nothing()
        return Proposal(
            torch.stack(tokens, 1),
            torch.stack(laws, 1).to(shape.dtype),
            torch.stack(valid, 1),
            tuple(range(-1, len(tokens) - 1)),
        )

    def observe(self, finished: Round) -> None:
        self._line[:, 2:].copy_(finished.tokens[:, : self._line.shape[1] - 2])
        self._count.copy_(finished.count)
        self._round += 1

    def _uniform(self, slot: int) -> Tensor:
        """This round's uniforms [B] of one slot."""
        table = self._chance[..., slot]
        at = self._round.clamp(max=table.shape[1] - 1).unsqueeze(-1)
        return table.gather(1, at).squeeze(-1)

    def _nothing(self) -> Proposal:
        rows, device, shape = self._shape.batch, self._shape.device, self._shape
        empty = torch.empty(rows, 0, dtype=torch.int64, device=device)
        laws = torch.empty(rows, 0, shape.vocabulary, dtype=shape.dtype, device=device)
        return Proposal(empty, laws, empty.bool(), ())
