"""Drafts that have laws of their own, and those of a language model: a smaller one, or part of the
target.

Such a model keeps a cache of its own. A round begins by feeding the last two tokens that stand: if
all drafts were kept, the last of them has not been fed yet, and otherwise feeding it again changes
nothing. So the cache holds what stands, however many drafts a row kept. Several drafts at a time
are chains side by side, each drawn by itself (for verifiers that take independent drafts), or begun
with one of the likeliest tokens and continued with the likeliest, which makes them certain.
Sources: Leviathan, Kalman and Matias (2023, arXiv:2211.17192); Sun et al., "SpecTr" (NeurIPS 2023,
arXiv:2310.15141).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from paretoken.evaluators.engine.drafter import Round, Shape
from paretoken.evaluators.engine.laws import draw, one_hot
from paretoken.evaluators.engine.noise import Purpose, uniforms
from paretoken.evaluators.engine.proposal import Proposal
from paretoken.evaluators.engine.several import Several
from paretoken.evaluators.engine.target import TreeTarget
from paretoken.evaluators.engine.tree import side_by_side, tree_of
from paretoken.spaces.component import knob
from paretoken.spaces.errors import BadInput


class ModelDrafter(Several):
    """A drafter with a model."""

    choice: str = knob(
        "drawn", among=("drawn", "likeliest"), doc="Drafts: of the sampling law, or the likeliest."
    )

    @property
    def has_law(self) -> bool:
        return True

    @property
    def independent(self) -> bool:
        return bool(self.choice == "drawn")


class LawDrafts(ABC):
    """Chains of drafts, level by level, from a law of the drafter's own under the target's sampling
    rule: drawn from it, or the likeliest.

    slots: drafts in a round at most. chains: so many side by side. The length rule may end a chain
    early.
    """

    def __init__(
        self, shape: Shape, slots: int, *, chains: int = 1, likeliest: bool = False
    ) -> None:
        assert shape.sampling is not None and shape.stop is not None
        self._shape, self._sampling, self._stop = shape, shape.sampling, shape.stop
        self._certain = shape.sampling.certain or likeliest
        # Drawn from a law that is certain, all drafts would be one.
        alike = self._certain and not likeliest
        self._chains = 1 if alike else min(chains, shape.vocabulary)
        rows, device = shape.batch, shape.device
        self._count = torch.zeros(rows, dtype=torch.int64, device=device)
        self._round = torch.zeros_like(self._count)
        self._chance = torch.zeros(rows, shape.length, slots, device=device)

    @abstractmethod
    def start(self, rows: Tensor, ids: Tensor, seed: int, classes: Tensor) -> None:
        """Read the prompts `classes` [n] of rows [n]."""

    @abstractmethod
    def first(self) -> Tensor:
        """Logits [B, 1, V] of the first drafts, after what stands."""

    @abstractmethod
    def following(self, tokens: Tensor, level: int) -> Tensor:
        """Logits [B, k, V] after drafts `tokens` [B, k], which are the `level`-th of their
        chains."""

    def reset(self, rows: Tensor, ids: Tensor, seed: int, classes: Tensor) -> None:
        self.start(rows, ids, seed, classes)
        self._count[rows] = 0
        self._round[rows] = 0
        if not self._certain:
            self._chance[rows] = uniforms(
                seed, Purpose.DRAFT, ids, self._shape.length, self._chance.shape[-1]
            )

    def propose(self, drafts: int) -> Proposal:
        shape, many = self._shape, self._chains
        if not drafts:
            return self._nothing()
        tokens: list[Tensor] = []
        laws, valid = [], []
        goes = torch.ones(shape.batch, many, dtype=torch.bool, device=shape.device)
        for level in range(drafts):
            logits = self.following(tokens[-1], level) if level else self.first()
            logits = logits.expand(-1, many, -1)
            after = (self._count + level).unsqueeze(-1).expand(-1, many)
            token, law = self._drafted(logits, after, level)
            tokens.append(token)
            laws.append(law)
            valid.append(goes)
            if self._stop.asks_law:
                on = self._stop.goes_on(logits.softmax(-1), token)
                goes = goes if on is None else goes & on
                if shape.device.type == "cpu" and not goes.any():
                    break
        return Proposal(
            torch.cat(tokens, 1),
            torch.cat(laws, 1).to(shape.dtype),
            torch.cat(valid, 1),
            side_by_side(many, len(tokens)),
        )

    def observe(self, finished: Round) -> None:
        self._count.copy_(finished.count)
        self._round += 1

    def _drafted(self, logits: Tensor, place: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Tokens [B, k] of a level and their laws [B, k, V], from logits [B, k, V]."""
        law = self._sampling.laws(logits, None, place)
        if not self._certain:
            return draw(law, self._uniforms(level)), law
        token = law.argmax(-1)
        if self._sampling.certain and self._chains == 1:
            return token, law
        if level == 0:  # chains begin with the likeliest tokens, and stay apart
            token = logits[:, 0].topk(self._chains, dim=-1).indices
        return token, one_hot(token, law.shape[-1], law.dtype)

    def _uniforms(self, level: int) -> Tensor:
        """This round's uniforms [B, k] of one level."""
        table = self._chance[..., level * self._chains : (level + 1) * self._chains]
        at = self._round.clamp(max=table.shape[1] - 1).view(-1, 1, 1)
        return table.gather(1, at.expand(-1, 1, table.shape[2])).squeeze(1)

    def _nothing(self) -> Proposal:
        rows, device, shape = self._shape.batch, self._shape.device, self._shape
        empty = torch.empty(rows, 0, dtype=torch.int64, device=device)
        laws = torch.empty(rows, 0, shape.vocabulary, dtype=shape.dtype, device=device)
        return Proposal(empty, laws, empty.bool(), ())


class ModelDrafts(LawDrafts):
    """Drafts of `model`, as `drafter` wants them."""

    def __init__(self, model: TreeTarget, shape: Shape, drafter: ModelDrafter) -> None:
        super().__init__(
            shape,
            drafter.nodes,
            chains=int(drafter.drafts),
            likeliest=not drafter.independent,
        )
        if model.vocabulary != shape.vocabulary:
            raise BadInput(
                f"the draft model knows {model.vocabulary} tokens and the target "
                f"{shape.vocabulary}: name one of the same family."
            )
        self.model = model
        self.capturable = model.capturable
        self._cache = model.allocate(shape.batch, False)
        # The last two tokens of the prompt, then the sample with what overhangs it.
        size = 2 + shape.length + drafter.most
        self._line = torch.zeros(shape.batch, size, dtype=torch.int64, device=shape.device)

    def start(self, rows: Tensor, ids: Tensor, seed: int, classes: Tensor) -> None:
        self.model.begin(classes, rows, self._cache)
        for row, prompt in zip(rows.tolist(), classes.tolist(), strict=True):
            self._line[row, :2] = self._shape.target.contexts[prompt].tokens[-2:]

    def first(self) -> Tensor:
        last_two = self._count.unsqueeze(-1) + torch.arange(2, device=self._shape.device)
        feed, place = self._line.gather(1, last_two), self._count - 1
        logits, _ = self.model.forward(feed, place, self._cache, False)
        return logits[:, -1:]

    def following(self, tokens: Tensor, level: int) -> Tensor:
        many = tokens.shape[1]
        if many == 1:
            place = self._count + level
            return self.model.forward(tokens, place, self._cache, False)[0]
        tree = tree_of(side_by_side(many, level), self._shape.device)
        tree = tree.part(1 + (level - 1) * many, 1 + level * many)
        return self.model.forward(tokens, self._count, self._cache, False, tree)[0]

    def observe(self, finished: Round) -> None:
        if self._chains > 1:
            self.model.keep(finished.verdict.path, self._count, self._cache)
        super().observe(finished)
        self._line[:, 2:].copy_(finished.tokens[:, : self._line.shape[1] - 2])
