"""SWE: merge the pair of neighbours that raises the likelihood of the text most, exactly.

Begins as BPE does, and wants what WordPiece wants: each merge is the one after which the text is
most probable under the frequencies of its pieces, worked out exactly (see `subwords.merging`).
Against BPE it takes fewer bits a text of independent pieces, and more of them.
`objective` has two older criteria as well: `pmi`, and the published one of WordPiece, `ratio`,
which without a least count of pairs does little but join what is rare.
Equivalences: with `words=byte_level` every byte has a piece, so `byte_fallback` does nothing.
Source: the idea of arXiv:2410.18441 (2024), of which only the abstract was read: the algorithm is
our own reading of it.
"""

from __future__ import annotations

from typing import Any

from paretoken.evaluators.subwords.merging import OBJECTIVES, merged, viterbi_scores
from paretoken.evaluators.subwords.subword import Subword, Text, by_merges, by_scores
from paretoken.spaces.component import knob


class Swe(Subword):
    """Merges by exact likelihood gain."""

    byte_fallback: bool = knob(False, doc="Write what has no piece as its bytes.")
    objective: str = knob(
        "likelihood", among=OBJECTIVES, grid=("likelihood",), doc="What a merge is chosen by."
    )
    least: int = knob(
        2, low=1, high=1000, grid=(2,), doc="How often a pair is met at least to be merged."
    )
    cut: str = knob(
        "merges", among=("merges", "viterbi"),
        doc="Words are cut by merges in their order, or where their probability is greatest.",
    )  # fmt: skip

    def basis(self, text: Text) -> int:
        # The library cannot fall back on bytes without an unknown token.
        more = self.cut == "viterbi" and self.falls_back and not text.cutting.complete
        return super().basis(text) + more

    def model(self, text: Text, room: int) -> Any:
        room -= self.basis(text) - len(text.alphabet)
        found = merged(text.counts, text.alphabet, room, self.objective, self.least)
        if self.cut == "merges":
            return by_merges(text.alphabet, found.merges, self.extra)
        return by_scores(viterbi_scores(text.counts, found.counts), self.extra)


plugin = Swe
