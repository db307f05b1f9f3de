"""Which of PyTorch's attention kernels may be used: those that repeat themselves bit for bit.

In 16 bits cuDNN's, PyTorch's first choice where there is a mask, does not (torch 2.11, H200):
answers fork from one pass to the next, and equal work is not seen to be equal. It is the faster.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from torch.nn.attention import SDPBackend, sdpa_kernel

_REPEATABLE = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def repeatable_attention() -> AbstractContextManager[None]:
    """Attention of anything called inside is one of those."""
    allowed: AbstractContextManager[None] = sdpa_kernel(_REPEATABLE)
    return allowed
