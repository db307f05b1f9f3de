"""The ways in which a command writes what it found: a table, JSON, CSV or Parquet."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paretoken.search.cli.options import write
from paretoken.spaces.errors import BadInput, UnknownName

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Console

FORMATS = ("table", "json", "csv", "parquet")
_SUFFIXES = {".txt": "table", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
_FILE_WIDTH = 180  # columns of a table that goes into a file


@dataclass(frozen=True)
class Form:
    """How and where to write; made by `form` before anything is looked up."""

    kind: str
    out: Path | None

    def emit(
        self,
        *,
        table: Callable[[Console], None],
        document: Callable[[], Any],
        frame: Callable[[], DataFrame],
    ) -> None:
        """Write one of the three, whole or not at all.

        table: prints it; document: plain JSON; frame: for CSV and Parquet.
        """
        if self.kind == "parquet":
            buffer = BytesIO()
            frame().to_parquet(buffer, index=False)
            self._put(buffer.getvalue())
        elif self.kind == "csv":
            self._put(frame().to_csv(index=False).encode())
        elif self.kind == "json":
            self._put((json.dumps(document(), indent=2, allow_nan=False) + "\n").encode())
        else:
            self._draw(table)

    def _draw(self, table: Callable[[Console], None]) -> None:
        from rich.console import Console

        from paretoken.search.cli.tables import console

        if self.out is None:
            table(console())
            return
        text = StringIO()
        table(Console(file=text, width=_FILE_WIDTH, highlight=False))
        self._put(text.getvalue().encode())

    def _put(self, data: bytes) -> None:
        if self.out is not None:
            write(self.out, data)
            print(f"wrote {self.out}", file=sys.stderr)
        else:
            sys.stdout.write(data.decode())


def form(name: str, out: Path | None, as_json: bool) -> Form:
    """The form that --format, --out and --json ask for; raises BadInput where they disagree."""
    if name and name not in FORMATS:
        raise UnknownName("format", name, FORMATS)
    if as_json and name not in ("", "json"):
        raise BadInput(f"--json and --format {name} disagree: leave one out.")
    kind = "json" if as_json else name
    if not kind:
        suffix = out.suffix.lower() if out else ".txt"
        if suffix not in _SUFFIXES:
            known = ", ".join(_SUFFIXES)
            raise BadInput(f"--out {out} ends in none of {known}: say --format too.")
        kind = _SUFFIXES[suffix]
    if kind == "parquet" and out is None:
        raise BadInput("Parquet is no text: name a file with --out FILE.parquet.")
    if out is not None and out.is_dir():
        raise BadInput(f"--out {out} is a folder: name a file in it.")
    return Form(kind, out)
