"""Subword: the base of tokenizers that cut words into pieces, and how one is trained and put whole.

Families differ in how they choose pieces and how they cut words into them; what comes before and
after is common. `vocabulary` is the number of all entries: bytes to fall back on and the unknown
token are among them. Trainers of libraries exceed it silently where the alphabet alone is larger
(asked for 400, WordPiece gives 512); here that is refused.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from paretoken.evaluators.subwords.cutting import BYTES, NORMALISERS, UNKNOWN, WORDS, Cutting
from paretoken.spaces.component import Component, knob
from paretoken.spaces.errors import MeasurementFailed

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class Text:
    """What a tokenizer is trained on, as its cutting sees it."""

    documents: Sequence[str]
    cutting: Cutting

    @cached_property
    def counts(self) -> Counter[str]:
        return self.cutting.counts(self.documents)

    @cached_property
    def alphabet(self) -> tuple[str, ...]:
        return self.cutting.alphabet(self.counts)


class Subword(Component):
    """Pieces of words, as many as the vocabulary has room for."""

    kind = "tokenizers"

    vocabulary: int = knob(
        1024, low=256, high=32768, grid=(512, 1024, 2048, 4096), log=True,
        doc="Entries in all, bytes and the unknown token included.",
    )  # fmt: skip
    words: str = knob(
        "byte_level", among=WORDS,
        doc="Words of bytes by GPT-2's pattern; words with the space in front of them; or words "
        "and white space apart.",
    )  # fmt: skip
    digits: bool = knob(False, doc="Whether every digit is a word of its own.")
    normaliser: str = knob(
        "none", among=NORMALISERS, grid=("none", "nfc"), doc="What is done to text first."
    )

    @property
    def cutting(self) -> Cutting:
        return Cutting(self.words, self.digits, self.normaliser)

    @property
    def falls_back(self) -> bool:
        """Whether characters that have no piece are written as bytes."""
        return bool(self.sym_getattr("byte_fallback")) if "byte_fallback" in self.fields else False

    @property
    def extra(self) -> tuple[str, ...]:
        """Entries that are no pieces: they come first."""
        if self.cutting.complete:
            return ()
        return BYTES if self.falls_back else (UNKNOWN,)

    @abstractmethod
    def model(self, text: Text, room: int) -> Any:
        """The trained model as an object of `tokenizers.models`. room: for pieces."""

    def basis(self, text: Text) -> int:
        """How many pieces there have to be: the alphabet."""
        return len(text.alphabet)

    def train(self, documents: Sequence[str]) -> Tokenizer:
        """The tokenizer, trained; the same for the same documents.

        Raises MeasurementFailed where the vocabulary has no room for the alphabet.
        """
        from tokenizers import Tokenizer

        text = Text(documents, self.cutting)
        needed = self.basis(text) + len(self.extra)
        if needed > self.vocabulary:
            raise MeasurementFailed(
                "unsupported",
                f"a vocabulary of {self.vocabulary} has no room for the {needed} entries that this "
                f"{self.tag()} cannot do without: take {needed} or more.",
            )
        made = Tokenizer(self.model(text, self.vocabulary - len(self.extra)))
        if (normalizer := self.cutting.normalizer()) is not None:
            made.normalizer = normalizer
        made.pre_tokenizer = self.cutting.pre_tokenizer()
        made.decoder = self.decoder()
        return made

    def decoder(self) -> Any:
        return self.cutting.decoder(byte_fallback=self.falls_back)

    def simplified(self) -> Component:
        if self.cutting.complete and self.falls_back:  # every byte has a piece already
            inert: Component = self.clone(override={"byte_fallback": False})
            return inert
        return self


def by_merges(
    alphabet: Sequence[str], merges: Sequence[tuple[str, str]], extra: tuple[str, ...]
) -> Any:
    """A model that applies merges in their order to words; entries in the order of their making."""
    from tokenizers.models import BPE

    pieces = dict.fromkeys([*extra, *alphabet, *(a + b for a, b in merges)])
    return BPE(
        {piece: entry for entry, piece in enumerate(pieces)},
        list(merges),
        unk_token=UNKNOWN if UNKNOWN in extra else None,
        byte_fallback=extra == BYTES,
        fuse_unk=False,
    )


def by_scores(scores: dict[str, float], extra: tuple[str, ...]) -> Any:
    """A model that cuts words where the sum of scores (natural logarithms) is greatest.

    What is in no piece costs more than anything else would. Bytes to fall back on are entries of
    the vocabulary that no text is to match by itself.
    """
    from tokenizers.models import Unigram

    worst = min(scores.values()) - 100.0
    # Characters without a piece reach the bytes through the unknown token, which has to be there.
    entries = [UNKNOWN, *BYTES] if extra == BYTES else list(extra)
    vocabulary = [(entry, worst) for entry in entries] + sorted(
        scores.items(), key=lambda one: (-one[1], one[0])
    )
    return Unigram(vocabulary, 0 if entries else None, extra == BYTES)
