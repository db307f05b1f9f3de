"""Fused Triton kernels of the engine's and the models' operations, for CUDA devices.

Each computes what a plain torch operation elsewhere computes, in one launch instead of many: small
models are bound by launches. The torch operation stays the reference and runs on every other
device; tests compare the two, on a CPU through Triton's interpreter.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch


@cache
def _there() -> bool:
    return find_spec("triton") is not None


def fused(device: torch.device) -> bool:
    """Whether these kernels run on `device`."""
    return device.type == "cuda" and _there()
