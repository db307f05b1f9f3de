"""A decoding session: B rows that advance independently, one round at a time.

All state lives in tensors of fixed shape that a round updates in place without asking the device
anything, so that the same code runs eagerly on a CPU and inside a CUDA graph.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from paretoken.evaluators.components.decoders.speculative import Speculative
from paretoken.evaluators.engine.drafter import Round, Shape
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.laws import draw
from paretoken.evaluators.engine.noise import Purpose, gumbels, tables
from paretoken.evaluators.engine.proposal import Verdict
from paretoken.evaluators.engine.rows import Rows
from paretoken.evaluators.engine.sampling import Sampling
from paretoken.evaluators.engine.target import Staged, Target, TreeTarget
from paretoken.evaluators.engine.tree import Tree, tree_of
from paretoken.evaluators.engine.verifier import Chance
from paretoken.spaces.errors import MeasurementFailed


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
        prompts: Tensor | None = None,
    ) -> None:
        """prompts: those that will be asked, [n]; left out, any may be."""
        self.target, self.decoder, self.sampling = target, decoder, sampling
        self.batch, self.seed = batch, seed
        drafter = decoder.drafting
        self.window = drafter.most
        self._geometry, self._rule = geometry, decoder.rule
        # Reading a field of a symbolic object takes longer than a small tensor operation.
        self._residual, self._length = decoder.residual, decoder.length
        self._cache: Any = target.allocate(batch, sampling.guided)
        length, device = target.length, target.device
        padded = length + self.window
        self._asks_model, self._ragged = self._rule.asks_model, drafter.ragged
        shape = Shape(
            batch, length, target.vocabulary, target.width, device, dtype,
            target, sampling, self._length, self._cache, prompts,
        )  # fmt: skip
        if drafter.nodes >= self.window and not isinstance(target, TreeTarget):
            raise MeasurementFailed(
                "unsupported",
                f"{drafter.tag()} drafts a tree, which {type(target).__name__} cannot look at: use "
                "another drafter, or one draft at a time (--set decoder.drafts=1).",
            )
        self._memory = drafter.memory(shape)
        self.capturable = target.capturable and self._memory.capturable
        draft = getattr(self._memory, "model", None)
        self._staged = target if isinstance(target, Staged) else None
        self._draft = draft if isinstance(draft, Staged) else None
        self.rows = Rows(batch, length, self.window, device, target.ends)
        # One uniform for each position, or for each slot of each round.
        self._renews = self._rule.renews_chance
        if self._renews and not drafter.drafts_afresh:
            raise MeasurementFailed(
                "unsupported",
                f"{self._rule.tag()} needs drafts that are made anew in every round, not those of "
                f"{drafter.tag()}: use another drafter, or verifiers/exact.",
            )
        slots = max(1, drafter.nodes) if self._renews else 1
        self._accept = torch.zeros(batch, padded, slots, device=device)
        self._next = torch.zeros(batch, padded, device=device)
        self._gumbel: Tensor | None = None
        shared = drafter.shares_noise
        self._idle = shared and sampling.certain
        if shared:
            # Where nothing is left to chance one zero stands for all the noise, but for kernels.
            whole = (batch, padded, target.vocabulary)
            held = (1, 1, 1) if self._idle and device.type == "cpu" else whole
            self._gumbel = torch.zeros(held, device=device).expand(whole)

    def load(self, rows: Tensor, ids: Tensor, classes: Tensor) -> None:
        """Start samples in some rows. rows, ids (row ids of the random numbers), classes: [n]."""
        pending = self.target.begin(classes, rows, self._cache)
        self.rows.start(rows, pending, self._length.first(self.window))
        # Positions beyond the sample are fed for windows that overhang; their numbers are unused.
        used = self.target.length
        if self._gumbel is not None:
            if not self._idle:
                self._gumbel[rows, :used] = gumbels(self.seed, ids, used, self.target.vocabulary)
        else:
            slots = self._accept.shape[-1]
            drawn = tables(self.seed, {Purpose.ACCEPT: slots, Purpose.NEXT: 1}, ids, used)
            self._accept[rows, :used] = drawn[Purpose.ACCEPT]
            self._next[rows, :used] = drawn[Purpose.NEXT][..., 0]
        self._memory.reset(rows, ids, self.seed, classes)

    @property
    def begins(self) -> tuple[int, ...]:
        """The counts of tokens from which on rounds may need fewer layers; the first is 0."""
        # A draft model is fed from one place before where its row stands.
        late = () if self._draft is None else (1 + at for at in self._draft.begins)
        own = () if self._staged is None else (max(0, at) for at in self._staged.begins)
        return tuple(sorted({0, *own, *(at for at in late if at < self.target.length)}))

    def aim(self, least: int) -> None:
        """The next rounds are of rows that stand at `least` tokens or behind."""
        if self._staged is not None:
            self._staged.aim(least)
        if self._draft is not None:
            self._draft.aim(least - 1)

    def round(self, window: int, guided: bool) -> None:
        """Advance every unfinished row by 1 … window tokens with one target forward.

        window: tokens fed (of a tree of drafts: those of a path), the same for all rows; a row that
        wants more gets so many.
        guided: whether unconditional logits are needed for any row.
        """
        rows, drafts = self.rows, self._memory.propose(window - 1)
        device = drafts.tokens.device
        tree = None if drafts.is_chain else tree_of(drafts.parents, device)
        fed = rows.feed(drafts.tokens, drafts.valid, tree)
        proposal = type(drafts)(drafts.tokens, drafts.laws, fed.valid, drafts.parents)
        if self._ragged and device.type == "cpu":  # a device is not asked
            longest = proposal.filled()
            proposal, fed = proposal.first(longest), fed.first(longest + 1)
            tree = None if proposal.is_chain else tree_of(proposal.parents, device)
        conditional, unconditional = self._logits(fed.tokens, guided, tree)
        laws = self.sampling.laws(conditional, unconditional, fed.place)
        own = conditional.softmax(-1) if self._asks_model else None
        accept = self._uniforms(fed.place[:, :-1])
        chance = Chance(accept, self._gumbel, fed.place, own)
        verdict = self._rule.select(laws, proposal, self._residual, chance, self._geometry)
        token = self._following(verdict, fed.place)
        finished = rows.count >= self.target.length
        if tree is None:
            rows.commit(proposal.tokens, proposal.valid, verdict.accepted, token, laws)
        else:
            cast("TreeTarget", self.target).keep(verdict.path, rows.count, self._cache)
            rows.commit_path(proposal, verdict, token, laws)
        lengths = rows.lengths.clamp(max=window)
        if window > 1 or self._ragged:
            self._memory.observe(Round(laws, proposal, verdict, lengths, rows.count, rows.tokens))
        if not self._length.constant:
            following = self._length.following(lengths, verdict.accepted, self.window)
            # A finished row must not widen the window of the others.
            rows.lengths.copy_(torch.where(finished, 1, following))

    def _logits(
        self, tokens: Tensor, guided: bool, tree: Tree | None
    ) -> tuple[Tensor, Tensor | None]:
        """The target's logits after tokens [B, W] behind what stands."""
        if tree is None:
            return self.target.forward(tokens, self.rows.count, self._cache, guided)
        target = cast("TreeTarget", self.target)
        return target.forward(tokens, self.rows.count, self._cache, guided, tree)

    def _uniforms(self, place: Tensor) -> Tensor:
        """What decides the drafts at place [B, D]; under shared noise nobody reads it."""
        table, drafts = self._accept, place.shape[1]
        if self._gumbel is not None:
            return table[:, :drafts, 0]
        if not self._renews:
            return table[..., 0].gather(1, place)
        rounds = self.rows.counts.forwards.clamp(max=table.shape[1] - 1).view(-1, 1, 1)
        return table.gather(1, rounds.expand(-1, 1, table.shape[2])).squeeze(1)[:, :drafts]

    def _following(self, verdict: Verdict, place: Tensor) -> Tensor:
        """The token [B] after the accepted path."""
        accepted = verdict.accepted.unsqueeze(-1)
        if verdict.law is None:
            assert verdict.fresh is not None
            return verdict.fresh.gather(1, accepted).squeeze(-1)
        uniform = self._next.gather(1, place[:, :1] + accepted).squeeze(-1)
        return draw(verdict.law, uniform)
