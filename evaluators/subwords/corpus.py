"""Corpus: the text that tokenizers are trained on, and the text that is held out to judge them.

The English is the language reference that comes with every Python (`help("topics")`), so nothing is
fetched; it differs between versions of Python. A file of the user's is taken as UTF-8, character by
character. Either is cut between lines into documents of some thousand characters, of which every
tenth is held out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import xxhash

from paretoken.spaces.errors import BadInput

_DOCUMENT = 4000  # characters
_HELD_OUT = 10
_LEAST = 2 * _HELD_OUT  # documents


@dataclass(frozen=True)
class Corpus:
    """Documents in the order of the text; joined in that order they are the text."""

    documents: tuple[str, ...]

    @property
    def train(self) -> tuple[str, ...]:
        return tuple(d for i, d in enumerate(self.documents) if i % _HELD_OUT != _HELD_OUT - 1)

    @property
    def held_out(self) -> tuple[str, ...]:
        return self.documents[_HELD_OUT - 1 :: _HELD_OUT]

    @cached_property
    def digest(self) -> str:
        state = xxhash.xxh3_128()
        for document in self.documents:
            state.update(f"{len(document)} ".encode())
            state.update(document.encode())
        return state.hexdigest()


def english() -> Corpus:
    """Python's language reference: half a megabyte."""
    from pydoc_data.topics import topics

    return corpus("\n".join(topics[name] for name in sorted(topics)), "Python's topics")


def from_file(path: Path) -> Corpus:
    """Raises BadInput where the file cannot be read, is no UTF-8 or has too little text."""
    try:
        text = path.read_bytes().decode("utf-8")  # as it is: no line end is changed
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise BadInput(f"cannot read the corpus {path}: {reason}.") from error
    return corpus(text, str(path))


def corpus(text: str, name: str) -> Corpus:
    """The documents of a text: cut behind a line, where there is one."""
    found: list[str] = []
    begun = 0
    while begun < len(text):
        end = text.rfind("\n", begun + 1, begun + _DOCUMENT) + 1
        if end <= begun or begun + _DOCUMENT >= len(text):
            end = min(begun + _DOCUMENT, len(text))
        found.append(text[begun:end])
        begun = end
    if len(found) < _LEAST:
        raise BadInput(
            f"{name} has {len(text)} characters: every tenth document of {_DOCUMENT} is held out, "
            f"so take a text of {_LEAST * _DOCUMENT} or more."
        )
    return Corpus(tuple(found))
