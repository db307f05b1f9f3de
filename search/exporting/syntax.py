"""Syntax: how documents are written and read, as their file's suffix says.

`.json` and `.yaml` are what they are called; `.args` is one line of command-line arguments, where a
switch stands for true.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from paretoken.spaces.errors import BadInput

Document = Mapping[str, Any]


def written(name: str, document: Document) -> str:
    """The text of a document; `name` is its file's."""
    if name.endswith(".json"):
        return json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n"
    if name.endswith(".yaml"):
        import yaml

        text: str = yaml.safe_dump(dict(document), sort_keys=True, default_flow_style=False)
        return text
    words: list[str] = []
    for argument, value in document.items():
        if value is False:
            raise BadInput(f"argument {argument} of {name} is a switch: it is there or it is not.")
        words += [argument] if value is True else [argument, _word(value)]
    return shlex.join(words) + "\n"


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def read(name: str, text: str) -> dict[str, Any]:
    """What the text of a file says, read as the engine reads it."""
    if name.endswith(".json"):
        return dict(json.loads(text))
    if name.endswith(".yaml"):
        import yaml

        return dict(yaml.safe_load(text))
    found: dict[str, Any] = {}
    words = shlex.split(text)
    while words:
        argument = words.pop(0)
        if not argument.startswith("--") or argument in found:
            raise BadInput(f"{name}: {argument!r} is no argument, or is there twice.")
        value = words.pop(0) if words and not words[0].startswith("--") else True
        found[argument] = _value(value) if isinstance(value, str) else value
    return found


def _value(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word
