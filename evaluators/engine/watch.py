"""What the host knows of the rows, and when it has to look at the device again.

A look waits for the device, and rounds of a small model are over in less time than the host needs
to start the next. So a CUDA device goes on while the host looks at the round before, and nobody
looks while no sample can have ended.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from paretoken.evaluators.engine.capture import Look, Rounds
from paretoken.evaluators.engine.session import Session
from paretoken.spaces.errors import MeasurementFailed


class Watch:
    """Runs rounds and keeps what was seen last: counts [B], tokens that stand in each row, and
    lengths [B], tokens that its next window is to hold. Both may be a round or more behind.
    """

    def __init__(self, session: Session, rounds: Rounds, ahead: bool) -> None:
        """ahead: whether the device goes on by itself while the host looks."""
        self._session, self._rounds = session, rounds
        self._length = session.decoder.length
        self._samples_end = session.target.length
        self._behind = 1 if ahead else 0
        # Whether nothing but the number of rounds can end a sample or change a round.
        always = session.sampling.guided == session.sampling.guided_at(self._samples_end)
        self._foreseen = (
            ahead and not session.target.ends and always and bool(self._length.constant)
        )
        self.counts = np.full(session.batch, self._samples_end)
        self.lengths = np.ones(session.batch, dtype=np.int64)
        self._looks: deque[tuple[int, Look]] = deque()
        self._run = self._seen = 0  # rounds: how many were begun, and the last that was looked at

    def begin(self, rows: NDArray[np.int64]) -> None:
        """Samples were loaded into some rows: looks on their way saw those before them."""
        self.counts[rows] = 0
        self.lengths[rows] = self._length.first(self._session.window)
        self._looks.clear()

    def round(self, busy: NDArray[np.bool_], eager: bool) -> None:
        """Run one round, and look if that may tell something about the `busy` rows [B].

        eager: whether there is somebody who waits for tokens, not only for whole samples.
        Raises MeasurementFailed("nan") once the model's logits are seen to be no numbers.
        """
        counts = self.counts[busy]
        guided = self._session.sampling.guided_at(int(counts.min()))
        window = self._window()
        self._rounds.run(window, guided, int(counts.min()))
        self._run += 1
        most = int(counts.max()) + self._ahead * window
        if eager or not self._foreseen or most >= self._samples_end:
            self._looks.append((self._run, self._rounds.look()))
        # A row gains a token a round at least: where all are done nothing is left to go on with.
        over = int(counts.min()) + self._ahead >= self._samples_end
        while self._looks and (over or len(self._looks) > self._behind):
            self._seen, look = self._looks.popleft()
            size = self._session.batch
            self.counts, self.lengths, broken = np.split(look.wait(), [size, 2 * size])
            if broken.any():
                self._session.rows.broken.zero_()
                raise MeasurementFailed("nan", "the model's logits are not numbers (NaN)")

    @property
    def _ahead(self) -> int:
        """Rounds that nobody has looked at yet."""
        return self._run - self._seen

    def _window(self) -> int:
        """Tokens to feed next: enough for the longest window that any row can want by now."""
        whole = self._session.window
        if self._length.constant:
            return whole
        longest = int(self.lengths.max())
        for _ in range(self._ahead):
            longest = self._length.longest(longest, whole)
        return self._rounds.padded(longest)
