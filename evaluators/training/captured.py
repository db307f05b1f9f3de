"""A step of training as one CUDA graph: one launch in place of a thousand.

Compiling takes half a minute for every shape, capturing less than a second: it is for workloads
whose every candidate has shapes of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

_EAGER = 3  # steps before a capture, in which libraries choose kernels and moments are allocated


class CapturedStep:
    """loss: of tokens [B, N] int64 and classes [B], always of one shape. rate: [] on the device,
    which the optimizer reads; it is capturable."""

    def __init__(
        self,
        loss: Callable[[Tensor, Tensor], Tensor],
        optimizer: torch.optim.Optimizer,
        rate: Tensor,
        parameters: Sequence[nn.Parameter],
        clip: float,
    ) -> None:
        self._loss_of, self._optimizer, self._rate = loss, optimizer, rate
        self._parameters, self._clip = parameters, clip
        self._tokens = self._classes = torch.empty(0, device=rate.device)
        self._loss = torch.zeros((), device=rate.device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._taken = 0

    def take(self, tokens: Tensor, classes: Tensor, rate: float) -> Tensor:
        """One step; returns the loss, [] float32, which the next step writes over."""
        self._rate.fill_(rate)
        self._taken += 1
        if self._taken <= _EAGER:
            self._tokens, self._classes = tokens, classes
            self._update()
            return self._loss
        if self._graph is None:
            self._tokens, self._classes = tokens.clone(), classes.clone()
            torch.cuda.synchronize()
            self._optimizer.zero_grad(set_to_none=True)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._update()
        self._tokens.copy_(tokens)
        self._classes.copy_(classes)
        self._graph.replay()
        return self._loss

    def _update(self) -> None:
        loss = self._loss_of(self._tokens, self._classes)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self._parameters, self._clip)
        self._optimizer.step()
        self._loss.copy_(loss.detach())
