"""Beam search: the likeliest answers, as far as a few drafts kept at a time can find them.

Every draft is a row of the target. At least as many are kept as suggestions are wanted.
Equivalence: one draft is greedy decoding, whatever the length penalty.
Source: Graves, "Sequence transduction with recurrent neural networks" (2012, arXiv:1211.3711);
as in Hugging Face transformers with num_beams, length_penalty and early_stopping.
"""

from __future__ import annotations

from torch import Tensor

from paretoken.evaluators.components.decoders.branching import Branching
from paretoken.evaluators.engine.beam import Beam
from paretoken.evaluators.engine.suggester import Request, Suggester, Writing
from paretoken.spaces.component import knob


class BeamSearch(Suggester):
    """Keep the likeliest."""

    width: int = knob(3, low=1, high=64, grid=(3, 5, 8), doc="Drafts kept, at least those wanted.")
    length_penalty: float = knob(
        1.0,
        low=0.0,
        high=4.0,
        grid=(0.0, 1.0),
        doc="Scores are divided by length to this power.",
    )

    def rows(self, wanted: int) -> int:
        return max(int(self.width), wanted)

    def exactly(self, wanted: int) -> Suggester:
        if self.rows(wanted) == 1:
            return Branching()
        same: Suggester = self.clone(override={"width": self.rows(wanted)})
        return same

    def scores(self, logits: Tensor) -> Tensor:
        return logits.softmax(-1)

    def begin(self, request: Request) -> Writing:
        return _Beams(self, request)


class _Beams:
    """B prompts, a row for each draft."""

    def __init__(self, decoder: BeamSearch, request: Request) -> None:
        self._streams, self._wanted = request.streams, request.wanted
        target = request.streams.target
        drafts = request.streams.rows
        self._beam = Beam(
            len(request.prompts), drafts, target.length, request.streams.ends,
            float(decoder.length_penalty),
        )  # fmt: skip
        self._kept = self._beam.candidates(target.vocabulary)
        self._fed = request.pending.unsqueeze(-1).expand(-1, drafts)

    @property
    def open(self) -> Tensor:
        return self._beam.open

    def advance(self) -> None:
        law = self._streams.forward(self._fed).double().log_softmax(-1)
        gains, tokens = law.topk(self._kept)
        parents, self._fed = self._beam.advance(gains, tokens)
        self._streams.take(parents)

    def best(self) -> Tensor:
        return self._beam.best(self._wanted)


plugin = BeamSearch
