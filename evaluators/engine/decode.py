"""Decode a list of samples: rounds over a batch whose rows are refilled as samples finish."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paretoken.evaluators.components.decoders.speculative import Speculative
from paretoken.evaluators.engine.capture import Look, Rounds
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.sampling import Sampling
from paretoken.evaluators.engine.session import Session
from paretoken.evaluators.engine.target import Target
from paretoken.spaces.errors import MeasurementFailed


@dataclass(frozen=True)
class Trace:
    """The work of decoding n samples.

    forwards, accepted, rejected: [n] int64 per sample: target forwards, drafts kept and refused.
    rounds: [n] int64, equal where every single round tested and kept as many drafts.
    seconds: wall time of the rounds, synchronised, without capture; capture_seconds: that apart.
    begun, first, lasted: [n] float64 seconds of each sample: of reading its prompt, from there to
    its first token being seen, and of it all.
    """

    forwards: Tensor
    accepted: Tensor
    rejected: Tensor
    rounds: Tensor
    seconds: float
    capture_seconds: float
    begun: Tensor
    first: Tensor
    lasted: Tensor

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
        # A CUDA device goes on while the host looks at the round before; where the next window
        # depends on this one there is nothing to go on with.
        ahead = target.device.type == "cuda" and decoder.length.constant
        self._behind = 1 if ahead else 0

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
        rows, length = session.rows, self._target.length
        wanted = len(classes)
        classes = classes.to(device)
        tokens = torch.empty(wanted, length, dtype=torch.int64)
        work = torch.zeros(len(rows.counts), wanted, dtype=torch.int64)
        owner = np.full(session.batch, -1)  # which sample a row decodes
        times = np.zeros((3, wanted))  # of each sample: reading, first token, all
        loaded = np.zeros(session.batch)  # when a row's sample was begun
        silent = np.zeros(session.batch, dtype=bool)  # rows whose first token was not seen yet
        next_sample = done = 0
        begun = time.perf_counter()
        rows.count.fill_(length)
        counts = np.full(session.batch, length)
        lengths, first = np.full(session.batch, 1), self._decoder.length.first(session.window)
        looks: deque[Look] = deque()
        while done < wanted:
            ended = ((counts >= length) & (owner >= 0)).nonzero()[0]
            if len(ended):
                at = torch.from_numpy(ended).to(device)
                tokens[owner[ended]] = rows.tokens[at, :length].cpu()
                work[:, owner[ended]] = torch.stack(rows.counts)[:, at].cpu()
                times[2, owner[ended]] = time.perf_counter() - loaded[ended]
                owner[ended] = -1
                done += len(ended)
                progress(done, wanted)
            free = (owner < 0).nonzero()[0][: wanted - next_sample]
            if len(free):
                owner[free] = np.arange(next_sample, next_sample + len(free))
                samples = torch.from_numpy(owner[free]).to(device)
                loaded[free] = loading = time.perf_counter()
                session.load(
                    torch.from_numpy(free).to(device), first_id + samples, classes[samples]
                )
                if device.type == "cuda" and self._target.modality == "text":
                    torch.cuda.synchronize(device)  # prompts were read
                times[0, owner[free]] = (time.perf_counter() - loading) / len(free)
                counts[free], lengths[free], silent[free] = 0, first, True
                next_sample += len(free)
                looks.clear()  # they saw the rows before
            busy = owner >= 0
            if not busy.any():
                break
            guided = self._sampling.guided_at(int(counts[busy].min()))
            looks.append(self._rounds.run(self._window(int(lengths.max())), guided))
            if len(looks) > self._behind:
                counts, lengths, broken = np.split(
                    looks.popleft().wait(), [session.batch, 2 * session.batch]
                )
                if silent.any():
                    spoke = silent & (counts > 0)
                    times[1, owner[spoke]] = time.perf_counter() - loaded[spoke]
                    silent &= ~spoke
                if broken.any():
                    rows.broken.zero_()
                    raise MeasurementFailed("nan", "the model's logits are not numbers (NaN)")
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - begun
        forwards, accepted, rejected, rounds = work
        capture = self._rounds.capture_seconds
        clock = torch.from_numpy(times)
        return tokens, Trace(forwards, accepted, rejected, rounds, seconds, capture, *clock)

    def _window(self, longest: int) -> int:
        """Tokens to feed next, where the longest window that any row wants is known."""
        if self._decoder.length.constant:
            return self._session.window
        return self._rounds.padded(longest)
