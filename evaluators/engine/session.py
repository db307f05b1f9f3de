"""A decoding session: B rows that advance independently, one round at a time.

All state lives in tensors of fixed shape that a round updates in place without asking the device
anything, so that the same code runs eagerly on a CPU and inside a CUDA graph.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from paretoken.evaluators.components.decoders.speculative import Speculative
from paretoken.evaluators.engine.drafter import Round, Shape
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.laws import draw
from paretoken.evaluators.engine.noise import Purpose, gumbels, tables
from paretoken.evaluators.engine.sampling import Sampling
from paretoken.evaluators.engine.target import Target
from paretoken.evaluators.engine.verifier import Chance


class RowCounts(NamedTuple):
    """Work of each row since its reset, [B] int64: forwards, drafts accepted and rejected.

    rounds: a number that depends on how many drafts every single round tested and kept, in order.
    """

    forwards: Tensor
    accepted: Tensor
    rejected: Tensor
    rounds: Tensor


# Of a polynomial over the rounds, modulo 2^64: the prime of FNV-1a.
_NEXT_ROUND = 1099511628211


class Session:
    """Decodes up to `batch` samples side by side.

    Invariant at the start of a round: the cache holds every committed token but the pending one,
    which is fed together with the drafts. Committing the batch minimum would be biased: every row
    keeps its own position.
    """

    def __init__(
        self,
        target: Target,
        decoder: Speculative,
        sampling: Sampling,
        geometry: Geometry,
        batch: int,
        seed: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.target, self.decoder, self.sampling = target, decoder, sampling
        self.batch, self.seed = batch, seed
        self.window = decoder.drafter.most
        self._geometry, self._rule = geometry, decoder.rule
        # Reading a field of a symbolic object takes longer than a small tensor operation.
        self._residual, self._length = decoder.residual, decoder.length
        self._cache: Any = target.allocate(batch, sampling.guided)
        length, device = target.length, target.device
        padded = length + self.window
        shape = Shape(batch, length, target.vocabulary, target.width, device, dtype)
        self._memory = decoder.drafter.memory(shape)

        def zeros(*size: int) -> Tensor:
            return torch.zeros(batch, *size, dtype=torch.int64, device=device)

        self.tokens, self.pending = zeros(padded), zeros()
        self.count = torch.full((batch,), length, dtype=torch.int64, device=device)
        self.lengths = torch.full_like(self.count, self._length.first(self.window))
        self.counts = RowCounts(zeros(), zeros(), zeros(), zeros())
        self.broken = torch.zeros((), dtype=torch.bool, device=device)
        self._accept = torch.zeros(batch, padded, device=device)
        self._next = torch.zeros(batch, padded, device=device)
        self._gumbel: Tensor | None = None
        if decoder.drafter.shares_noise:
            self._gumbel = torch.zeros(batch, padded, target.vocabulary, device=device)

    def load(self, rows: Tensor, ids: Tensor, classes: Tensor) -> None:
        """Start samples in some rows. rows, ids (row ids of the random numbers), classes: [n]."""
        self.pending[rows] = self.target.begin(classes)
        self.count[rows] = 0
        self.tokens[rows] = 0
        self.lengths[rows] = self._length.first(self.window)
        for counter in self.counts:
            counter[rows] = 0
        # Positions beyond the sample are fed for windows that overhang; their numbers are unused.
        used = self.target.length
        if self._gumbel is not None:
            self._gumbel[rows, :used] = gumbels(self.seed, ids, used, self.target.vocabulary)
        else:
            drawn = tables(self.seed, {Purpose.ACCEPT: 1, Purpose.NEXT: 1}, ids, used)
            self._accept[rows, :used] = drawn[Purpose.ACCEPT][..., 0]
            self._next[rows, :used] = drawn[Purpose.NEXT][..., 0]
        self._memory.reset(rows, ids, self.seed)

    def round(self, window: int, guided: bool) -> None:
        """Advance every unfinished row by 1 … window tokens with one target forward.

        window: tokens fed, the same for all rows; a row that wants more gets so many.
        guided: whether unconditional logits are needed for any row.
        """
        length = self.target.length
        open_rows = self.count < length
        proposal = self._memory.propose(window - 1)
        slots = torch.arange(window, device=self.count.device)
        lengths = self.lengths.clamp(max=window)
        in_length = slots < lengths.unsqueeze(-1)
        place = self.count.unsqueeze(-1) + slots  # the token index that each slot predicts
        proposal = type(proposal)(
            proposal.tokens,
            proposal.laws,
            # A draft past the end of the sample is no draft.
            in_length[:, 1:] & (place[:, :-1] < length) & proposal.valid,
            proposal.parents,
        )
        fed = torch.cat([self.pending.unsqueeze(-1), proposal.tokens], dim=1)
        conditional, unconditional = self.target.forward(fed, self.count, self._cache, guided)
        laws = self.sampling.laws(conditional, unconditional, place)
        self.broken |= (laws[..., 0].isnan() & open_rows.unsqueeze(-1)).any()
        verdict = self._rule.select(
            laws, proposal, self._residual, self._chance(place), self._geometry
        )
        token = self._draw(verdict.law, self.count + verdict.accepted)
        self._commit(proposal.tokens, verdict.accepted, token, proposal.valid, open_rows)
        if window > 1:
            finished = Round(laws, proposal, verdict, lengths, self.count, self.tokens)
            self._memory.observe(finished)
        if not self._length.constant:
            following = self._length.following(lengths, verdict.accepted, self.window)
            # A finished row must not widen the window of the others.
            self.lengths.copy_(torch.where(open_rows, following, 1))

    def _chance(self, place: Tensor) -> Chance:
        if self._gumbel is None:
            return Chance(self._accept.gather(1, place[:, :-1]), None)
        index = place.unsqueeze(-1).expand(-1, -1, self.target.vocabulary)
        return Chance(self._accept[:, : place.shape[1] - 1], self._gumbel.gather(1, index))

    def _draw(self, law: Tensor, place: Tensor) -> Tensor:
        if self._gumbel is not None:  # the law is certain already
            return law.argmax(-1)
        return draw(law, self._next.gather(1, place.unsqueeze(-1)).squeeze(-1))

    def _commit(
        self, drafts: Tensor, accepted: Tensor, token: Tensor, valid: Tensor, open_rows: Tensor
    ) -> None:
        """Write the accepted drafts and the token after them, and move the positions."""
        length = self.target.length
        slots = torch.arange(drafts.shape[1] + 1, device=drafts.device)
        line = torch.cat([drafts, token.unsqueeze(-1)], dim=1)
        end = accepted.unsqueeze(-1)
        line = torch.where(slots == end, token.unsqueeze(-1), line)
        place = self.count.unsqueeze(-1) + slots
        keep = (slots <= end) & open_rows.unsqueeze(-1)
        self.tokens.scatter_(1, place, torch.where(keep, line, self.tokens.gather(1, place)))
        gained = torch.minimum(accepted + 1, length - self.count) * open_rows
        self.counts.forwards.add_(open_rows)
        self.counts.accepted.add_(torch.minimum(accepted, gained))
        tested = valid.sum(-1)
        self.counts.rejected.add_((accepted < tested) & open_rows)
        this_round = (accepted + 1) * self.target.length + tested
        rounds = self.counts.rounds * _NEXT_ROUND + this_round
        self.counts.rounds.copy_(torch.where(open_rows, rounds, self.counts.rounds))
        self.pending.copy_(torch.where(open_rows, token, self.pending))
        self.count.add_(gained)
