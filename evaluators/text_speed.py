"""How fast a decoder answers: one prompt of each kind, again and again, reading told apart."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from paretoken.evaluators.engine.decode import Decoding, Trace
from paretoken.evaluators.engine.groups import Groups
from paretoken.evaluators.text_judge import answer_of
from paretoken.evaluators.timing import mean_and_error, repeat
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Quantity
from paretoken.spaces.workload import Observed, Report

TOKENS_PER_S = Objective("tokens_per_s", "tokens/s", True, "answer tokens a second, after reading")

# The same answers for every candidate of every study: equal work must be seen to be equal.
TIMED_SEED = 0
# Timing: after one warm-up, 2 to 15 repeats, until so many seconds were timed.
ENOUGH_S = {"cpu": 3.0, "cuda": 4.0}
LEAST_REPEATS, MOST_REPEATS = 2, 15


@dataclass(frozen=True)
class _Pass:
    """The timed prompts, once. tokens: [n] of each answer."""

    tokens: Tensor
    trace: Trace

    @property
    def written(self) -> int:
        """Tokens of all answers."""
        return int(self.tokens.sum())

    @property
    def writing_s(self) -> float:
        """Seconds of all but reading the prompts."""
        return self.trace.seconds - float(self.trace.begun.sum())


def time_answers(
    decoding: Decoding | Groups,
    prompts: Tensor,
    kinds: Sequence[str],
    *,
    batch: int,
    ends: tuple[int, ...],
    device: torch.device,
    report: Report,
) -> Observed:
    """Tokens per second, time to first token, tokens per forward, for all and for each kind.

    decoding: built for `batch` rows with TIMED_SEED. prompts: [n], which are timed; kinds: theirs.
    """
    begun = time.perf_counter()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    passes: list[_Pass] = []

    def once(i: int) -> float:
        report(f"speed: repeat {i + 1}", min(0.95, len(passes) / 4))
        rows, trace = decoding.run(prompts)
        passes.append(_Pass(torch.tensor([len(answer_of(row, ends)) for row in rows]), trace))
        # In 16 bits a GPU need not repeat an answer from one pass to the next, nor its length.
        return passes[-1].writing_s * max(1, passes[0].written) / max(1, passes[-1].written)

    # A warm-up: of groups of prompts each has rounds of its own.
    decoding.run(prompts if isinstance(decoding, Groups) else prompts[:batch])
    timed = repeat(
        once, warm_up=0, least=LEAST_REPEATS, most=MOST_REPEATS, enough_s=ENOUGH_S[device.type]
    )
    every = passes[0]
    repeats = len(timed.seconds)
    rate = every.written / timed.median
    over_repeats = {
        "batch": batch,
        "spread_from": "standard error of the median over repeats, and processes",
    }
    over_prompts = {"batch": batch, "spread_from": "standard error over prompts"}
    first, first_error = mean_and_error([float(one.trace.first.mean()) for one in passes])
    quantities = [
        Quantity(
            "tokens_per_s", rate, rate * finite(timed.relative_spread(device.type)), repeats,
            "tokens/s", True, detail=over_repeats,
        ),
        Quantity("ttft_s", first, finite(first_error), repeats, "s", False, detail=over_repeats),
        peak_memory(device),
        *_work(every, torch.ones(len(kinds), dtype=torch.bool), "", over_prompts),
    ]  # fmt: skip
    for kind in sorted(set(kinds)):
        of_kind = torch.tensor([one == kind for one in kinds])
        quantities += _work(every, of_kind, f"_{kind}", over_prompts)
        if batch == 1:  # side by side, a second belongs to several prompts
            rates = [_rate(one, of_kind) for one in passes]
            mean, error = mean_and_error(rates)
            quantities.append(
                Quantity(
                    f"tokens_per_s_{kind}", mean, finite(error), repeats, "tokens/s", True,
                    detail=over_repeats,
                )
            )  # fmt: skip
    accepted = every.trace.acceptance_rate()
    if np.isfinite(accepted):
        quantities.append(
            Quantity("acceptance_rate", accepted, 0.0, len(kinds), "", True, detail=over_prompts)
        )
    detail = {
        "batch": batch,
        "threads": torch.get_num_threads(),
        "seconds": [one.writing_s for one in passes],
        "written": [one.written for one in passes],
        "reading_seconds": [float(one.trace.begun.sum()) for one in passes],
        "capture_seconds": every.trace.capture_seconds,
    }
    return Observed(tuple(quantities), time.perf_counter() - begun, detail, every.trace.arrays())


def _work(one: _Pass, which: Tensor, suffix: str, detail: dict[str, object]) -> list[Quantity]:
    """Forwards for an answer, and tokens for a forward."""
    forwards, tokens = one.trace.forwards[which].double(), one.tokens[which].double()
    mean, error = mean_and_error(forwards.tolist())
    ratio = float(tokens.sum() / forwards.sum())
    rest = (tokens - ratio * forwards).tolist()
    _, ratio_error = mean_and_error(rest)
    n = len(rest)
    found = [
        Quantity(
            f"tokens_per_forward{suffix}", ratio, finite(ratio_error) / mean, n,
            "tokens/forward", True, detail=detail,
        )
    ]  # fmt: skip
    if not suffix:
        found.append(
            Quantity(
                "target_forwards", mean, finite(error), n, "forwards/answer", False, detail=detail
            )
        )
    return found


def _rate(one: _Pass, which: Tensor) -> float:
    """Tokens a second of some prompts, where they were answered one after another."""
    seconds = (one.trace.lasted - one.trace.begun)[which].sum()
    return float(one.tokens[which].sum() / seconds)


def peak_memory(device: torch.device) -> Quantity:
    """The most memory that was held at once: of a CUDA device since its count was reset."""
    if device.type == "cuda":
        held = float(torch.cuda.max_memory_allocated(device))
    else:
        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes here
        held = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
    of = "device" if device.type == "cuda" else "process so far"
    return Quantity(
        "peak_gib", held / 2**30, 0.0, 1, "GiB", False, detail={"aside": True, "of": of}
    )


def finite(error: float) -> float:
    """A standard error for the record; a single value has none, which the sample count says."""
    return error if np.isfinite(error) else 0.0
