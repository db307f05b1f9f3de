"""Pace: how long a coder takes, and how many calls of networks an image waits for."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from paretoken.evaluators.image_tokenizers.coder import Coder, tokens_of
from paretoken.evaluators.timing import repeat
from paretoken.spaces.records import Quantity
from paretoken.spaces.workload import Report

_AT_ONCE = {"cpu": 50, "cuda": 250}


def calls(coder: Coder, images: Tensor) -> Quantity:
    """One of the model for each token, and those of the decoder; the mean over images
    uint8 [n, 1, H, W] where their lengths differ. Exact: nothing is timed."""
    tokens = tokens_of(coder.layout, coder.encode(images), coder.kept)
    detail = {"model": tokens, "decoder": coder.calls}
    return Quantity(
        "sequential_calls", tokens + coder.calls, 0.0, len(images), "calls", False, detail=detail
    )


def times(coder: Coder, images: Tensor, report: Report) -> list[Quantity]:
    """encode_ms and decode_ms: milliseconds an image, of some at once."""
    images = images[: _AT_ONCE[images.device.type]]
    ids = coder.encode(images)
    ways: dict[str, Callable[[], object]] = {
        "encode_ms": lambda: coder.encode(images),
        "decode_ms": lambda: coder.decode(ids, 0),
    }
    found = []
    for nth, (name, call) in enumerate(ways.items()):
        report(f"timing {name}", (1 + nth) / (1 + len(ways)))

        def work(_: int, call: Callable[[], object] = call) -> float:
            started = time.perf_counter()
            call()
            if images.is_cuda:
                torch.cuda.synchronize()
            return time.perf_counter() - started

        timed = repeat(work, warm_up=2, least=5, most=20, enough_s=0.3)
        each = 1e3 / len(images)
        found.append(
            Quantity(
                name, each * timed.median, each * timed.spread, len(timed.seconds), "ms/image",
                False, f"{len(images)} at once", {"batch": len(images)},
            )
        )  # fmt: skip
    return found
