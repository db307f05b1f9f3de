"""A training run that can stop at any moment and go on: state on disk, a deadline, an average."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from paretoken.spaces.errors import Unreadable

_SAVE_EVERY_S = 60.0


class OutOfTime(Exception):
    """The time granted to this call is over; the state is saved."""


class Run:
    """State of all stages in one file, saved every so often and when time is up."""

    def __init__(
        self, folder: Path, minutes: float | None = None, every_s: float = _SAVE_EVERY_S
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "checkpoint.pt"
        self.deadline = time.monotonic() + 60 * minutes if minutes else float("inf")
        self._saved, self._every_s = time.monotonic(), every_s
        self.state: dict[str, Any] = {}
        if self.path.exists():
            try:
                self.state = torch.load(self.path, map_location="cpu", weights_only=True)
            except Exception as error:  # torch raises many kinds for a damaged file
                raise Unreadable(
                    f"{self.path} cannot be read ({type(error).__name__}): delete it to start anew."
                ) from error

    def save(self) -> None:
        """Write the state so that a kill at any moment leaves the old or the new file."""
        waiting = self.path.with_suffix(".new")
        torch.save(self.state, waiting)
        waiting.replace(self.path)
        self._saved = time.monotonic()

    def due(self) -> bool:
        """Whether the stage should put its state into `state` and call `pause`."""
        now = time.monotonic()
        return now > self.deadline or now - self._saved > self._every_s

    def pause(self) -> None:
        """Save; raise OutOfTime if the deadline has passed."""
        self.save()
        if time.monotonic() > self.deadline:
            raise OutOfTime


class Average:
    """Exponential moving average of a model's parameters, in float32."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._of = [p for p in model.parameters()]
        self.values = [p.detach().clone().float() for p in self._of]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the model; early steps count more, so that the start is forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.values, [p.detach().float() for p in self._of], 1 - decay)

    @torch.no_grad()
    def adopt(self) -> None:
        """Make the average the model: what is frozen from here on equals its average for good."""
        for parameter, value in zip(self._of, self.values, strict=True):
            parameter.copy_(value)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the model's parameters with the average; call again to undo."""
        for parameter, value in zip(self._of, self.values, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(value)
            value.copy_(kept)


def snapshot(
    model: nn.Module, optimizer: torch.optim.Optimizer, average: Average
) -> dict[str, Any]:
    """All that a stage needs to go on exactly: weights, moments, average and random state."""
    device = next(model.parameters()).device
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.values,
        "cpu_random": torch.get_rng_state(),
        "cuda_random": torch.cuda.get_rng_state() if device.type == "cuda" else None,
    }


def restore(
    saved: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer, average: Average
) -> None:
    """Undo `snapshot`."""
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    for value, kept in zip(average.values, saved["average"], strict=True):
        value.copy_(kept)
    torch.set_rng_state(saved["cpu_random"])
    if saved["cuda_random"] is not None:
        torch.cuda.set_rng_state(saved["cuda_random"])


def cosine(step: int, steps: int, warm_up: int) -> float:
    """Share of the peak learning rate: linear warm-up, then half a cosine to zero."""
    if step < warm_up:
        return (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return float(0.5 * (1 + torch.cos(torch.tensor(torch.pi * progress))))
