"""Byte merges: pairs of bytes that are met often become tokens; lists of merges are nested.

A list of a few merges is the beginning of a longer one from the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from paretoken.spaces.errors import MeasurementFailed

BYTES = 256
_FIRST = 10_240  # bytes as characters: the Braille block, of which every tokenizer makes letters
_TWICE = 2  # a pair that is met once is no habit


def as_text(data: bytes) -> str:
    """A character for each byte."""
    return "".join(chr(_FIRST + byte) for byte in data)


def learnt(streams: Sequence[bytes], entries: int) -> list[tuple[str, str]]:
    """The merges that make a vocabulary of so many entries, or as many as there are."""
    if entries <= BYTES:
        return []
    tokenizers = _library()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=entries, min_frequency=_TWICE, show_progress=False,
        initial_alphabet=[chr(_FIRST + byte) for byte in range(BYTES)],
    )  # fmt: skip
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.train_from_iterator([as_text(stream) for stream in streams], trainer)
    merges = json.loads(made.to_str())["model"]["merges"]
    return [(left, right) for left, right in merges]


class ByteMerges:
    """merges: in the order in which they were learnt."""

    def __init__(self, merges: Sequence[tuple[str, str]]) -> None:
        alphabet = [chr(_FIRST + byte) for byte in range(BYTES)]
        pieces = dict.fromkeys([*alphabet, *(left + right for left, right in merges)])
        self._bytes = [bytes(ord(letter) - _FIRST for letter in piece) for piece in pieces]
        self._made: Any = None
        if merges:
            tokenizers = _library()
            entries = {piece: entry for entry, piece in enumerate(pieces)}
            self._made = tokenizers.Tokenizer(tokenizers.models.BPE(entries, list(merges)))

    def __len__(self) -> int:
        """Entries, bytes included."""
        return len(self._bytes)

    def encode(self, stream: bytes) -> list[int]:
        """Entries of a stream."""
        if self._made is None:
            return list(stream)
        found: list[int] = self._made.encode(as_text(stream)).ids
        return found

    def decode(self, ids: Sequence[int]) -> bytes:
        """The stream of entries."""
        return b"".join(self._bytes[entry] for entry in ids)


def _library() -> Any:
    try:
        import tokenizers
    except ModuleNotFoundError as error:
        raise MeasurementFailed(
            "unsupported",
            "merges of bytes need tokenizers, which is not installed: pip install "
            "'paretoken[tokenizers]', or take a vocabulary of 256.",
        ) from error
    return tokenizers
