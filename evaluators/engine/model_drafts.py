"""Drafts of a language model: a smaller one, or part of the target.

The model keeps a cache of its own. A round begins by feeding the last two tokens that stand: if all
drafts were kept, the last of them has not been fed yet, and otherwise feeding it again changes
nothing. So the cache holds what stands, however many drafts a row kept. Several drafts at a time
are chains side by side, each drawn by itself (for verifiers that take independent drafts), or begun
with one of the likeliest tokens and continued with the likeliest, which makes them certain.
Sources: Leviathan, Kalman and Matias (2023, arXiv:2211.17192); Sun et al., "SpecTr" (NeurIPS 2023,
arXiv:2310.15141).
"""

from __future__ import annotations

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


class ModelDrafts:
    """Drafts from `model`, level by level: drawn under the target's sampling law, or the likeliest.

    The length rule may end a draft early.
    """

    def __init__(self, model: TreeTarget, shape: Shape, drafter: ModelDrafter) -> None:
        assert shape.sampling is not None and shape.stop is not None
        if model.vocabulary != shape.vocabulary:
            raise BadInput(
                f"the draft model knows {model.vocabulary} tokens and the target "
                f"{shape.vocabulary}: name one of the same family."
            )
        self._model, self._shape, slots = model, shape, drafter.nodes
        self.capturable = model.capturable
        self._sampling, self._stop = shape.sampling, shape.stop
        self._certain = shape.sampling.certain or not drafter.independent
        # Drawn from a law that is certain, all drafts would be one.
        alike = self._certain and drafter.independent
        self._drafts = 1 if alike else min(int(drafter.drafts), shape.vocabulary)
        self._cache = model.allocate(shape.batch, False)
        rows, device = shape.batch, shape.device
        # The last two tokens of the prompt, then the sample with what overhangs it.
        size = 2 + shape.length + drafter.most
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
        if not self._certain:
            self._chance[rows] = uniforms(
                seed, Purpose.DRAFT, ids, self._shape.length, self._chance.shape[-1]
            )

    def propose(self, drafts: int) -> Proposal:
        shape, many = self._shape, self._drafts
        if not drafts:
            return self._nothing()
        parents = side_by_side(many, drafts)
        tokens, laws, valid = [], [], []
        goes = torch.ones(shape.batch, many, dtype=torch.bool, device=shape.device)
        last_two = self._count.unsqueeze(-1) + torch.arange(2, device=shape.device)
        feed, place = self._line.gather(1, last_two), self._count - 1
        logits, _ = self._model.forward(feed, place, self._cache, False)
        logits = logits[:, -1:].expand(-1, many, -1)
        for level in range(drafts):
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
            if level + 1 == drafts:
                break
            place = self._count + level + 1
            if many == 1:
                logits, _ = self._model.forward(token, place, self._cache, False)
            else:
                tree = tree_of(parents, shape.device)
                tree = tree.part(1 + level * many, 1 + (level + 1) * many)
                logits, _ = self._model.forward(token, self._count, self._cache, False, tree)
        found = len(tokens) * many
        return Proposal(
            torch.cat(tokens, 1),
            torch.cat(laws, 1).to(shape.dtype),
            torch.cat(valid, 1),
            parents[:found],
        )

    def _drafted(self, logits: Tensor, place: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Tokens [B, k] of a level and their laws [B, k, V], from logits [B, k, V]."""
        law = self._sampling.laws(logits, None, place)
        if not self._certain:
            return draw(law, self._uniforms(level)), law
        token = law.argmax(-1)
        if self._sampling.certain and self._drafts == 1:
            return token, law
        if level == 0:  # chains begin with the likeliest tokens, and stay apart
            token = logits[:, 0].topk(self._drafts, dim=-1).indices
        return token, one_hot(token, law.shape[-1], law.dtype)

    def observe(self, finished: Round) -> None:
        if self._drafts > 1:
            self._model.keep(finished.verdict.path, self._count, self._cache)
        self._line[:, 2:].copy_(finished.tokens[:, : self._line.shape[1] - 2])
        self._count.copy_(finished.count)
        self._round += 1

    def _uniforms(self, level: int) -> Tensor:
        """This round's uniforms [B, k] of one level."""
        table = self._chance[..., level * self._drafts : (level + 1) * self._drafts]
        at = self._round.clamp(max=table.shape[1] - 1).view(-1, 1, 1)
        return table.gather(1, at.expand(-1, 1, table.shape[2])).squeeze(1)

    def _nothing(self) -> Proposal:
        rows, device, shape = self._shape.batch, self._shape.device, self._shape
        empty = torch.empty(rows, 0, dtype=torch.int64, device=device)
        laws = torch.empty(rows, 0, shape.vocabulary, dtype=shape.dtype, device=device)
        return Proposal(empty, laws, empty.bool(), ())
