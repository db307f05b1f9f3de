"""Drafts that have laws of their own, and those of a language model: a smaller one, or part of the
target.

Such a model keeps a cache of its own. A round begins by feeding the last two tokens that stand: if
all drafts were kept, the last of them has not been fed yet, and otherwise feeding it again changes
nothing. So the cache holds what stands, however many drafts a row kept.
Source: Leviathan, Kalman and Matias (2023, arXiv:2211.17192).
"""

from __future__ import annotations

from abc import abstractmethod

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


class LawDrafts:
    """Drafts [B, D] one after another, each drawn from a law of the drafter's own under the
    target's sampling rule.

    slots: drafts in a round at most. The length rule may end a row's drafts early.
    """

    def __init__(self, shape: Shape, slots: int) -> None:
        assert shape.sampling is not None and shape.stop is not None
        self._shape, self._slots = shape, slots
        self._sampling, self._stop = shape.sampling, shape.stop
        rows, device = shape.batch, shape.device
        self._count = torch.zeros(rows, dtype=torch.int64, device=device)
        self._round = torch.zeros_like(self._count)
        self._chance = torch.zeros(rows, shape.length, slots, device=device)

    @abstractmethod
    def start(self, rows: Tensor, ids: Tensor, seed: int, classes: Tensor) -> None:
        """Read the prompts `classes` [n] of rows [n]."""

    @abstractmethod
    def first(self) -> Tensor:
        """Logits [B, V] of the first drafts, after what stands."""

    @abstractmethod
    def following(self, token: Tensor, slot: int) -> Tensor:
        """Logits [B, V] after drafts `token` [B], which are the `slot`-th of their rows."""

    def reset(self, rows: Tensor, ids: Tensor, seed: int, classes: Tensor) -> None:
        self.start(rows, ids, seed, classes)
        self._count[rows] = 0
        self._round[rows] = 0
        if not self._sampling.certain:
            self._chance[rows] = uniforms(seed, Purpose.DRAFT, ids, self._shape.length, self._slots)

    def propose(self, drafts: int) -> Proposal:
        shape = self._shape
        tokens: list[Tensor] = []
        laws, valid = [], []
        goes = torch.ones(shape.batch, dtype=torch.bool, device=shape.device)
        for slot in range(drafts):
            logits = self.following(tokens[-1], slot) if slot else self.first()
            law = self._sampling.laws(
                logits.unsqueeze(1), None, (self._count + slot).unsqueeze(-1)
            )[:, 0]
            token = law.argmax(-1) if self._sampling.certain else draw(law, self._uniform(slot))
            tokens.append(token)
            laws.append(law)
            valid.append(goes)
            if self._stop.asks_law:
                on = self._stop.goes_on(logits.softmax(-1), token)
                goes = goes if on is None else goes & on
                if shape.device.type == "cpu" and not goes.any():
                    break
        if not tokens:
            return self._nothing()
        return Proposal(
            torch.stack(tokens, 1),
            torch.stack(laws, 1).to(shape.dtype),
            torch.stack(valid, 1),
            tuple(range(-1, len(tokens) - 1)),
        )

    def observe(self, finished: Round) -> None:
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


class ModelDrafts(LawDrafts):
    """Drafts [B, D] of `model`."""

    def __init__(self, model: Target, shape: Shape, slots: int) -> None:
        super().__init__(shape, slots)
        if model.vocabulary != shape.vocabulary:
            raise BadInput(
                f"the draft model knows {model.vocabulary} tokens and the target "
                f"{shape.vocabulary}: name one of the same family."
            )
        self._model = model
        self._cache = model.allocate(shape.batch, False)
        # The last two tokens of the prompt, then the sample with what overhangs it.
        size = 2 + shape.length + slots + 1
        self._line = torch.zeros(shape.batch, size, dtype=torch.int64, device=shape.device)

    def start(self, rows: Tensor, ids: Tensor, seed: int, classes: Tensor) -> None:
        self._model.begin(classes, rows, self._cache)
        for row, prompt in zip(rows.tolist(), classes.tolist(), strict=True):
            self._line[row, :2] = self._shape.target.contexts[prompt].tokens[-2:]

    def first(self) -> Tensor:
        last_two = self._count.unsqueeze(-1) + torch.arange(2, device=self._shape.device)
        return self._logits(self._line.gather(1, last_two), self._count - 1)

    def following(self, token: Tensor, slot: int) -> Tensor:
        return self._logits(token.unsqueeze(-1), self._count + slot)

    def observe(self, finished: Round) -> None:
        super().observe(finished)
        self._line[:, 2:].copy_(finished.tokens[:, : self._line.shape[1] - 2])

    def _logits(self, tokens: Tensor, place: Tensor) -> Tensor:
        return self._model.forward(tokens, place, self._cache, False)[0][:, -1]
