"""Teach a draft head to foretell a model's states several tokens ahead.

At step 1 every pair of a line is fed with the model's own state. At step s it is fed with what the
head guessed at step s - 1, and sees what it would see while drafting its s-th token: the model's
pairs up to s - 1 places before, and the guesses of the steps between. The loss is the cross-entropy
against the model's law, and how far the guessed state is off.
Source: Li et al., EAGLE (ICML 2024, arXiv:2401.15077); the steps as in EAGLE-3 (2025,
arXiv:2503.01840).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from paretoken.evaluators.models.draft_head import DraftHead, HeadConfig
from paretoken.evaluators.resumable import Average, Run, cosine, restore, snapshot
from paretoken.evaluators.workloads.text.head_data import Answers

PEAK_RATE = 1e-3
WARM_UP = 100
STATE_WEIGHT = 0.1  # of the distance of states, against a nat of cross-entropy
LATER = 0.8  # what a step weighs against the one before
_PACE = 60  # steps after which the pace is known; less than WARM_UP, which needs no total
_RESERVE_S = 12.0


class Lines(NamedTuple):
    """A model's view of lines: states [B, T, D], embeddings [B, T, D], answers from begins [B]
    to ends [B]."""

    states: Tensor
    embedded: Tensor
    begins: Tensor
    ends: Tensor


@torch.no_grad()
def seen_by(model: Any, answers: Answers, rows: Tensor) -> Lines:
    """Some rows of answers as the model reads them."""
    ends = answers.ends[rows]
    lines = answers.lines[rows, : int(ends.max())].to(model.device).long()
    states = model.base_model(input_ids=lines, use_cache=False).last_hidden_state
    embedded = model.get_input_embeddings()(lines)
    return Lines(states, embedded, answers.begins[rows].to(model.device), ends.to(model.device))


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
    """The loss, over so many positions of each step at most.

    output: the model's output layer. Cross-entropy in nats.
    """
    truth = lines.states[:, 1:]
    scale = truth.float().pow(2).mean().sqrt()
    total, weights = torch.zeros((), device=truth.device), 0.0
    for step, (guess, needed) in enumerate(foretold(head, lines, steps)):
        chosen = needed.flatten().nonzero().squeeze(-1)
        if not len(chosen):
            break
        chosen = chosen[torch.randperm(len(chosen), device=chosen.device)[:positions]]
        wanted, told = (part.flatten(0, 1)[chosen] for part in (truth, guess))
        with torch.no_grad():
            law = output(wanted).float().softmax(-1)
        nats = -(law * output(told.to(wanted.dtype)).float().log_softmax(-1)).sum(-1).mean()
        off = functional.smooth_l1_loss(told.float() / scale, wanted.float() / scale)
        total = total + LATER**step * (nats + STATE_WEIGHT * off)
        weights += LATER**step
    return total / max(weights, 1.0)


@torch.no_grad()
def kept_at(
    head: DraftHead, model: Any, answers: Answers, steps: int, rows: int = 8
) -> tuple[list[float], list[float]]:
    """How well a head drafts answers, for each draft of a round.

    First, how often a draft is the model's favourite if those before it were: what exact greedy
    decoding keeps, on answers that are greedy. Second, the overlap sum(min(p, q)) of the two laws:
    what exact sampling keeps, on answers that were sampled.
    """
    found = torch.zeros(3, steps, dtype=torch.float64)
    tested = torch.zeros(steps, dtype=torch.float64)
    for part in torch.split(torch.arange(len(answers.lines)), rows):
        lines = seen_by(model, answers, part)
        output, truth = model.get_output_embeddings(), lines.states[:, 1:]
        before: Tensor | None = None
        for step, (guess, needed) in enumerate(foretold(head, lines, steps)):
            equal = torch.zeros_like(needed)
            p = output(truth[needed]).float().softmax(-1)
            q = output(guess[needed].to(truth.dtype)).float().softmax(-1)
            equal[needed] = p.argmax(-1) == q.argmax(-1)
            # The drafts before this one stood one place to the left each.
            asked = needed if before is None else needed & functional.pad(before[:, :-1], (1, 0))
            before = equal & asked
            found[0, step] += float(before.sum())
            found[1, step] += float(asked.sum())
            found[2, step] += float(torch.minimum(p, q).sum())
            tested[step] += float(needed.sum())
    chain = (found[0] / found[1].clamp_min(1)).tolist()
    return chain, (found[2] / tested.clamp_min(1)).tolist()


def train(
    model: Any,
    config: HeadConfig,
    answers: Answers,
    wanted: int | None,
    *,
    ahead: int,
    batch: int,
    positions: int,
    seed: int,
    run: Run,
    say: Callable[[str], None],
) -> tuple[DraftHead, int]:
    """Train for `wanted` steps, or as many as fit before the run's deadline; `ahead`: tokens that
    the head learns to draft in a row. Returns the averaged head and how many steps it took."""
    device = model.device
    torch.manual_seed(seed)
    head = DraftHead(config)
    head.initialise(seen_by(model, answers, torch.arange(min(64, len(answers.lines)))).states.cpu())
    head.to(device)
    matrices = [p for p in head.parameters() if p.ndim > 1]
    vectors = [p for p in head.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}],
        PEAK_RATE, betas=(0.9, 0.95), fused=device.type == "cuda",
    )  # fmt: skip
    average = Average(head, 0.998)
    output, first, steps = model.get_output_embeddings(), 0, wanted
    if "head" in run.state:
        saved = run.state["head"]
        restore(saved, head, optimizer, average)
        first, steps = saved["step"], saved["steps"] or steps
    planned = steps is not None
    steps = steps or 2**31
    begun, counted, recent = time.monotonic(), first, torch.zeros((), device=device)
    step = first - 1
    while (step := step + 1) < steps:
        if run.due():
            run.state["head"] = {
                "step": step, "steps": steps if planned else None,
                **snapshot(head, optimizer, average),
            }  # fmt: skip
            run.pause()
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * cosine(step, steps, min(WARM_UP, steps))
        lines = seen_by(model, answers, torch.randint(len(answers.lines), (batch,)))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = loss_of(head, output, lines, ahead, positions)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        average.update(step)
        recent = recent.lerp(loss.detach().float(), 0.02 if step > first else 1.0)
        if step == first + 10:  # kernels were chosen
            float(loss.detach())  # wait for the device
            begun, counted = time.monotonic(), step
        if not planned and step == first + _PACE:
            float(loss.detach())
            each = (time.monotonic() - begun) / (step - counted)
            left = run.deadline - _RESERVE_S - time.monotonic()
            steps, planned = step + 1 + max(0, int(left / each)), True
            say(f"{steps} steps fit into the time")
        if (step + 1) % min(200, max(1, steps // 4)) == 0:
            rate = (step + 1 - counted) / max(1e-9, time.monotonic() - begun)
            say(f"head {step + 1}/{steps}  loss {float(recent):.4f}  {rate:.1f} steps/s")
    average.adopt()
    for parameter in head.parameters():
        parameter.data = parameter.data.bfloat16().float()  # as it will be shipped
    return head.eval().requires_grad_(False), steps
