"""The rows of a session: what every sample has so far, how a round is fed and how it is kept."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from paretoken.evaluators.engine.proposal import Proposal, Verdict
from paretoken.evaluators.engine.tree import Tree, levels
from paretoken.evaluators.kernels import fused

# Of a polynomial over the rounds, modulo 2^64: the prime of FNV-1a.
_NEXT_ROUND = 1099511628211
# What a node of a tree counts in a round, beside its path: more than any path can.
_NODE = 1 << 32


class RowCounts(NamedTuple):
    """Work of each row since its reset, [B] int64: forwards, drafts accepted and rejected.

    rounds: a number that depends on how many drafts every single round tested and kept, in order.
    """

    forwards: Tensor
    accepted: Tensor
    rejected: Tensor
    rounds: Tensor


class Fed(NamedTuple):
    """What one round shows the target: tokens [B, W], the place [B, W] that each predicts in its
    sample, and which drafts count, [B, W - 1] bool."""

    tokens: Tensor
    place: Tensor
    valid: Tensor

    def first(self, window: int) -> Fed:
        """What a shorter window shows."""
        return Fed(
            self.tokens[:, :window], self.place[:, :window], self.valid[:, : max(0, window - 1)]
        )


class Rows:
    """B rows of up to N tokens, updated in place so that a CUDA graph can hold a round.

    tokens: [B, N + pad]. pending: [B], the token that is fed next. count: [B], tokens that stand; N
    where a row is finished. lengths: [B], tokens that the next window is to hold. broken: [1], not
    0 once any law was no number. standing: the last three in one tensor, for the host to look at.
    ends: tokens after which a sample is over; the rest of its row repeats the one that ended it.
    """

    def __init__(
        self,
        batch: int,
        length: int,
        window: int,
        device: torch.device,
        ends: tuple[int, ...] = (),
    ) -> None:
        def zeros(*size: int) -> Tensor:
            return torch.zeros(batch, *size, dtype=torch.int64, device=device)

        self.length = length
        self._ends = torch.tensor(ends, dtype=torch.int64, device=device)
        self._places = torch.arange(length + window, device=device)
        self.tokens, self.pending = zeros(length + window), zeros()
        self.counts = RowCounts(zeros(), zeros(), zeros(), zeros())
        self.standing = torch.zeros(2 * batch + 1, dtype=torch.int64, device=device)
        self.count, self.lengths = self.standing[:-1].view(2, batch)
        self.broken = self.standing[-1:]
        self.count.fill_(length)
        self.lengths.fill_(window)

    def start(self, rows: Tensor, pending: Tensor, first: int) -> None:
        """Begin samples in some rows: their pending tokens, and the length of their windows."""
        self.pending[rows] = pending
        self.count[rows] = 0
        self.tokens[rows] = 0
        self.lengths[rows] = first
        for counter in self.counts:
            counter[rows] = 0

    def feed(self, drafts: Tensor, offered: Tensor, tree: Tree | None = None) -> Fed:
        """The pending token and drafts [B, W - 1], of which those `offered` can count.

        A draft counts within its row's length and before the end of its sample. tree: of the
        drafts, where they are no chain; a row's length is then its number of levels.
        """
        if tree is None and fused(drafts.device):
            from paretoken.evaluators.kernels import rows as kernels

            return Fed(
                *kernels.feed(self.pending, drafts, offered, self.count, self.lengths, self.length)
            )
        slots = (
            torch.arange(drafts.shape[1] + 1, device=drafts.device) if tree is None else tree.depth
        )
        place = self.count.unsqueeze(-1) + slots
        in_length = slots[1:] < self.lengths.unsqueeze(-1)
        valid = in_length & (place[:, 1:] <= self.length) & offered
        return Fed(torch.cat([self.pending.unsqueeze(-1), drafts], dim=1), place, valid)

    def commit(
        self, drafts: Tensor, valid: Tensor, accepted: Tensor, token: Tensor, laws: Tensor
    ) -> None:
        """Write the accepted drafts and the token after them, and move the positions.

        drafts, valid: [B, W - 1]. accepted, token: [B]. laws: [B, W, V], looked at for NaN.
        Rows that were finished before stay as they are.
        """
        if fused(drafts.device):
            from paretoken.evaluators.kernels import rows as kernels

            state = (self.tokens, self.pending, self.count, *self.counts, self.broken)
            kernels.commit(state, drafts, valid, accepted, token, laws, self.length, _NEXT_ROUND)
            self._close()
            return
        open_rows = self.count < self.length
        slots = torch.arange(drafts.shape[1] + 1, device=drafts.device)
        line = torch.cat([drafts, token.unsqueeze(-1)], dim=1)
        end = accepted.unsqueeze(-1)
        line = torch.where(slots == end, token.unsqueeze(-1), line)
        place = self.count.unsqueeze(-1) + slots
        keep = (slots <= end) & open_rows.unsqueeze(-1)
        self.tokens.scatter_(1, place, torch.where(keep, line, self.tokens.gather(1, place)))
        gained = torch.minimum(accepted + 1, self.length - self.count) * open_rows
        self.counts.forwards.add_(open_rows)
        self.counts.accepted.add_(torch.minimum(accepted, gained))
        tested = valid.sum(-1)
        self.counts.rejected.add_((accepted < tested) & open_rows)
        this_round = (accepted + 1) * self.length + tested
        rounds = self.counts.rounds * _NEXT_ROUND + this_round
        self.counts.rounds.copy_(torch.where(open_rows, rounds, self.counts.rounds))
        self.pending.copy_(torch.where(open_rows, token, self.pending))
        self.count.add_(gained)
        self.broken |= (laws[..., 0].isnan() & open_rows.unsqueeze(-1)).any()
        self._close()

    def commit_path(
        self, proposal: Proposal, verdict: Verdict, token: Tensor, laws: Tensor
    ) -> None:
        """`commit` where the drafts were a tree; of a round that offered more nodes, more is
        counted in `rounds`. laws: [B, D + 1, V]."""
        nodes = proposal.valid.sum(-1) * (self.count < self.length)
        tested = torch.stack(
            [proposal.valid[:, level].any(-1) for level in levels(proposal.parents)], dim=1
        )
        slots = torch.nn.functional.pad(verdict.path + 1, (1, 0)).unsqueeze(-1)
        seen = laws[..., :1].gather(1, slots)
        line = proposal.tokens.gather(1, verdict.path)
        self.commit(line, tested, verdict.accepted, token, seen)
        self.counts.rounds.add_(nodes * _NODE)

    def _close(self) -> None:
        """Finish the rows in which a sample has ended."""
        if not len(self._ends):
            return
        ended = torch.isin(self.tokens, self._ends) & (self._places < self.count.unsqueeze(-1))
        over = ended.any(-1)
        end = ended.long().argmax(-1, keepdim=True)  # the first of them
        rest = over.unsqueeze(-1) & (self._places > end)
        self.tokens.copy_(torch.where(rest, self.tokens.gather(1, end), self.tokens))
        self.count.copy_(torch.where(over, self.length, self.count))
