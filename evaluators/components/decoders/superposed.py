"""Superposed decoding: several drafts of an answer from one forward a token.

What is fed is the drafts' last tokens at once: the average of their embeddings, weighted by how
good the drafts are. The model's likeliest tokens then continue every draft, told apart by how often
they follow its last tokens in a corpus (`--option corpus=FILE`; a small one ships), and the best
continuations stay, as in beam search. The cache holds superpositions, so scores are approximate.
`geom` weighs model and n-grams as P^(1 - alpha) G^alpha, G the weighted sum of shares of the orders
seen; `all` is G alone, `none` P alone.
Departures: at least as many drafts are kept as suggestions are wanted, and enough tokens to go on
from; a draft is done by the rule of `engine.beam`; a token without n-grams, which the released
code scores by minus infinity, comes behind all others, in the model's order.
Equivalences: without n-grams their knobs are inert; alpha 0 is `none`; `all` knows neither alpha
nor penalty; one draft without n-grams is greedy decoding.
Source: Shen et al., "Superposed Decoding" (NeurIPS 2024, arXiv:2405.18400);
RAIVNLab/SuperposedDecoding, of which the defaults are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.components.decoders.branching import Branching
from paretoken.evaluators.engine.beam import Beam
from paretoken.evaluators.engine.ngrams import LONGEST
from paretoken.evaluators.engine.suggester import Request, Suggester, Writing
from paretoken.spaces.component import Component, knob

# What a token without n-grams loses: more than any other number here, and little enough that
# float64 keeps the model's order to nine digits behind it.
_UNSEEN = 1e6
# By name, in the order of contexts of one token to LONGEST.
_WEIGHTS = ("bigram", "trigram", "four_gram", "five_gram", "six_gram")


class Superposed(Suggester):
    """Write all drafts at once."""

    scored = ("temperature", "tokens")

    drafts: int = knob(3, low=1, high=64, grid=(3, 5, 8), doc="Drafts kept, at least those wanted.")
    tokens: int = knob(
        9, low=1, high=1024, grid=(9, 15, 30), log=True, doc="Likeliest tokens that go on."
    )
    temperature: float = knob(
        0.06, low=0.01, high=4.0, grid=(0.06, 0.1, 0.3, 1.0), log=True, doc="Divides the logits."
    )
    smoothing: str = knob(
        "geom", among=("geom", "all", "none"), doc="How model and n-grams are joined."
    )
    alpha: float = knob(
        0.54, low=0.0, high=0.9, grid=(0.2, 0.54, 0.7), doc="Exponent of the n-grams."
    )
    bigram: float = knob(0.01, low=0.0, high=1.0, grid=(0.01,), doc="Weight of these n-grams.")
    trigram: float = knob(0.04, low=0.0, high=1.0, grid=(0.04,), doc="Weight of these n-grams.")
    four_gram: float = knob(0.15, low=0.0, high=1.0, grid=(0.15,), doc="Weight of these n-grams.")
    five_gram: float = knob(
        0.18, low=0.0, high=1.0, grid=(0.0, 0.18), doc="Weight of these n-grams."
    )
    six_gram: float = knob(
        0.12, low=0.0, high=1.0, grid=(0.0, 0.12), doc="Weight of these n-grams."
    )
    penalty: float = knob(
        200.0, low=0.0, high=1000.0, grid=(0.0, 200.0), doc="Of a draft without n-grams."
    )

    @property
    def asks_corpus(self) -> bool:
        return bool(self.smoothing == "all" or (self.smoothing == "geom" and self.alpha > 0.0))

    def rows(self, wanted: int) -> int:
        return 1

    def exactly(self, wanted: int) -> Suggester:
        drafts = max(int(self.drafts), wanted)
        if drafts == 1 and not self.asks_corpus:
            return Branching()
        same: Suggester = self.clone(override={"drafts": drafts})
        return same

    def scores(self, logits: Tensor) -> Tensor:
        """Log-probabilities of the tokens that go on, and 1, which none is, for the others."""
        kept = (logits / self.temperature).topk(min(int(self.tokens), logits.shape[-1]))
        return torch.ones_like(logits).scatter(-1, kept.indices, kept.values.log_softmax(-1))

    def begin(self, request: Request) -> Writing:
        return _Superposition(self, request)

    def gains(self, own: Tensor, shares: Tensor) -> Tensor:
        """What every token adds to every draft: [B, D, T].

        own: [B, 1, T], log-probabilities. shares: [LONGEST, B, D, T] of the n-grams.
        """
        weights = [float(getattr(self, name)) for name in _WEIGHTS]
        mass = sum(weight * share for weight, share in zip(weights, shares, strict=True))
        assert isinstance(mass, Tensor)
        alpha = 1.0 if self.smoothing == "all" else float(self.alpha)
        kept = own if self.smoothing == "all" else (1.0 - alpha) * own
        seen = mass > 0.0
        joined = alpha * torch.where(seen, mass, 1.0).log()
        if self.smoothing == "geom":
            joined = joined + kept
        found = torch.where(seen, joined, kept - _UNSEEN)
        if self.smoothing == "all":
            return found
        return torch.where(seen.any(-1, keepdim=True), found, kept - float(self.penalty))

    def simplified(self) -> Component:
        inert: dict[str, float | str] = {}
        if not self.asks_corpus:
            inert = {"smoothing": "none", "alpha": 0.54, "penalty": 200.0}
            inert |= {name: type(self).fields[name].default for name in _WEIGHTS}
        elif self.smoothing == "all":
            inert = {"alpha": 0.54, "penalty": 200.0}
        changed = {name: usual for name, usual in inert.items() if getattr(self, name) != usual}
        return self.clone(override=changed) if changed else self


class _Superposition:
    """B prompts, one row each."""

    def __init__(self, decoder: Superposed, request: Request) -> None:
        self._decoder, self._streams, self._wanted = decoder, request.streams, request.wanted
        target, device = request.streams.target, request.streams.target.device
        drafts = max(int(decoder.drafts), request.wanted)
        self._beam = Beam(len(request.prompts), drafts, target.length, request.streams.ends)
        enough = self._beam.candidates(target.vocabulary)
        self._kept = min(max(int(decoder.tokens), enough), target.vocabulary)
        self._temperature = float(decoder.temperature)
        self._fed = request.streams.embedded(request.pending)
        self._ngrams = request.ngrams().to(device) if decoder.asks_corpus else None
        last = torch.full((len(request.prompts), LONGEST), target.vocabulary, device=device)
        for row, prompt in enumerate(request.prompts.tolist() if self._ngrams else ()):
            said = target.contexts[prompt].tokens.flip(0)[:LONGEST]
            last[row, : len(said)] = said.to(device)
        self._last = last.unsqueeze(1).expand(-1, drafts, -1)

    @property
    def open(self) -> Tensor:
        return self._beam.open

    def advance(self) -> None:
        logits = self._streams.forward(self._fed.unsqueeze(1))
        kept = (logits.double() / self._temperature).topk(self._kept)
        own = kept.values.log_softmax(-1)  # [B, 1, T]
        tokens = kept.indices.expand(-1, self._beam.drafts, -1)
        if self._ngrams is None:
            gains = own.expand_as(tokens)
        else:
            gains = self._decoder.gains(own, self._ngrams.after(self._last, tokens))
        parents, said = self._beam.advance(gains, tokens)
        lines = self._last.gather(1, parents.unsqueeze(-1).expand_as(self._last))
        self._last = torch.cat([said.unsqueeze(-1), lines[..., :-1]], dim=-1)
        self._fed = superposed(self._streams.embedded(said), self._beam.scores)

    def best(self) -> Tensor:
        return self._beam.best(self._wanted)


def superposed(embeddings: Tensor, scores: Tensor) -> Tensor:
    """The drafts' embeddings [B, D, E], weighted by the softmax of their scores [B, D]: [B, E].

    Drafts with the same last token add their weights up. The sum is in float32 or wider, whatever
    the precision of the model.
    """
    wide = torch.promote_types(embeddings.dtype, torch.float32)
    weights = scores.softmax(-1).to(wide).unsqueeze(-1)
    return (weights * embeddings).sum(1).to(embeddings.dtype)


plugin = Superposed
