"""tokenizers and transformers load what was exported, and make the ids of it that were measured."""

from __future__ import annotations

import json
from pathlib import Path

from paretoken.spaces.errors import BadInput


def read(folder: Path) -> None:
    """Raise BadInput where a loaded tokenizer makes other ids than the measured one did.

    transformers is asked where it is installed.
    """
    try:
        from tokenizers import Tokenizer, __version__
    except ImportError:
        raise BadInput(
            "tokenizers is not installed here, so it cannot check: pip install "
            "'paretoken[subword]', or leave out --check."
        ) from None
    told = json.loads((folder / "paretoken_export.json").read_text(encoding="utf-8"))
    probe = told["export"]["request"]["probe"]
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises nothing narrower
        raise BadInput(f"tokenizers {__version__} refuses tokenizer.json: {error}") from error
    found = tokenizer.encode(probe["text"], add_special_tokens=False).ids
    _compare(f"tokenizers {__version__}", found, probe["ids"])
    try:
        from transformers import AutoTokenizer
        from transformers import __version__ as theirs
    except ImportError:
        return
    try:
        loaded = AutoTokenizer.from_pretrained(str(folder))
    except (OSError, ValueError) as error:
        raise BadInput(f"transformers {theirs} refuses the folder: {error}") from error
    _compare(f"transformers {theirs}", loaded(probe["text"])["input_ids"], probe["ids"])


def _compare(who: str, found: list[int], wanted: list[int]) -> None:
    if found != wanted:
        pairs = enumerate(zip(found, wanted, strict=False))
        place = next((i for i, (a, b) in pairs if a != b), min(len(found), len(wanted)))
        raise BadInput(
            f"{who} makes other ids of the probe than were measured, from token {place} on: the "
            "files were changed, or it reads them in another way; search again with it."
        )


plugin = read
