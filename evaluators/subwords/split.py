"""Split: what a trained tokenizer makes of a corpus, with the proof that nothing is lost.

Two tokenizers that give the same tokens throughout are one behaviour, whatever their settings and
however they write their entries: entries are numbered anew in the order in which they are met, so
that equal splits are equal numbers, and a model trained on them is the same, bit for bit.

An unknown token hides what it stands for. It is paid for as if it were spelt behind the token: each
of its bytes, and the end, with one of 257 equally probable symbols. So bits per byte are those of a
code from which the text can be read again, and compare between tokenizers that know everything and
such that do not. What is lost in any other way is a failure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xxhash
from numpy.typing import NDArray

from paretoken.spaces.errors import MeasurementFailed

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPELT_BITS = math.log2(257)
_SHOWN = 20  # characters around the first place where a text is not restored
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """One half of a corpus. ids: [t]. bytes, words: of its text; words are what spaces part.
    unknown: tokens; hidden: bytes that they stand for.
    """

    ids: Ids
    bytes: int
    words: int
    unknown: int
    hidden: int

    @property
    def spelt_bits(self) -> float:
        """What unknown tokens cost beside themselves."""
        return (self.hidden + self.unknown) * SPELT_BITS

    @property
    def order0_bits(self) -> float:
        """Bits of the tokens, were each independent of the others, and what is unknown spelt."""
        counts = np.unique(self.ids, return_counts=True)[1]
        share = counts / counts.sum()
        return float(-(counts * np.log2(share)).sum()) + self.spelt_bits


@dataclass(frozen=True)
class Split:
    """vocabulary: entries of the tokenizer, those that are never met included."""

    vocabulary: int
    train: Part
    held_out: Part

    @property
    def digest(self) -> str:
        """Equal for equal behaviour on this corpus."""
        state = xxhash.xxh3_128(f"paretoken split 1 {self.vocabulary}".encode())
        for part in (self.train, self.held_out):
            told = [part.bytes, part.words, part.unknown, part.hidden, len(part.ids)]
            state.update(np.array(told, dtype="<i8").tobytes() + part.ids.astype("<i8").tobytes())
        return state.hexdigest()


def split(tokenizer: Tokenizer, train: Sequence[str], held_out: Sequence[str]) -> Split:
    """Tokens of both halves; raises MeasurementFailed where a document is not restored."""
    parts = [_part(tokenizer, documents) for documents in (train, held_out)]
    numbers: dict[int, int] = {}
    for part in parts:
        for one in part.ids.tolist():
            numbers.setdefault(one, len(numbers))
    size = tokenizer.get_vocab_size()
    renumber = np.zeros(size, dtype=np.int64)
    renumber[list(numbers)] = list(numbers.values())
    new = (
        Part(renumber[part.ids], part.bytes, part.words, part.unknown, part.hidden)
        for part in parts
    )
    return Split(size, *new)


def _part(tokenizer: Tokenizer, documents: Sequence[str]) -> Part:
    from paretoken.evaluators.subwords.cutting import UNKNOWN

    unknown_id = tokenizer.token_to_id(UNKNOWN)
    ids: list[int] = []
    unknown = hidden = 0
    for document in documents:
        encoded = tokenizer.encode(document, add_special_tokens=False)
        spans = [
            span
            for one, span in zip(encoded.ids, encoded.offsets, strict=True)
            if one == unknown_id
        ]
        known = [one for one in encoded.ids if one != unknown_id]
        left, begun = [], 0
        for start, end in spans:
            left.append(document[begun:start])
            hidden += len(document[start:end].encode())
            begun = end
        left.append(document[begun:])
        unknown += len(spans)
        _check("".join(left), tokenizer.decode(known, skip_special_tokens=False))
        ids += encoded.ids
    text = "".join(documents)
    return Part(np.array(ids, dtype=np.int64), len(text.encode()), len(text.split()), unknown,
                hidden)  # fmt: skip


def _check(wanted: str, restored: str) -> None:
    if restored == wanted:
        return
    pairs = zip(wanted, restored, strict=False)
    place = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(wanted), len(restored)))
    here = slice(max(0, place - _SHOWN), place + _SHOWN)
    raise MeasurementFailed(
        "lossy",
        f"the text is not restored: {wanted[here]!r} became {restored[here]!r}. Take "
        "normaliser=none and words=byte_level, which keep every byte.",
    )
