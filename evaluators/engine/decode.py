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
from paretoken.evaluators.engine.watch import Watch


@dataclass(frozen=True)
class Trace:
    """The work of decoding n samples.

    forwards, accepted, rejected: [n] int64 per sample: target forwards, drafts kept and refused.
    rounds: [n] int64, equal where every single round tested and kept as many drafts.
    seconds: wall time of the rounds, synchronised, without capture; capture_seconds: that apart.
    begun, first, lasted: [n] float64 seconds of each sample: of reading its prompt, from there to
    its first token being seen (texts; of images 0), and of it all.
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
        prompts: Tensor | None = None,
    ) -> None:
        """prompts: those that will be asked, [n]; left out, any may be."""
        with torch.inference_mode():
            self._session = Session(
                target, decoder, sampling, geometry, batch, seed, dtype, prompts
            )
            self._rounds = Rounds(self._session, graphs)
            self._rounds.prepare(sampling.guided)
        self._target = target

    @property
    def capture_seconds(self) -> float:
        """What capturing its rounds took."""
        return self._rounds.capture_seconds

    @torch.inference_mode()
    def run(
        self,
        classes: Tensor,
        first_id: int | Tensor = 0,
        progress: Callable[[int, int], None] = lambda done, wanted: None,
    ) -> tuple[Tensor, Trace]:
        """Decode one sample per class.

        classes: [n] int64. first_id: row id of the first sample, or of each one, [n] int64; with
        the seed it fixes all its random numbers, so sample i is the same law whatever the batch.
        progress(done, wanted).
        Returns tokens [n, N] int64 and the trace, both on the CPU. Raises MeasurementFailed("nan")
        as soon as the model's logits are not numbers.
        """
        session, device = self._session, self._target.device
        rows, length = session.rows, self._target.length
        wanted = len(classes)
        classes = classes.to(device)
        ids = (
            (first_id + torch.arange(wanted)).to(device)
            if isinstance(first_id, int)
            else first_id.to(device)
        )
        tokens = torch.empty(wanted, length, dtype=torch.int64)
        work = torch.zeros(len(rows.counts), wanted, dtype=torch.int64)
        owner = np.full(session.batch, -1)  # which sample a row decodes
        times = np.zeros((3, wanted))  # of each sample: reading, first token, all
        loaded = np.zeros(session.batch)  # when a row's sample was begun
        silent = np.zeros(session.batch, dtype=bool)  # rows whose first token was not seen yet
        next_sample = done = 0
        begun = time.perf_counter()
        rows.count.fill_(length)
        watch = Watch(session, self._rounds, ahead=device.type == "cuda")
        while done < wanted:
            ended = ((watch.counts >= length) & (owner >= 0)).nonzero()[0]
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
                session.load(torch.from_numpy(free).to(device), ids[samples], classes[samples])
                if device.type == "cuda" and self._target.modality == "text":
                    torch.cuda.synchronize(device)  # prompts were read
                times[0, owner[free]] = (time.perf_counter() - loading) / len(free)
                silent[free] = self._target.modality == "text"
                watch.begin(free)
                next_sample += len(free)
            busy = owner >= 0
            if not busy.any():
                break
            watch.round(busy, eager=bool(silent.any()))
            if silent.any():
                spoke = silent & (watch.counts > 0)
                times[1, owner[spoke]] = time.perf_counter() - loaded[spoke]
                silent &= ~spoke
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - begun
        forwards, accepted, rejected, rounds = work
        clock = torch.from_numpy(times)
        return tokens, Trace(
            forwards, accepted, rejected, rounds, seconds, self.capture_seconds, *clock
        )
