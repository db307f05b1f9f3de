"""How fast a decoder is: a few images at the batch the user names, timed again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from paretoken.evaluators.engine.decode import Trace
from paretoken.evaluators.timing import mean_and_error, repeat
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Quantity
from paretoken.spaces.workload import Observed, Report

IMAGES_PER_S = Objective("images_per_s", "images/s", True, "decoded images per second")

# Row ids from here on belong to timing, so that timed images are not the judged ones.
_TIMED_IDS = 1 << 24
# The same images for every candidate of every study: equal work must be seen to be equal.
TIMED_SEED = 0
# Timing: after one warm-up, so many repeats, until so many seconds were timed; and all of that at
# several moments, between which a decoder on CUDA is slower or faster by a per cent or two.
_LEAST, _MOST = 3, {"cpu": 15, "cuda": 5}
_ENOUGH_S = {"cpu": 3.0, "cuda": 0.5}
_MOMENTS = {"cpu": 1, "cuda": 3}


class Draws(Protocol):
    """What is timed: see `Decoding`."""

    @property
    def capture_seconds(self) -> float:
        """What capturing its work took."""

    def run(self, classes: Tensor, first_id: int = 0) -> tuple[Tensor, Trace]:
        """Tokens [n, N] of one image per class [n], and the trace."""


def time_images(
    build: Callable[[], Draws],
    *,
    batch: int,
    length: int,
    classes: int,
    device: str,
    pixels: Callable[[Tensor], object],
    report: Report,
) -> Observed:
    """Images per second, latency, forwards, step compression, acceptance rate, pixels apart.

    build: makes the decoding, for `batch` rows with TIMED_SEED. length: tokens of an image.
    classes: how many the model knows. device: "cpu" or "cuda". pixels: turns tokens [n, N] into
    images.
    """
    begun, moments = time.perf_counter(), _MOMENTS[device]
    traces: dict[int, Trace] = {}  # of each repeat; that of a warm-up is overwritten
    captured = 0.0
    decoded = torch.empty(0)
    made: list[Draws] = []  # the one that is timed

    def anew() -> None:
        nonlocal captured
        # Told late: groups of classes are captured when they are first asked for.
        captured += sum(one.capture_seconds for one in made)
        made.clear()  # its memory may be needed
        made.append(build())

    def once(i: int) -> float:
        nonlocal decoded
        report(f"speed: repeat {i + 1}", min(0.95, len(traces) / (6 * moments)))
        ids = torch.arange(batch) + i * batch
        decoded, trace = made[-1].run(ids % classes, _TIMED_IDS + i * batch)
        traces[i] = trace
        return trace.seconds

    def in_pixels(_: int) -> float:
        started = time.perf_counter()
        pixels(decoded)
        return time.perf_counter() - started

    timed = repeat(
        once, warm_up=1, least=_LEAST, most=_MOST[device], enough_s=_ENOUGH_S[device],
        moments=moments, anew=anew,
    )  # fmt: skip
    captured += sum(one.capture_seconds for one in made)
    drawn = repeat(in_pixels, warm_up=1, least=3, most=3, enough_s=0.0)
    counted = [traces[i] for i in sorted(traces)]
    repeats = len(timed.seconds)
    forwards = torch.cat([trace.forwards for trace in counted]).tolist()
    mean, error = mean_and_error(forwards)
    rate, spread = batch / timed.median, timed.relative_spread(device)
    over_repeats = {
        "batch": batch,
        "spread_from": "standard error of the median, over repeats or moments, and processes",
    }
    over_images = {"spread_from": "standard error over images"}
    quantities = [
        Quantity(
            "images_per_s", rate, rate * spread, repeats, "images/s", True,
            detail=over_repeats,
        ),
        Quantity(
            "latency_s", timed.median, timed.median * spread, repeats, "s", False,
            detail=over_repeats,
        ),
        Quantity(
            "target_forwards", mean, _finite(error), len(forwards), "forwards/image", False,
            detail=over_images,
        ),
        Quantity(
            "step_compression", length / mean, _finite(length * error / mean**2), len(forwards),
            "tokens/forward", True, detail=over_images,
        ),
        Quantity(
            "pixels_ms", 1e3 * drawn.median / batch, 1e3 * drawn.spread / batch,
            len(drawn.seconds), "ms/image", False, detail={**over_repeats, "aside": True},
        ),
    ]  # fmt: skip
    rates = [trace.acceptance_rate() for trace in counted]
    if all(np.isfinite(rates)):
        mean, error = mean_and_error(rates)
        quantities.append(
            Quantity(
                "acceptance_rate", mean, _finite(error), len(rates), "", True, detail=over_images
            )
        )
    detail = {
        "batch": batch,
        "threads": torch.get_num_threads(),
        "seconds": list(timed.seconds),
        "moments": [len(moment) for moment in timed.moments],
        "capture_seconds": captured,
    }
    # How many repeats there are depends on the time they take: the least of them are always there.
    of_all = zip(*(trace.arrays() for trace in counted[:_LEAST]), strict=True)
    same = tuple(np.concatenate(parts) for parts in of_all)
    return Observed(tuple(quantities), time.perf_counter() - begun, detail, same)


def _finite(error: float) -> float:
    """A standard error for the record; one image has none, which the sample count says."""
    return error if np.isfinite(error) else 0.0
