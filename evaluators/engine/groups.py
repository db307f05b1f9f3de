"""Samples that need different captured rounds, decoded group by group as if they were one list.

Rows of one batch run the layers that any of them needs, so that a layer is saved only where all of
them go without. Prompts that leave out the same layers are therefore answered together, and those
that do not one group after another; that is what the time of such a batch is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import torch
from torch import Tensor

from paretoken.evaluators.engine.decode import Decoding, Trace

_KEPT = 64  # decodings: each holds a cache, and its graphs


class Groups:
    """Decodings by group, made when they are first asked for; those used last are kept.

    of: the group [P] of each class or prompt. build: makes the decoding of the prompts [n] of one
    group, for so many rows. batch: rows at most.
    """

    def __init__(self, of: Tensor, build: Callable[[Tensor, int], Decoding], batch: int) -> None:
        self._of, self._build, self._batch = of, build, batch
        self._made: dict[tuple[int, int], Decoding] = {}  # the one used last is the last
        self._capture_seconds = 0.0

    @property
    def capture_seconds(self) -> float:
        """What capturing the rounds of all groups took so far."""
        return self._capture_seconds

    def run(
        self,
        classes: Tensor,
        first_id: int = 0,
        progress: Callable[[int, int], None] = lambda done, wanted: None,
    ) -> tuple[Tensor, Trace]:
        """As `Decoding.run`; a sample's row id is that of its place in the whole list."""
        wanted, groups = len(classes), self._of[classes]
        parts = [(groups == group).nonzero().flatten() for group in sorted(set(groups.tolist()))]
        if len(parts) <= _KEPT:
            # All are made before any is timed: what they capture must not lie between two of them.
            for part in parts:
                self._decoding(int(groups[part[0]]), len(part))
        tokens, traces, done = [], [], 0
        for part in parts:
            decoding = self._decoding(int(groups[part[0]]), len(part))

            def say(some: int, _: int, before: int = done) -> None:
                progress(before + some, wanted)

            found, trace = decoding.run(classes[part], first_id + part, say)
            tokens.append(found)
            traces.append(trace)
            done += len(part)
        back = torch.cat(parts).argsort()
        return torch.cat(tokens)[back], self._joined(traces, back)

    def _decoding(self, group: int, wanted: int) -> Decoding:
        rows = min(self._batch, wanted)
        found = self._made.pop((group, rows), None)
        if found is None:
            prompts = (self._of == group).nonzero().flatten()
            while len(self._made) >= _KEPT:
                del self._made[next(iter(self._made))]
            found = self._build(prompts, rows)
            self._capture_seconds += found.capture_seconds
        self._made[group, rows] = found
        return found

    def _joined(self, traces: list[Trace], back: Tensor) -> Trace:
        """The trace of all; seconds add up."""
        named = [one.name for one in fields(Trace)]
        joined = {
            name: torch.cat([getattr(trace, name) for trace in traces])[back]
            for name in named
            if name not in ("seconds", "capture_seconds")
        }
        seconds = sum(trace.seconds for trace in traces)
        return Trace(seconds=seconds, capture_seconds=self.capture_seconds, **joined)
