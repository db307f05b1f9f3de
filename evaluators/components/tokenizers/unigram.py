"""Unigram: begin with very many pieces and drop those whose loss hurts the likelihood least.

Trained by SentencePiece on counted words: Hugging Face's trainer gives another model at every run.
Words are cut where their probability is greatest.
Source: Kudo (ACL 2018, arXiv:1804.10959); Kudo and Richardson (EMNLP 2018, arXiv:1808.06226).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paretoken.evaluators.subwords.subword import Subword, Text, by_scores
from paretoken.spaces.component import knob
from paretoken.spaces.errors import MeasurementFailed

# Where pieces of the alphabet begin that the training text did not need: rarer than any other.
_RARER = 1.0
_PRIVATE = 0xE000


class Unigram(Subword):
    """Pieces with probabilities."""

    byte_fallback: bool = knob(False, doc="Write what has no piece as its bytes.")
    longest: int = knob(
        16, low=2, high=64, grid=(16,), doc="Characters of a piece at most; bytes of byte_level."
    )

    def basis(self, text: Text) -> int:
        # The library cannot fall back on bytes without an unknown token.
        return super().basis(text) + (self.falls_back and not text.cutting.complete)

    def model(self, text: Text, room: int) -> Any:
        room -= self.basis(text) - len(text.alphabet)
        missing = set(text.alphabet) - {character for word in text.counts for character in word}
        scores = _trained(text.counts, room - len(missing), self.longest)
        rarest = min(scores.values()) - _RARER
        for character in missing:
            scores[character] = rarest
        return by_scores(scores, self.extra)


def _trained(counts: Mapping[str, int], pieces: int, longest: int) -> dict[str, float]:
    """Pieces with the natural logarithms of their probabilities, by SentencePiece."""
    import sentencepiece

    characters = {character for word in counts for character in word}
    # SentencePiece has rules of its own for white space; as letters that nobody uses it has none.
    free = (c for c in map(chr, range(_PRIVATE, _PRIVATE + 0x1900)) if c not in characters)
    special = [c for c in sorted(characters) if c.isspace() or c in "\u2581\u2047\u2585"]
    there = {ord(c): letter for c, letter in zip(special, free, strict=False)}
    back = {ord(letter): chr(code) for code, letter in there.items()}
    with tempfile.TemporaryDirectory() as folder:
        words, made = Path(folder) / "words.tsv", Path(folder) / "made"
        lines = [f"{word.translate(there)}\t{n}\n" for word, n in sorted(counts.items())]
        words.write_text("".join(lines), encoding="utf-8")
        try:
            sentencepiece.SentencePieceTrainer.train(
                input=str(words), input_format="tsv", model_prefix=str(made),
                model_type="unigram", vocab_size=pieces + 1, character_coverage=1.0,
                max_sentencepiece_length=longest, normalization_rule_name="identity",
                add_dummy_prefix=False, remove_extra_whitespaces=False, split_by_number=False,
                split_by_unicode_script=False, hard_vocab_limit=False, num_threads=1,
                max_sentence_length=1_000_000, unk_id=0, bos_id=-1, eos_id=-1, pad_id=-1,
                minloglevel=2,
            )  # fmt: skip
        except RuntimeError as error:
            why = " ".join(str(error).split())
            raise MeasurementFailed("unsupported", f"SentencePiece cannot train: {why}") from error
        read = sentencepiece.SentencePieceProcessor(model_file=f"{made}.model")
    entries = range(1, read.get_piece_size())  # 0 is the unknown token
    return {read.id_to_piece(i).translate(back): float(read.get_score(i)) for i in entries}


plugin = Unigram
