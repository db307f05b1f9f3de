"""Decode a list of samples: rounds over a batch whose rows are refilled as samples finish."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paretoken.evaluators.components.decoders.speculative import Speculative
from paretoken.evaluators.engine.capture import Rounds
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.sampling import Sampling
from paretoken.evaluators.engine.session import Session
from paretoken.evaluators.engine.target import Target
from paretoken.spaces.errors import MeasurementFailed

# On CUDA the host looks at the device only every few rounds: a look costs a synchronisation, a
# finished row that waits costs nothing but its share of a forward.
_LOOK_EVERY = {"cpu": 1, "cuda": 4}


@dataclass(frozen=True)
class Trace:
    """The work of decoding n samples.

    forwards, accepted, rejected: [n] int64 per sample: target forwards, drafts kept and refused.
    rounds: [n] int64, equal where every single round tested and kept as many drafts.
    seconds: wall time of the rounds, synchronised, without capture; capture_seconds: that apart.
    """

    forwards: Tensor
    accepted: Tensor
    rejected: Tensor
    rounds: Tensor
    seconds: float
    capture_seconds: float

    def arrays(self) -> tuple[NDArray[np.int64], ...]:
        """Forwards, drafts kept and refused, and rounds: what equal work repeats exactly."""
        return tuple(
            part.numpy() for part in (self.forwards, self.accepted, self.rejected, self.rounds)
        )

    def acceptance_rate(self) -> float:
        """Share of tested drafts that were kept; NaN where nothing was drafted."""
        tested = int(self.accepted.sum() + self.rejected.sum())
        return float(self.accepted.sum()) / tested if tested else float("nan")


class Decoding:
    """One decoder on one target, ready to decode any number of samples.

    Building it allocates caches and, on CUDA, captures the rounds; `run` only decodes.
    """

    def __init__(
        self,
        target: Target,
        decoder: Speculative,
        sampling: Sampling,
        geometry: Geometry,
        *,
        batch: int,
        seed: int,
        graphs: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        with torch.inference_mode():
            self._session = Session(target, decoder, sampling, geometry, batch, seed, dtype)
            self._rounds = Rounds(self._session, graphs)
            self._rounds.prepare(sampling.guided)
        self._target, self._sampling, self._decoder = target, sampling, decoder

    @torch.inference_mode()
    def run(
        self,
        classes: Tensor,
        first_id: int = 0,
        progress: Callable[[int, int], None] = lambda done, wanted: None,
    ) -> tuple[Tensor, Trace]:
        """Decode one sample per class.

        classes: [n] int64. first_id: row id of the first sample; with the seed it fixes all its
        random numbers, so sample i is the same law whatever the batch. progress(done, wanted).
        Returns tokens [n, N] int64 and the trace, both on the CPU. Raises MeasurementFailed("nan")
        as soon as the model's logits are not numbers.
        """
        session, device = self._session, self._target.device
        wanted = len(classes)
        classes = classes.to(device)
        tokens = torch.empty(wanted, self._target.length, dtype=torch.int64)
        work = torch.zeros(len(session.counts), wanted, dtype=torch.int64)
        owner = torch.full((session.batch,), -1, dtype=torch.int64)  # which sample a row decodes
        next_sample = done = 0
        begun = time.perf_counter()
        session.count.fill_(self._target.length)
        look = _LOOK_EVERY.get(device.type, 1)
        while done < wanted:
            counts = session.count.cpu()
            if bool(session.broken):
                session.broken.zero_()
                raise MeasurementFailed("nan", "the model's logits are not numbers (NaN)")
            finished = (counts >= self._target.length) & (owner >= 0)
            if finished.any():
                rows = finished.nonzero().squeeze(-1)
                at = rows.to(device)
                tokens[owner[rows]] = session.tokens[at, : self._target.length].cpu()
                for kind, counter in enumerate(session.counts):
                    work[kind, owner[rows]] = counter[at].cpu()
                owner[rows] = -1
                done += len(rows)
                progress(done, wanted)
            free = (owner < 0).nonzero().squeeze(-1)[: wanted - next_sample]
            if len(free):
                samples = torch.arange(next_sample, next_sample + len(free))
                at, samples_at = free.to(device), samples.to(device)
                session.load(at, first_id + samples_at, classes[samples_at])
                owner[free] = samples
                counts[free] = 0
                next_sample += len(free)
            busy = owner >= 0
            if not busy.any():
                break
            guided = self._sampling.guided_at(int(counts[busy].min()))
            for _ in range(look):
                self._rounds.run(self._window(), guided)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - begun
        forwards, accepted, rejected, rounds = work
        capture = self._rounds.capture_seconds
        return tokens, Trace(forwards, accepted, rejected, rounds, seconds, capture)

    def _window(self) -> int:
        """Tokens to feed next: the longest length that any row wants."""
        if self._decoder.length.constant:
            return self._session.window
        return self._rounds.padded(int(self._session.lengths.max()))
