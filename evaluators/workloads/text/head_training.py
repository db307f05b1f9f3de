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
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from paretoken.evaluators.models.draft_head import DraftHead, HeadConfig
from paretoken.evaluators.resumable import Average, Run, cosine, restore, snapshot
from paretoken.evaluators.workloads.text.head_data import Answers
from paretoken.evaluators.workloads.text.head_step import Step, foretold, seen_by

PEAK_RATE = 1e-3
WARM_UP = 100
_PACE = 60  # steps after which the pace is known; less than WARM_UP, which needs no total
_RESERVE_S = 12.0


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
    rule = Step(head, model.get_output_embeddings(), ahead=ahead, positions=positions)
    optimizer = rule.optimizer
    average = Average(head, 0.998)
    answers = Answers(*(part.to(device) for part in vars(answers).values()))
    first, steps = 0, wanted
    if "head" in run.state:
        saved = run.state["head"]
        restore(saved, head, optimizer, average)
        rule.restored()
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
        rule.rate.fill_(PEAK_RATE * cosine(step, steps, min(WARM_UP, steps)))
        rows = torch.randint(len(answers.lines), (batch,), device=device)
        loss = rule.take(seen_by(model, answers, rows))
        average.update(step)
        recent = recent.lerp(loss, 0.02 if step > first else 1.0)
        if step == first + 10:  # kernels were chosen
            float(loss)  # wait for the device
            begun, counted = time.monotonic(), step
        if not planned and step == first + _PACE:
            float(loss)
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
