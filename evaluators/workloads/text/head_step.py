"""One step of a draft head's training, as one CUDA graph where there is a GPU.

A step is some thousand small kernels, which take longer to launch than to run. All of its shapes
are fixed, so that it can be captured: lines are padded, and positions are chosen by their rank.
The model reads its lines outside of the graph, in few and large kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from paretoken.evaluators.models.draft_head import DraftHead
from paretoken.evaluators.workloads.text.head_data import Answers

STATE_WEIGHT = 0.1  # of the distance of states, against a nat of cross-entropy
LATER = 0.8  # what a step ahead weighs against the one before
_EAGER = 3  # steps before a capture, in which libraries choose kernels and moments are allocated


class Lines(NamedTuple):
    """A model's view of lines: states [B, T, D], embeddings [B, T, D], answers from begins [B]
    to ends [B]."""

    states: Tensor
    embedded: Tensor
    begins: Tensor
    ends: Tensor


@torch.no_grad()
def seen_by(model: Any, answers: Answers, rows: Tensor) -> Lines:
    """Some rows [B] of answers as the model reads them; they and the answers may be anywhere."""
    rows = rows.to(answers.lines.device)
    lines, begins, ends = (
        part[rows].to(model.device).long() for part in (answers.lines, answers.begins, answers.ends)
    )
    states = model.base_model(input_ids=lines, use_cache=False).last_hidden_state
    return Lines(states, model.get_input_embeddings()(lines), begins, ends)


def foretold(head: DraftHead, lines: Lines, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Step by step the guessed states [B, T - 1, D], the u-th of which is for place u + 1, and
    which of them a draft of an answer would have needed [B, T - 1]."""
    states, embedded = lines.states[:, :-1], lines.embedded[:, 1:]
    pairs = states.shape[1]
    at = torch.arange(pairs, device=states.device)
    places = (at + 1).unsqueeze(0)
    back = at.unsqueeze(-1) - at  # how far each query [T - 1, 1] stands behind each key [1, T - 1]
    keys: list[Tensor] = []
    values: list[Tensor] = []
    for step in range(steps):
        fused = head.fused(states, embedded)
        query, key, value = head.projected(fused, places)
        keys.append(key)
        values.append(value)
        # A query that stands too early for this step sees itself alone; nobody needs it.
        seen = torch.cat([back >= step, *(back == step - 1 - j for j in range(step))], -1)
        guess = head.guessed(
            fused, query, torch.cat(keys, 2), torch.cat(values, 2), seen[None, None]
        )
        # It tells the law of the token at place u + 2, in a round whose pending token stood at
        # place u + 1 - step: the last of the prompt, or one of the answer.
        needed = (at + 2 < lines.ends.unsqueeze(-1)) & (
            at + 1 - step >= lines.begins.unsqueeze(-1) - 1
        )
        yield guess, needed
        states = functional.pad(guess[:, :-1], (0, 0, 1, 0))


def loss_of(
    head: DraftHead, output: Callable[[Tensor], Tensor], lines: Lines, steps: int, positions: int
) -> Tensor:
    """The loss, over so many positions of each step at most, chosen by chance.

    output: the model's output layer. Cross-entropy in nats.
    """
    truth = lines.states[:, 1:]
    scale = truth.float().pow(2).mean().sqrt()
    total, weights = torch.zeros((), device=truth.device), 0.0
    for step, (guess, needed) in enumerate(foretold(head, lines, steps)):
        rank = torch.rand(needed.numel(), device=truth.device).masked_fill(~needed.flatten(), -1.0)
        drawn = rank.topk(min(positions, needed.numel()))
        counts, chosen = drawn.values >= 0, drawn.indices
        wanted, told = (part.flatten(0, 1)[chosen] for part in (truth, guess))
        with torch.no_grad():
            law = output(wanted).float().softmax(-1)
        nats = -(law * output(told.to(wanted.dtype)).float().log_softmax(-1)).sum(-1)
        off = functional.smooth_l1_loss(
            told.float() / scale, wanted.float() / scale, reduction="none"
        ).mean(-1)
        both = (nats + STATE_WEIGHT * off).masked_fill(~counts, 0.0)
        total = total + LATER**step * both.sum() / counts.sum().clamp_min(1)
        weights += LATER**step
    return total / weights


class Step:
    """Trains `head` by a step at a time, on lines that are all of one shape.

    rate: of learning, [1], to be filled before a step. ahead: tokens that the head learns to draft
    in a row.
    """

    def __init__(self, head: DraftHead, output: Any, *, ahead: int, positions: int) -> None:
        self._head, self._output = head, output
        self._ahead, self._positions = ahead, positions
        device = next(head.parameters()).device
        self._captures = device.type == "cuda"
        self.rate = torch.zeros((), device=device)
        matrices = [p for p in head.parameters() if p.ndim > 1]
        vectors = [p for p in head.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}],
            self.rate, betas=(0.9, 0.95), fused=self._captures, capturable=self._captures,
        )  # fmt: skip
        self._lines: Lines | None = None
        self._loss = torch.zeros((), device=device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._taken = 0

    def restored(self) -> None:
        """The optimizer's state was loaded: it reads this step's rate again."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate

    def take(self, lines: Lines) -> Tensor:
        """One step; returns the loss, [] float32, which the next step writes over."""
        self._taken += 1
        if not self._captures or self._taken <= _EAGER:
            self._lines = lines
            self._update()
            return self._loss
        assert self._lines is not None
        if self._graph is None:
            self._lines = Lines(*(part.clone() for part in lines))
            self._capture()
        for kept, new in zip(self._lines, lines, strict=True):
            kept.copy_(new)
        assert self._graph is not None
        self._graph.replay()
        return self._loss

    def _capture(self) -> None:
        torch.cuda.synchronize()
        self.optimizer.zero_grad(set_to_none=True)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._update()

    def _update(self) -> None:
        assert self._lines is not None
        device = self._loss.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self._captures, cache_enabled=False):
            loss = loss_of(self._head, self._output, self._lines, self._ahead, self._positions)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self._head.parameters(), 1.0)
        self.optimizer.step()
        self._loss.copy_(loss.detach())
