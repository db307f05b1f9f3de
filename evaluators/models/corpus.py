"""A text file as drafts and calibrations use it: its n-gram tables, and passages of it in tokens.

A table is counted once for a tokenizer, then read from a cache, which knows file and tokenizer by
their digests: a changed file is counted anew.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor

from paretoken.evaluators.cache_folder import cache_folder
from paretoken.evaluators.engine.ngrams import LONGEST, NGrams
from paretoken.evaluators.engine.trigrams import KEPT, Trigrams
from paretoken.spaces.errors import BadInput

Arrays = Mapping[str, NDArray[Any]]

_FIELDS = ("codes", "first", "tokens", "weights")
# Of a calibration: averages over some thousand tokens no longer move with more of them.
_PASSAGES, _LONGEST = 32, 256


def read_corpus(path: Path) -> str:
    """The text of a corpus; raises BadInput where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise BadInput(f"cannot read the corpus {path}: {reason}.") from error


def passages(text: str) -> list[str]:
    """Its passages, parted by empty lines."""
    return [part for part in (one.strip("\n") for one in text.split("\n\n")) if part]


def trigrams_of(path: Path, tokenizer: Any, vocabulary: int) -> Trigrams:
    """The table of the passages of a text file, counted or from the cache."""

    def counted(texts: Iterator[list[int]]) -> Arrays:
        table = Trigrams.counted(vocabulary, texts)
        return {name: getattr(table, name) for name in _FIELDS}

    found = _counted_once("trigrams", path, tokenizer, f"{KEPT} {vocabulary}", counted)
    return Trigrams(vocabulary, *(found[name] for name in _FIELDS))


def ngrams_of(path: Path, tokenizer: Any, vocabulary: int) -> NGrams:
    """The longer contexts of the passages of a text file, counted or from the cache."""
    found = _counted_once(
        "ngrams", path, tokenizer, f"{LONGEST} {vocabulary}",
        lambda texts: NGrams.counted(vocabulary, texts).arrays,
    )  # fmt: skip
    return NGrams.of(vocabulary, found)


def passages_of(path: Path, tokenizer: Any) -> list[Tensor]:
    """Its first passages in tokens [T], T >= 2, as many and as long as a calibration needs."""
    found: list[Tensor] = []
    for tokens in _tokens(read_corpus(path), tokenizer):
        if len(tokens) > 1:
            found.append(torch.tensor(tokens[:_LONGEST]))
        if len(found) == _PASSAGES:
            break
    return found


def _tokens(text: str, tokenizer: Any) -> Iterator[list[int]]:
    for passage in passages(text):
        yield tokenizer(passage, add_special_tokens=False)["input_ids"]


def _counted_once(
    name: str, path: Path, tokenizer: Any, how: str, count: Callable[[Iterator[list[int]]], Arrays]
) -> Arrays:
    """What `count` makes of the passages of a text file. how: what else its outcome depends on."""
    text = read_corpus(path)
    kept = cache_folder(name) / f"{_digest(text, tokenizer, how)}.safetensors"
    if kept.is_file():
        return load_file(kept)
    found = {key: np.ascontiguousarray(a) for key, a in count(_tokens(text, tokenizer)).items()}
    kept.parent.mkdir(parents=True, exist_ok=True)
    handle, begun = tempfile.mkstemp(dir=kept.parent)
    os.close(handle)
    try:
        save_file(found, begun)
        os.replace(begun, kept)  # whole or not at all: others may be reading
    finally:
        Path(begun).unlink(missing_ok=True)
    return found


def _digest(text: str, tokenizer: Any, how: str) -> str:
    fast = getattr(tokenizer, "backend_tokenizer", None)
    told = fast.to_str() if fast is not None else str(sorted(tokenizer.get_vocab().items()))
    state = xxhash.xxh3_128(f"{how} {len(told)} {told}".encode())
    state.update(text.encode())
    return state.hexdigest()
