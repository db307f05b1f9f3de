"""Options that several commands share, so that they are named and explained once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from paretoken.spaces.errors import BadInput

DEFAULT_STORE = "sqlite:///paretoken.db"

Store = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="PARETOKEN_STORE",
        metavar="URL",
        help="Where measurements are kept: sqlite:///FILE or postgresql://USER@HOST/DATABASE.",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")
]
Study = Annotated[str, typer.Argument(help="Name of a study in the store.")]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="KIND",
        help="Only what was timed on this kind of device (a part of its name: H100). "
        "[default: the kind that most was timed on]",
        show_default=False,
    ),
]
Where = Annotated[
    str,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="Only candidates for which this is true, e.g. 'fid <= 60 and speedup >= 2' or "
        '\'verifier in ("exact", "grouped") and not window > 8\'. Names: any measured quantity, '
        "any setting by its path or an ending of it.",
    ),
]
Budget = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        metavar="BOUND",
        help="Only candidates that change no more than this from plain decoding: 'fid<=+2%', "
        "'agreement>=-0.01', 'speedup>=+50%'; repeatable.",
    ),
]
Knee = Annotated[
    bool,
    typer.Option(
        "--knee",
        help="Take the knee of the front: the point farthest from the line between its extremes.",
    ),
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="table|json|csv|parquet",
        help="How it is written. [default: as the suffix of --out says, else a table]",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="Write to this file (.txt, .json, .csv, .parquet), not to standard output.",
        show_default=False,
    ),
]
Maximize = Annotated[
    str, typer.Option("--maximize", metavar="QUANTITY", help="Take the largest of this.")
]
Minimize = Annotated[
    str, typer.Option("--minimize", metavar="QUANTITY", help="Take the smallest of this.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="KEY=VALUE",
        help="An option of the workload, e.g. gpt=c2i_B_256.pt; repeatable.",
    ),
]


def pairs(given: list[str] | None) -> dict[str, Any]:
    """`--option` values by key; numbers, true, false and null are read as such, others as text."""
    found: dict[str, Any] = {}
    for text in given or []:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise BadInput(f"--option wants KEY=VALUE, but was given {text!r}.")
        try:
            found[key.strip()] = json.loads(value)
        except ValueError:
            found[key.strip()] = value
    return found


def whole_numbers(text: str, option: str) -> tuple[int, ...]:
    """The numbers of a list such as "0,1,2"."""
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise BadInput(
            f"{option} wants whole numbers such as 0,1,2, but was given {text!r}."
        ) from None


def write(path: Path, data: bytes, *, force: bool = True) -> None:
    """Write a whole file or nothing; raises BadInput where one exists already or none can be."""
    if path.exists() and not force:
        raise BadInput(f"{path} exists already: choose another --out, or overwrite with --force.")
    if not path.parent.is_dir():
        raise BadInput(f"cannot write {path}: there is no folder {path.parent}; make it first.")
    beside = path.with_name(f".{path.name}.partial")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise BadInput(f"cannot write {path}: {error.strerror or error}.") from error


def write_folder(path: Path, files: Mapping[str, bytes], mark: str, *, force: bool) -> None:
    """Write a whole folder or nothing; names may have folders in them.

    mark: a file by which a folder is known to be one that was written here: others are never
    replaced. Raises BadInput where something is in the way, or nothing can be written.
    """
    if path.exists() and not (path / mark).is_file():
        raise BadInput(f"{path} exists already and is no export: choose another --out.")
    if path.exists() and not force:
        raise BadInput(f"{path} exists already: choose another --out, or overwrite with --force.")
    beside, old = (path.with_name(f".{path.name}.{what}") for what in ("partial", "old"))
    try:
        for folder in (beside, old):  # of somebody who was interrupted
            shutil.rmtree(folder, ignore_errors=True)
        for name, data in files.items():
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            (beside / name).write_bytes(data)
        if path.exists():
            path.replace(old)
        beside.replace(path)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise BadInput(f"cannot write {path}: {error.strerror or error}.") from error
