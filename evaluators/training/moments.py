"""What an optimizer of Adam's kind remembers, as tensors by parameter: a run goes on with them."""

from __future__ import annotations

import torch
from torch import nn

from paretoken.evaluators.training.artefacts import Tensors

_AVERAGES = ("exp_avg", "exp_avg_sq")


def moments_of(module: nn.Module, optimizer: torch.optim.Optimizer) -> Tensors:
    """The averages of every parameter that had a gradient so far."""
    return {
        f"{name}.{average}": optimizer.state[parameter][average]
        for name, parameter in module.named_parameters()
        if optimizer.state.get(parameter)
        for average in _AVERAGES
    }


def set_moments(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    moments: Tensors,
    step: int,
    device: torch.device,
) -> None:
    """Let a new optimizer remember what the one did that had taken so many steps."""
    for name, parameter in module.named_parameters():
        if f"{name}.{_AVERAGES[0]}" in moments:
            optimizer.state[parameter] = {
                "step": torch.tensor(float(step), device=device),
                **{average: moments[f"{name}.{average}"].to(device) for average in _AVERAGES},
            }
