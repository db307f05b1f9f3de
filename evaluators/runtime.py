"""How a candidate is run: its batch, its precision, and what the latter means on a device."""

from __future__ import annotations

import torch

from paretoken.evaluators.kernels import fused
from paretoken.spaces.component import Component


def at_batch(candidate: Component, batch: int | None) -> Component:
    """The candidate at the batch the user names, or as it is where none is named."""
    if batch is None or candidate.runtime.batch == batch:
        return candidate
    changed: Component = candidate.clone(override={"runtime.batch": batch})
    return changed


def dtype_of(candidate: Component, device: torch.device) -> torch.dtype:
    """The precision of the model: "auto" is float32 on a CPU, bfloat16 on CUDA."""
    name = candidate.runtime.dtype
    if name == "auto":
        name = "bfloat16" if device.type == "cuda" else "float32"
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def precision(device: torch.device) -> str:
    """How matrix products are computed: part of what numbers mean."""
    if device.type == "cpu":
        return "ieee"
    kernels = "fused" if fused(device) else "torch"
    return f"matmul {torch.backends.cuda.matmul.fp32_precision}, 16-bit {kernels}"
