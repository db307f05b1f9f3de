"""Fused Triton kernels of the engine's and the models' operations, for CUDA devices.

Each computes what a plain torch operation elsewhere computes, in one launch instead of many: small
models are bound by launches. The torch operation stays the reference and runs on every other
device; tests compare the two, on a CPU through Triton's interpreter.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch

_LEAST_CAPABILITY = (8, 0)  # Ampere: matrix units for bfloat16
# A law is one program's work, and longer ones do not fit its registers.
_WIDEST = 1 << 14


@cache
def _run_on(index: int | None) -> bool:
    if torch.version.cuda is None or find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(index) >= _LEAST_CAPABILITY


def fused(device: torch.device, vocabulary: int = 1) -> bool:
    """Whether these kernels run on `device`; where not, the plain operations do.

    vocabulary: the length of the laws that are worked on, if any are.
    """
    return device.type == "cuda" and vocabulary <= _WIDEST and _run_on(device.index)
