"""Jacobi drafts: the target's own guesses of one round are the drafts of the next.

A window of W tokens is fed: the pending token and W - 1 guesses. Beside deciding how many guesses
stand, the target yields a law for every slot; a token drawn from each is the guess for that slot
in the next round, remembered with its law. New slots at the end are filled by an initialiser and
are certain of themselves (one-hot law). Any initialiser and coupling is lossless under an exact
verifier: given all earlier tokens, each guess has its recorded law.
Couplings of the new guess to the old one: `none` draws afresh; `maximal` keeps the old guess as
often as the laws allow; `gumbel` draws old and new with noise fixed per position, so that
verification is equality and the output is the plain decoder's, token for token.
Sources: Teng et al., SJD (ICLR 2025, arXiv:2410.01699); couplings: So et al., Speculative Coupled
Decoding (2025, arXiv:2510.24211).
"""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.components.drafters.none import NoDraft
from paretoken.evaluators.engine.drafter import Drafter, DraftMemory, Round, Shape
from paretoken.evaluators.engine.laws import at, draw, normalised, one_hot
from paretoken.evaluators.engine.noise import Purpose, tables
from paretoken.evaluators.engine.proposal import Proposal
from paretoken.evaluators.kernels import fused
from paretoken.spaces.component import Component, knob


class Jacobi(Drafter):
    """Let the target draft for itself, one round ahead."""

    window: int = knob(
        16,
        low=1,
        high=64,
        grid=(2, 4, 8, 16, 32, 64),
        log=True,
        doc="Tokens a target forward sees.",
    )
    init: str = knob(
        "random",
        among=("random", "repeat_left", "law_left", "repeat_above"),
        doc="New slots: any token, the left one, the likeliest under its law, or the one above.",
    )
    coupling: str = knob(
        "none", among=("none", "maximal", "gumbel"), doc="How a new guess depends on the old one."
    )

    @property
    def most(self) -> int:
        return int(self.window)

    @property
    def shares_noise(self) -> bool:
        # A window of one drafts nothing: plain decoding, down to its very tokens.
        return bool(self.coupling == "gumbel" or self.window == 1)

    @property
    def drafts_afresh(self) -> bool:
        return False  # guesses that did not stand are drafts again

    def memory(self, shape: Shape) -> DraftMemory:
        return _Guesses(self, shape)

    def simplified(self) -> Component:
        return NoDraft() if self.window == 1 else self


class _Guesses:
    """Guesses for the next W - 1 slots of every row: tokens [B, W - 1] and laws [B, W - 1, V]."""

    capturable = True

    def __init__(self, drafter: Jacobi, shape: Shape) -> None:
        self._init, self._coupling = drafter.init, drafter.coupling
        self._shape, self._slots = shape, drafter.most - 1
        device = shape.device
        self._tokens = torch.zeros(shape.batch, self._slots, dtype=torch.int64, device=device)
        # Under shared noise nobody asks for the laws of guesses.
        self._remembers_laws = self._coupling != "gumbel"
        remembered = shape.vocabulary if self._remembers_laws else 0
        self._laws = torch.zeros(
            shape.batch, self._slots, remembered, dtype=shape.dtype, device=device
        )
        self._valid = torch.ones(shape.batch, self._slots, dtype=torch.bool, device=device)
        self._round = torch.zeros(shape.batch, dtype=torch.int64, device=device)
        # Uniforms of every round a sample can need, [B, N, slots]: drawn once when it starts.
        self._uses = {Purpose.DRAFT: drafter.most, Purpose.START: self._slots}
        if self._coupling == "maximal":
            self._uses |= {Purpose.COUPLE: self._slots, Purpose.REDRAW: self._slots}
        if self._coupling == "gumbel":
            del self._uses[Purpose.DRAFT]
        self._chance = {
            purpose: torch.zeros(shape.batch, shape.length, slots, device=device)
            for purpose, slots in self._uses.items()
        }

    def reset(self, rows: Tensor, ids: Tensor, seed: int, classes: Tensor) -> None:
        drawn = tables(seed, self._uses, ids, self._shape.length)
        for purpose, table in self._chance.items():
            table[rows] = drawn[purpose]
        self._round[rows] = 0
        fresh = (drawn[Purpose.START][:, 0] * self._shape.vocabulary).long()
        self._tokens[rows] = fresh
        if self._remembers_laws:
            self._laws[rows] = one_hot(fresh, self._shape.vocabulary, self._laws.dtype)

    def _uniform(self, purpose: Purpose) -> Tensor:
        """This round's uniforms [B, slots] of one purpose."""
        table = self._chance[purpose]
        index = self._round.clamp(max=table.shape[1] - 1).view(-1, 1, 1)
        return table.gather(1, index.expand(-1, 1, table.shape[2])).squeeze(1)

    def propose(self, drafts: int) -> Proposal:
        return Proposal(
            self._tokens[:, :drafts],
            self._laws[:, :drafts],
            self._valid[:, :drafts],
            tuple(range(-1, drafts - 1)),
        )

    def observe(self, finished: Round) -> None:
        guess = self._guess(finished)
        if fused(guess.device, self._laws.shape[-1]):
            self._move(finished, guess)
            return
        window, slots = guess.shape[1], self._slots
        shift = finished.verdict.accepted + 1
        source = torch.arange(slots, device=guess.device) + shift.unsqueeze(-1)  # [B, slots]
        # A row's slots beyond its own length were fed for the sake of others: it must not see them.
        known = source < finished.lengths.unsqueeze(-1)
        inside = source.clamp(max=window - 1)
        tokens = guess.gather(1, inside)
        self._round += 1
        new = self._new_tokens(finished, guess, tokens, known)
        self._tokens.copy_(torch.where(known, tokens, new))
        if self._remembers_laws:
            every = inside.unsqueeze(-1).expand(-1, -1, finished.laws.shape[-1])
            laws = finished.laws.gather(1, every)
            certain = one_hot(new, self._shape.vocabulary, self._laws.dtype)
            self._laws.copy_(torch.where(known.unsqueeze(-1), laws, certain))

    def _move(self, finished: Round, guess: Tensor) -> None:
        """The same in two launches."""
        from paretoken.evaluators.kernels.guesses import move, move_laws

        accepted, lengths = finished.verdict.accepted, finished.lengths
        likeliest = self._round  # not read, unless
        if self._init == "law_left":
            likeliest = at(finished.laws, lengths - 1).argmax(-1)
        move(
            guess, accepted, lengths, finished.count, finished.tokens, self._round,
            self._chance[Purpose.START], likeliest, self._init, self._shape.vocabulary,
            self._shape.width, self._tokens,
        )  # fmt: skip
        if self._remembers_laws:
            move_laws(finished.laws, accepted, lengths, self._tokens, self._laws)

    def _guess(self, finished: Round) -> Tensor:
        """A new token for every slot of the window, [B, W], drawn from its law."""
        laws, proposal = finished.laws, finished.proposal
        if finished.verdict.fresh is not None:  # shared noise: the verifier drew them already
            return finished.verdict.fresh
        window = laws.shape[1]
        fresh = draw(laws, self._uniform(Purpose.DRAFT)[:, :window])
        if self._coupling != "maximal" or window == 1:
            return fresh
        p, q, old = laws[:, :-1], proposal.laws, proposal.tokens
        chosen = old.unsqueeze(-1)
        ratio = (p.gather(-1, chosen) / q.gather(-1, chosen)).squeeze(-1)
        kept = self._uniform(Purpose.COUPLE)[:, : window - 1] < ratio
        residual = normalised((p - q).clamp_min(0.0), otherwise=p)
        redrawn = draw(residual, self._uniform(Purpose.REDRAW)[:, : window - 1])
        # Past a row's own drafts stand guesses that were fed for the sake of longer rows.
        own = torch.arange(window - 1, device=old.device) < finished.lengths.unsqueeze(-1) - 1
        coupled = torch.where(kept, old, redrawn)
        return torch.cat([torch.where(own, coupled, fresh[:, :-1]), fresh[:, -1:]], dim=1)

    def _new_tokens(self, finished: Round, guess: Tensor, tokens: Tensor, known: Tensor) -> Tensor:
        """Tokens [B, slots] for the slots that no guess reaches; computed for all, used there."""
        width, vocabulary = self._shape.width, self._shape.vocabulary
        anything = (self._uniform(Purpose.START) * vocabulary).long()
        if self._init == "random":
            return anything
        slots = torch.arange(self._slots, device=guess.device)
        place = finished.count.unsqueeze(-1) + slots  # absolute position of each slot
        last = finished.lengths - 1  # the window's last slot: the last token anybody guessed
        if self._init == "repeat_above":
            # Positions above may lie in the committed text or among the guesses just drawn.
            board = finished.tokens.scatter(
                1,
                place.clamp(max=finished.tokens.shape[1] - 1),
                torch.where(known, tokens, anything),
            )
            end = (finished.count + known.sum(-1)).unsqueeze(-1)  # first unknown position
            rows_up = (place - end).clamp_min(-1).div(width, rounding_mode="floor") + 1
            above = place - rows_up.clamp_min(1) * width
            return torch.where(above >= 0, board.gather(1, above.clamp_min(0)), anything)
        if self._init == "repeat_left":
            left = guess.gather(1, last.unsqueeze(-1))
        else:
            left = at(finished.laws, last).argmax(-1).unsqueeze(-1)
        return torch.where(place % width == 0, anything, left)


plugin = Jacobi
