"""Prompts: what a language model is asked, by kind, from a JSONL file.

    {"id": "edit-1", "kind": "edit", "prompt": "Rename …", "source": "def f(…", "answer": "def g"}

`id`, `kind` and `prompt` are needed. source: text that belongs to the prompt and that an answer is
likely to copy from. answer: what a right answer contains, where that can be checked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from paretoken.spaces.errors import BadInput

_FIELDS = ("id", "kind", "prompt", "source", "answer")


@dataclass(frozen=True)
class Prompt:
    """One request. source and answer are empty where there is none."""

    id: str
    kind: str
    prompt: str
    source: str = ""
    answer: str = ""

    @property
    def message(self) -> str:
        """What the model is told: the request, then the text that it is about."""
        return f"{self.prompt}\n\n{self.source}" if self.source else self.prompt

    def answered(self, text: str) -> bool:
        """Whether a text holds the right answer; a number has to stand by itself."""
        if self.answer.isdigit():
            words = "".join(c if c.isalnum() else " " for c in text.replace(",", ""))
            return self.answer in words.split()
        return self.answer.lower() in text.lower()


def read_prompts(path: Path) -> tuple[Prompt, ...]:
    """The prompts of a JSONL file, in its order. Raises BadInput with the line that is wrong."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise BadInput(f"cannot read the prompts {path}: {reason}.") from error
    found = [_read(line, f"{path}, line {n}") for n, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise BadInput(f"{path} has no prompts: write one JSON object a line.")
    ids = [prompt.id for prompt in found]
    twice = next((one for one in ids if ids.count(one) > 1), None)
    if twice is not None:
        raise BadInput(f"{path} has two prompts with id {twice!r}: every prompt needs its own.")
    return tuple(found)


def _read(line: str, where: str) -> Prompt:
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise BadInput(f"{where} is not JSON: {error}.") from error
    if not isinstance(fields, dict) or not {"id", "kind", "prompt"} <= fields.keys() <= {*_FIELDS}:
        raise BadInput(
            f"{where}: a prompt is an object with id, kind and prompt, and perhaps source and "
            f"answer; not {line.strip()[:60]!r}."
        )
    if not all(isinstance(value, str) for value in fields.values()) or not fields["prompt"]:
        raise BadInput(f"{where}: all fields of a prompt are texts, and 'prompt' is not empty.")
    if not fields["kind"].isidentifier():
        raise BadInput(f"{where}: a kind is one word of letters, not {fields['kind']!r}.")
    return Prompt(**fields)


def in_turn(prompts: Sequence[Prompt], wanted: int) -> tuple[Prompt, ...]:
    """So many prompts, the kinds in turn: one of each, then the second of each, …"""
    by_kind: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        by_kind.setdefault(prompt.kind, []).append(prompt)
    ordered = [p for turn in zip_longest(*by_kind.values()) for p in turn if p is not None]
    if wanted > len(ordered):
        raise BadInput(
            f"{wanted} prompts were asked for, and there are {len(ordered)}: use a smaller "
            "--samples or more prompts (--option prompts=FILE)."
        )
    return tuple(ordered[:wanted])
