"""Drafts of a trained head, which reads the target's states.

A round begins by feeding as many of the last pairs that stand as a round can have added, with the
target's own states: the keys of drafts, which came from guessed states, are written over, and those
that are fed again do not change. So the cache holds what stands, however many drafts a row kept.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from paretoken.evaluators.engine.drafter import Round, Shape
from paretoken.evaluators.engine.history import History
from paretoken.evaluators.engine.model_drafts import LawDrafts
from paretoken.evaluators.models.draft_head import DraftHead


class HeadDrafts(LawDrafts):
    """Drafts [B, D] of `head` for the target of `shape`, `slots` of them in a round at most."""

    capturable = True

    def __init__(self, head: DraftHead, shape: Shape, slots: int) -> None:
        super().__init__(shape, slots)
        target, rows, device = shape.target, shape.batch, shape.device
        self._head = copy.deepcopy(head).to(device, target.dtype)
        self._embed = target.model.get_input_embeddings()
        self._output = target.model.get_output_embeddings()
        self._states: Tensor = target.keep_states(shape.cache)
        self._history, self._slots = History(shape, slots + 1), slots
        heads, size = head.config.heads, self._history.board.shape[1]
        kept = torch.zeros(2, rows, heads, size, head.config.width // heads, dtype=target.dtype)
        self._keys, self._values = kept.to(device)
        self._every = torch.arange(rows, device=device)
        self._places = torch.arange(size, device=device)

    def start(self, rows: Tensor, ids: Tensor, seed: int, classes: Tensor) -> None:
        self._history.reset(rows, ids, seed, classes)
        for row, prompt in zip(rows.tolist(), classes.tolist(), strict=True):
            size = len(self._shape.target.contexts[prompt].tokens)
            at = self._every[row : row + 1]
            tokens, places = self._history.board[at, 1:size], self._places[1:size].unsqueeze(0)
            self._guess(at, self._states[at, : size - 1], tokens, places)

    def first(self) -> Tensor:
        # The first token of a prompt makes no pair; the second one's may be fed several times.
        last = (self._history.end - 1).unsqueeze(-1)
        places = (last + torch.arange(-self._slots, 1, device=last.device)).clamp_min(1)
        every = (places - 1).unsqueeze(-1).expand(-1, -1, self._states.shape[-1])
        tokens = self._history.board.gather(1, places)
        return self._said(self._guess(self._every, self._states.gather(1, every), tokens, places))

    def following(self, tokens: Tensor, level: int) -> Tensor:
        # Of a row without a prompt, too, a guess looks at something.
        places = (self._history.end - 1 + level).clamp_min(1).unsqueeze(-1)
        return self._said(self._guess(self._every, self._state, tokens, places))

    def observe(self, finished: Round) -> None:
        super().observe(finished)
        self._history.observe(finished)

    def _guess(self, rows: Tensor, states: Tensor, tokens: Tensor, places: Tensor) -> Tensor:
        """The states [b, W, D] after tokens [b, W] at places [b, W] of rows [b], which follow
        `states`."""
        pairs = self._head.fused(states, self._embed(tokens))
        query, *new = self._head.projected(pairs, places)
        size = len(self._places)
        if places.device.type == "cpu":  # reading the places would stop a CUDA stream
            size = int(places.max()) + 1
        for kept, added in zip((self._keys, self._values), new, strict=True):
            kept[rows.unsqueeze(-1), :, places] = added.transpose(1, 2)
        whole = len(rows) == len(self._every)
        keys, values = (
            kept[:, :, :size] if whole else kept[rows, :, :size]
            for kept in (self._keys, self._values)
        )
        there = self._places[:size]
        seen = (there >= 1) & (there <= places.unsqueeze(-1))
        return self._head.guessed(pairs, query, keys, values, seen.unsqueeze(1))

    def _said(self, states: Tensor) -> Tensor:
        """Logits [B, 1, V] after the last of states [B, W, D], which the next draft goes on
        from."""
        self._state = states[:, -1:]
        logits: Tensor = self._output(self._state)
        return logits if logits.dtype == torch.float64 else logits.float()
