"""English, then Python: bytes of two texts that come with every Python, so that nothing is fetched.

The English is the language reference that `help()` shows, the Python is the standard library's own
source. Both differ between versions of Python; the digest of what was read is part of every key.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import xxhash

from paretoken.evaluators.training.domains import Domain, Format
from paretoken.spaces.errors import BadInput
from paretoken.spaces.workload import Report

_ROW = 256  # bytes
# Modules of plain code: no tables, no generated data.
_MODULES = (
    "argparse", "ast", "asyncio/base_events", "configparser", "dataclasses", "datetime", "difflib",
    "doctest", "enum", "fractions", "functools", "inspect", "logging/__init__", "optparse",
    "pathlib", "pickle", "shutil", "statistics", "subprocess", "tarfile", "threading", "traceback",
    "turtle", "typing", "unittest/case", "unittest/mock", "zipfile/__init__",
)  # fmt: skip


class TwoTexts:
    """rows: pieces of 256 bytes of each text to train on. held_out: those to judge by."""

    format = Format(vocabulary=256, height=16, width=16, classes=1)
    names = ("English", "Python")

    def __init__(self, rows: int, held_out: int) -> None:
        self._rows, self._held_out = rows, held_out

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        return {
            "data": "English, then Python",
            "texts": [xxhash.xxh3_128_hexdigest(text) for text in self._texts],
            "rows": self._rows,
            "held_out": self._held_out,
        }

    def load(self, report: Report) -> tuple[Domain, ...]:
        return tuple(
            self._domain(name, text) for name, text in zip(self.names, self._texts, strict=True)
        )

    @cached_property
    def _texts(self) -> tuple[bytes, bytes]:
        from pydoc_data.topics import topics  # half a megabyte of text

        english = "\n".join(topics[name] for name in sorted(topics))
        library = Path(sysconfig.get_path("stdlib"))
        files = [library / f"{name}.py" for name in _MODULES]
        python = "\n".join(file.read_text(encoding="utf-8") for file in files if file.is_file())
        return english.encode(), python.encode()

    def _domain(self, name: str, text: bytes) -> Domain:
        """Pieces from everywhere in a text, for it is not alike all over."""
        there = len(text) // _ROW
        wanted = self._rows + self._held_out
        if wanted > there:
            raise BadInput(
                f"{name} has {there} pieces of {_ROW} bytes here, and {wanted} are asked for: say "
                f"--option each={(there - self._held_out) // 5} or less."
            )
        pieces = torch.frombuffer(bytearray(text[: there * _ROW]), dtype=torch.uint8)
        rows = pieces.view(there, _ROW).to(torch.int16)
        held = torch.zeros(there, dtype=torch.bool)
        held[torch.arange(self._held_out) * there // self._held_out] = True
        train, test = rows[~held], rows[held]
        train = train[torch.arange(self._rows) * len(train) // self._rows]
        none, no_test = torch.zeros(len(train)).long(), torch.zeros(len(test)).long()
        return Domain(name, train, none, test, no_test)
