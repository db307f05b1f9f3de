"""On CUDA the kernels run as written; elsewhere Triton interprets them, slowly, on small sizes."""

from __future__ import annotations

import os

import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # read where a kernel is defined, so before its import
pytest.importorskip("triton")


@pytest.fixture
def device() -> torch.device:
    return torch.device(DEVICE)
