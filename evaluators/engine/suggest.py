"""Suggest answers to a list of prompts: some prompts at a time, one token a forward."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paretoken.evaluators.engine.ngrams import NGrams
from paretoken.evaluators.engine.streams import Streams
from paretoken.evaluators.engine.suggester import Request, Suggester
from paretoken.spaces.errors import MeasurementFailed


@dataclass(frozen=True)
class SuggestTrace:
    """The work of suggesting for n prompts. forwards: [n] int64, of the target after reading; rows:
    tokens that each of them runs for a prompt. seconds: of it all; reading: of the prompts."""

    forwards: Tensor
    rows: int
    seconds: float
    reading: float

    def arrays(self) -> tuple[NDArray[np.int64], ...]:
        """What equal work repeats exactly."""
        return self.forwards.numpy(), np.array([self.rows])


class Suggesting:
    """One suggester on one target. wanted: suggestions for a prompt. batch: prompts at a time."""

    def __init__(
        self,
        target: Any,
        suggester: Suggester,
        *,
        wanted: int,
        batch: int,
        seed: int,
        ngrams: Callable[[], NGrams],
    ) -> None:
        self._target, self._suggester, self._ngrams = target, suggester, ngrams
        self._wanted, self._batch, self._seed = wanted, batch, seed
        self._streams: dict[int, Streams] = {}

    @torch.inference_mode()
    def run(
        self,
        prompts: Tensor,
        progress: Callable[[int, int], None] = lambda done, wanted: None,
    ) -> tuple[Tensor, SuggestTrace]:
        """Tokens [n, wanted, N] int64 for prompts [n], on the CPU, and the trace.

        The place in the list and the seed fix a prompt's random numbers, whatever the batch.
        Raises MeasurementFailed("nan") where the model's logits are not numbers.
        """
        device, rows = self._target.device, self._suggester.rows(self._wanted)
        ids = torch.arange(len(prompts), device=device)
        found, forwards, reading = [], [], 0.0
        begun = time.perf_counter()
        parts = (torch.split(part, self._batch) for part in (prompts, ids))
        for some, names in zip(*parts, strict=True):
            started = time.perf_counter()
            streams = self._streams_for(len(some), rows)
            some = some.to(device)
            pending = streams.start(some)
            self._synchronise()
            reading += time.perf_counter() - started
            writing = self._suggester.begin(
                Request(
                    streams, self._wanted, pending, some, names, self._seed, self._ngrams
                )
            )  # fmt: skip
            work = torch.zeros(len(some), dtype=torch.int64, device=device)
            for _ in range(self._target.length):
                # A CPU stops with the last suggestion; asking a device would stop its stream.
                if device.type == "cpu" and not writing.open.any():
                    break
                work += writing.open
                writing.advance()
            if streams.broken:
                raise MeasurementFailed("nan", "the model's logits are not numbers (NaN)")
            found.append(writing.best().cpu())
            forwards.append(work.cpu())
            progress(int(names[-1]) + 1, len(prompts))
        self._synchronise()
        seconds = time.perf_counter() - begun
        return torch.cat(found), SuggestTrace(torch.cat(forwards), rows, seconds, reading)

    def _streams_for(self, prompts: int, rows: int) -> Streams:
        if prompts not in self._streams:
            self._streams[prompts] = Streams(self._target, prompts, rows)
        return self._streams[prompts]

    def _synchronise(self) -> None:
        if self._target.device.type == "cuda":
            torch.cuda.synchronize(self._target.device)
