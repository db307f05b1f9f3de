"""How fast suggestions come: one prompt of each kind, again and again, reading told apart."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from paretoken.evaluators.engine.suggest import Suggesting, SuggestTrace
from paretoken.evaluators.text_speed import (
    ENOUGH_S,
    LEAST_REPEATS,
    MOST_REPEATS,
    finite,
    peak_memory,
)  # fmt: skip
from paretoken.evaluators.timing import mean_and_error, repeat
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Quantity
from paretoken.spaces.workload import Observed, Report

SUGGESTIONS_PER_S = Objective(
    "suggestions_per_s", "suggestions/s", True, "suggestions a second, after reading"
)


def time_suggestions(
    suggesting: Suggesting,
    prompts: Tensor,
    *,
    wanted: int,
    batch: int,
    device: torch.device,
    report: Report,
) -> Observed:
    """Suggestions per second, and the work of a set. prompts: [n], timed; wanted: for each."""
    begun = time.perf_counter()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    traces: list[SuggestTrace] = []

    def once(i: int) -> float:
        report(f"speed: repeat {i + 1}", min(0.95, len(traces) / 4))
        traces.append(suggesting.run(prompts)[1])
        return traces[-1].seconds - traces[-1].reading

    suggesting.run(prompts[:batch])  # warm-up
    timed = repeat(
        once, warm_up=0, least=LEAST_REPEATS, most=MOST_REPEATS, enough_s=ENOUGH_S[device.type]
    )
    repeats, every = len(timed.seconds), traces[0]  # all of them do the same work
    rate = wanted * len(prompts) / timed.median
    forwards, error = mean_and_error(every.forwards.double().tolist())
    reading, reading_error = mean_and_error([one.reading / len(prompts) for one in traces])
    over_repeats = {
        "batch": batch,
        "spread_from": "standard error of the median over repeats, and processes",
    }
    over_prompts = {"batch": batch, "spread_from": "standard error over prompts"}
    quantities = (
        Quantity(
            "suggestions_per_s", rate, rate * finite(timed.relative_spread(device.type)), repeats,
            "suggestions/s", True, detail=over_repeats,
        ),
        Quantity("reading_s", reading, finite(reading_error), repeats, "s", False,
                 detail=over_repeats),
        Quantity("target_forwards", forwards, finite(error), len(prompts), "forwards/set", False,
                 detail=over_prompts),
        # What a device computes: tokens that went through the model.
        Quantity("fed_tokens", every.rows * forwards, every.rows * finite(error), len(prompts),
                 "tokens/set", False, detail=over_prompts),
        peak_memory(device),
    )  # fmt: skip
    detail = {
        "batch": batch,
        "threads": torch.get_num_threads(),
        "seconds": list(timed.seconds),
        "reading_seconds": [one.reading for one in traces],
    }
    return Observed(quantities, time.perf_counter() - begun, detail, every.arrays())
