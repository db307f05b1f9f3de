"""Train the transformer on the tokens of all views; view 0 is the pictures as they are.

The view is an embedding added to the class token. View 0 has none, so the exported model is plain
LlamaGen and knows nothing of views.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional

from paretoken.evaluators.models.llamagen import Transformer, TransformerConfig
from paretoken.evaluators.models.vq import Tokenizer
from paretoken.evaluators.resumable import Average, Run, cosine, restore, snapshot
from paretoken.evaluators.workloads.fashion.data import CLASSES, pixels
from paretoken.evaluators.workloads.fashion.views import VIEWS, seen

CONFIG = TransformerConfig(
    dim=320, layers=5, heads=5, vocabulary=1024, height=16, width=16, classes=len(CLASSES)
)
PEAK_RATE = 1.2e-3
WARM_UP = 500
_PACE = 250  # steps after which the pace is known; less than WARM_UP, which needs no total
_RESERVE_S = 20.0
_AS_IT_IS = 0.4  # share of pictures shown in view 0


@torch.inference_mode()
def tokens_of_views(tokenizer: Tokenizer, images: Tensor, views: int, batch: int = 2000) -> Tensor:
    """Tokens [views, n, N] int16 of every picture in every view.

    Half precision on CUDA: of the codes it picks, few differ, and only in training data.
    """
    dtype = torch.float16 if images.is_cuda else torch.float32
    tokenizer = deepcopy(tokenizer).to(dtype).to(memory_format=torch.channels_last)
    found = []
    for view in range(views):
        parts = []
        for part in torch.split(images, batch):
            shown = pixels(seen(part, view)).to(dtype, memory_format=torch.channels_last)
            parts.append(tokenizer.encode(shown).to(torch.int16))
        found.append(torch.cat(parts))
    return torch.stack(found)


class WithViews(nn.Module):
    """The transformer with a training-only embedding of the view."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model
        self.views = nn.Embedding(len(VIEWS), model.config.dim)
        nn.init.zeros_(self.views.weight)

    def forward(self, tokens: Tensor, classes: Tensor, view: Tensor) -> Tensor:
        """Mean negative log-likelihood in nats per token."""
        told = torch.where((view > 0).unsqueeze(1), self.views(view), 0.0)
        condition = self.model.condition(classes) + told.unsqueeze(1)
        logits = self.model.predict(condition, tokens)
        return functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())


def train(
    tokens: Tensor,
    classes: Tensor,
    test: tuple[Tensor, Tensor],
    steps: int | None,
    batch: int,
    seed: int,
    run: Run,
    say: Callable[[str], None],
) -> tuple[Transformer, int]:
    """Train on tokens [views, n, N] int16 and classes [n]; test: tokens [m, N] and classes [m].

    steps: how many; None for as many as fit before the run's deadline, by the pace of the first.
    The number taken is returned too: with it the run can be repeated.

    Returns the averaged model with weights rounded to bfloat16, as they will be shipped.
    """
    device = tokens.device
    torch.manual_seed(seed + 1)
    model = Transformer(CONFIG)
    model.initialise()
    learner = WithViews(model).to(device)
    matrices = [p for p in learner.parameters() if p.ndim > 1]
    vectors = [p for p in learner.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}],
        PEAK_RATE, betas=(0.9, 0.95), fused=device.type == "cuda",
    )  # fmt: skip
    average = Average(learner, 0.9995)
    first = 0
    if "transformer" in run.state:
        saved = run.state["transformer"]
        restore(saved, learner, optimizer, average)
        first, steps = saved["step"], saved["steps"] or steps
    planned = steps is not None
    steps = steps or 2**31
    step_loss = torch.compile(learner) if device.type == "cuda" else learner
    begun, counted, recent = time.monotonic(), first, torch.zeros((), device=device)
    step = first - 1
    while (step := step + 1) < steps:
        if run.due():
            run.state["transformer"] = {
                "step": step, "steps": steps if planned else None,
                **snapshot(learner, optimizer, average),
            }  # fmt: skip
            run.pause()
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * cosine(step, steps, min(WARM_UP, steps))
        picked = torch.randint(tokens.shape[1], (batch,), device=device)
        moved = torch.rand(batch, device=device) > _AS_IT_IS
        view = torch.randint(tokens.shape[0], (batch,), device=device) * moved
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = step_loss(tokens[view, picked].long(), classes[picked], view)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        average.update(step)
        recent = recent.lerp(loss.detach().float(), 0.02 if step > first else 1.0)
        if step == first + 20:  # compilation is over
            float(loss.detach())  # wait for the device
            begun, counted = time.monotonic(), step
        if not planned and step == first + _PACE:
            steps, planned = _that_fit(run, step, counted, begun), True
            say(f"{steps} steps fit into the time")
        if (step + 1) % min(2000, max(1, steps // 4)) == 0:
            average.swap()
            nll = score(model, *test)
            average.swap()
            rate = (step + 1 - counted) / (time.monotonic() - begun)
            say(
                f"transformer {step + 1}/{steps}  train {float(recent):.4f}  test {nll:.4f} "
                f"nats/token  {rate:.1f} steps/s  {(steps - step - 1) / rate:.0f} s left"
            )
    average.swap()
    model.requires_grad_(False)
    for parameter in model.parameters():
        parameter.copy_(parameter.bfloat16())
    return model.eval(), steps


def _that_fit(run: Run, step: int, counted: int, begun: float) -> int:
    """Steps in all that fit before the deadline, with a reserve for scoring and saving."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    now = time.monotonic()
    pace = (step - counted) / (now - begun)
    return step + int(pace * max(0.0, run.deadline - now - _RESERVE_S))


@torch.inference_mode()
def score(model: Transformer, tokens: Tensor, classes: Tensor, batch: int = 500) -> float:
    """Nats per token of tokens [m, N] with known classes, without dropout."""
    training = model.training
    model.eval()
    total = 0.0
    for part, of in zip(torch.split(tokens, batch), torch.split(classes, batch), strict=True):
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=tokens.is_cuda):
            logits = model(part.long(), of)
        total += float(
            functional.cross_entropy(logits.flatten(0, 1), part.long().flatten(), reduction="sum")
        )
    model.train(training)
    return total / tokens.numel()
