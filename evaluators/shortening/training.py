"""The loop that all trainings of shortened models share: it may be stopped at any moment.

Which lines a step learns from is drawn from the seed and the number of the step, so weights,
moments and that number are all there is to keep; a training that was stopped and goes on ends with
the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from paretoken.evaluators.resumable import Run, cosine
from paretoken.spaces.errors import MeasurementFailed

# lines [b] and the share of the training that is over; returns the loss
Loss = Callable[[Tensor, float], Tensor]
_LOOK = 10  # steps between two looks at the loss, which wait for the device
_WARM_UP = 0.1


def train(
    weights: Mapping[str, Tensor],
    loss: Loss,
    *,
    lines: Tensor,
    batch: int,
    steps: int,
    rate: float,
    seed: int,
    run: Run,
    say: Callable[[int, int, float], None],
    beside: Mapping[str, Tensor] | None = None,
) -> None:
    """Change `weights`, which are leaves, in place. lines: [m], those to learn from. rate: the peak
    of the learning rate. say(step, steps, loss). beside: what the loss itself remembers from step
    to step. Fails with "nan" where the loss is no number."""
    state = {**weights, **(beside or {})}
    parameters = [value.requires_grad_(True) for _, value in sorted(weights.items())]
    fused = parameters[0].device.type == "cuda"
    optimizer = torch.optim.AdamW(
        parameters, rate, betas=(0.9, 0.99), weight_decay=0.0, fused=fused
    )
    step = 0
    if "step" in run.state:
        step = run.state["step"]
        with torch.no_grad():
            for name, value in state.items():
                value.copy_(run.state["weights"][name])
        optimizer.load_state_dict(run.state["optimizer"])

    def keep() -> None:
        run.state.update(
            step=step,
            weights={name: value.detach() for name, value in state.items()},
            optimizer=optimizer.state_dict(),
        )
        run.save()

    recent, between = math.nan, True  # between two steps, where all that is kept fits together
    try:
        while step < steps:
            if run.due():
                keep()
            generator = torch.Generator().manual_seed((seed << 32) + step)
            rows = lines[torch.randint(len(lines), (batch,), generator=generator)]
            for group in optimizer.param_groups:
                group["lr"] = rate * cosine(step, steps, max(1, round(_WARM_UP * steps)))
            optimizer.zero_grad(set_to_none=True)
            found = loss(rows, step / steps)
            torch.autograd.backward(found)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            between = False
            optimizer.step()
            step += 1
            if step % _LOOK == 0 or step == steps or parameters[0].device.type == "cpu":
                recent = float(found.detach())
                if not math.isfinite(recent):
                    raise MeasurementFailed("nan", f"the loss of step {step} is not a number")
            between = True
            say(step, steps, recent)
    except BaseException:  # whoever stops the search, too
        if between:
            keep()
        raise
    finally:
        for value in parameters:
            value.requires_grad_(False)
