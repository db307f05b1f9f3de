"""Suggestions that know nothing of each other once they are begun: a row of the target each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from paretoken.evaluators.engine.suggester import Request


class Written:
    """following: from logits [B, R, V] and the number of the token to the next tokens [B, R]."""

    def __init__(self, request: Request, following: Callable[[Tensor, int], Tensor]) -> None:
        self._streams, self._following, self._step = request.streams, following, 0
        rows, device = request.streams.rows, request.pending.device
        self._fed = request.pending.unsqueeze(-1).expand(-1, rows)
        length = request.streams.target.length
        self._tokens = torch.zeros(
            len(request.pending), rows, length, dtype=torch.int64, device=device
        )
        self._over = torch.zeros(len(request.pending), rows, dtype=torch.bool, device=device)

    @property
    def open(self) -> Tensor:
        return ~self._over.all(-1)

    def advance(self) -> None:
        said = self._following(self._streams.forward(self._fed), self._step)
        self._fed = torch.where(self._over, self._fed, said)
        self._tokens[..., self._step :] = self._fed.unsqueeze(-1)
        self._over = self._over | torch.isin(self._fed, self._streams.ends)
        self._step += 1

    def best(self) -> Tensor:
        return self._tokens
