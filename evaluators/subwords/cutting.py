"""Cutting: what happens to text before a subword model sees it, and how tokens become text again.

A text is normalised and cut into words; no token ever crosses the border of two words. All cuts
keep every character, spaces included, so that joining the words gives the normalised text.
Sources: Radford et al. 2019 (GPT-2: bytes as printable characters, words by a pattern); Kudo and
Richardson (EMNLP 2018, arXiv:1808.06226: a space is the character U+2581 in front of its word).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

SPACE = "\u2581"
# In front of a WordPiece that goes on with a word. The usual "##" is met in text, where it would be
# taken for the mark; this is the joiner of OpenNMT, which is met nowhere else.
JOINER = "\uffed"
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
UNKNOWN = "<unk>"

WORDS = ("byte_level", "metaspace", "whitespace")
NORMALISERS = ("none", "nfc", "nfkc", "lowercase")


@dataclass(frozen=True)
class Cutting:
    """words: one of WORDS. digits: whether each digit is a word. normaliser: one of NORMALISERS."""

    words: str
    digits: bool
    normaliser: str

    @property
    def complete(self) -> bool:
        """Whether the alphabet can write every text, so that nothing is ever unknown."""
        return self.words == "byte_level"

    def alphabet(self, counts: Counter[str]) -> tuple[str, ...]:
        """All characters that words are made of, sorted; those of all bytes where they are bytes.

        counts: of the words of the training text.
        """
        from tokenizers.pre_tokenizers import ByteLevel

        met = {character for word in counts for character in word}
        return tuple(sorted(met | set(ByteLevel.alphabet()) if self.complete else met))

    def normalizer(self) -> Any:
        """The normaliser as an object of `tokenizers`; None where there is none."""
        from tokenizers import normalizers

        known = {
            "nfc": normalizers.NFC,
            "nfkc": normalizers.NFKC,
            "lowercase": normalizers.Lowercase,
        }
        return known[self.normaliser]() if self.normaliser in known else None

    def pre_tokenizer(self) -> Any:
        """What cuts into words, as an object of `tokenizers`."""
        from tokenizers import Regex, pre_tokenizers

        apart: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if self.digits else []
        match self.words:
            case "byte_level":
                cuts: list[Any] = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
            case "metaspace":
                lines = pre_tokenizers.Split(Regex(r"[\r\n]+"), "isolated")
                space = pre_tokenizers.Metaspace(SPACE, prepend_scheme="never", split=True)
                cuts = [lines, space]
            case _:
                cuts = [pre_tokenizers.Split(Regex(r"\s+"), "isolated")]
        return pre_tokenizers.Sequence([*apart, *cuts])

    def decoder(self, *, byte_fallback: bool = False, joined: bool = False) -> Any:
        """What makes text of tokens. joined: whether JOINER marks what goes on with a word."""
        from tokenizers import Regex, decoders

        steps: list[Any] = []
        if joined:
            steps.append(decoders.Replace(Regex(f"^{JOINER}"), ""))
        if self.words == "byte_level":
            return decoders.Sequence([*steps, decoders.ByteLevel()])
        if self.words == "metaspace":
            steps.append(decoders.Replace(SPACE, " "))
        if byte_fallback:
            steps.append(decoders.ByteFallback())
        return decoders.Sequence([*steps, decoders.Fuse()])

    def counts(self, documents: Iterable[str]) -> Counter[str]:
        """How often each word is met."""
        normalizer, pre_tokenizer = self.normalizer(), self.pre_tokenizer()
        found: Counter[str] = Counter()
        for document in documents:
            plain = normalizer.normalize_str(document) if normalizer else document
            found.update(word for word, _ in pre_tokenizer.pre_tokenize_str(plain))
        return found
