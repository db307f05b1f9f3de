"""`paretoken generate`: draw images, or answer prompts, with exported settings."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paretoken.search.cli.options import AsJson, Settings, pairs, whole_numbers, write
from paretoken.spaces.errors import BadInput

if TYPE_CHECKING:
    import numpy as np

_GAP = 2  # pixels between images


def run(
    settings: Annotated[
        Path, typer.Option("--settings", metavar="FILE", help="Settings that 'export' wrote.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="The picture to write, or the answers. [default: grid.png or answers.jsonl]",
            show_default=False,
        ),
    ] = None,
    count: Annotated[
        int, typer.Option("-n", min=1, max=10_000, help="How many images; of prompts, at most.")
    ] = 64,
    classes: Annotated[
        str,
        typer.Option(
            "--classes",
            metavar="0,1,2",
            help="Classes to draw, or prompts to answer, in turn. [default: all in turn]",
        ),
    ] = "",
    workload: Annotated[
        str,
        typer.Option("--workload", metavar="NAME", help="Draw with another model than exported."),
    ] = "",
    device: Annotated[
        str,
        typer.Option("--device", metavar="cpu|cuda", help="Where to run. [default: as searched]"),
    ] = "",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the images.")] = 0,
    option: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Draw images with exported settings and write them as one grid (PNG); a language model answers
    its prompts instead, one JSON object a line.

    \b
      paretoken generate --settings tuned.json --out grid.png
      paretoken generate --settings tuned.json --out boots.png --classes 9 -n 16 --seed 3
    """
    from time import perf_counter

    from rich.console import Console

    from paretoken.search.cli.telling import telling
    from paretoken.spaces.plugins import KINDS

    tree, origin = _read(settings)
    name = workload or str(origin.get("workload") or "")
    if not name:
        raise BadInput(f"{settings} does not say for which workload it is: add --workload NAME.")
    options = dict(origin.get("options") or {}) if name == origin.get("workload") else {}
    options |= pairs(option)
    if device:
        options["device"] = device
    labels = whole_numbers(classes, "--classes")
    opened = KINDS["workloads"].load(name).open(**options)
    started = perf_counter()
    with telling("generating", Console(stderr=True)) as report:
        made = opened.generate(tree, labels, count, seed, int(origin.get("seed") or 0), report)
    seconds = perf_counter() - started
    if isinstance(made, list):
        what, out = "answers", out or Path("answers.jsonl")
        lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in made)
        write(out, lines.encode())
    else:
        what, out = "images", out or Path("grid.png")
        write(out, png(grid(made)))
    if as_json:
        print(json.dumps({"out": str(out), what: len(made), "seconds": seconds}))
    else:
        print(f"wrote {out}: {len(made)} {what} in {seconds:.1f} s, start-up included")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The candidate's tree in a settings file, and where it comes from."""
    from paretoken.spaces.settings import loads

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise BadInput(f"cannot read the settings {path}: {reason}.") from error
    tree = loads(text)
    origin = json.loads(text).get("from")
    return tree, origin if isinstance(origin, dict) else {}


def grid(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The images side by side, nearly square, filled row by row.

    images: [n, H, W] or [n, 3, H, W] uint8. Returns [rows·(H+2)-2, columns·(W+2)-2(, 3)] uint8,
    white between and after them.
    """
    import numpy as np

    n, height, width = images.shape[0], images.shape[-2], images.shape[-1]
    across = math.ceil(math.sqrt(n))
    down = math.ceil(n / across)
    colours = images.shape[1:2] if images.ndim == 4 else ()
    size = (down * (height + _GAP) - _GAP, across * (width + _GAP) - _GAP)
    sheet = np.full((*size, *colours), 255, dtype=np.uint8)
    for i, image in enumerate(images):
        top, left = i // across * (height + _GAP), i % across * (width + _GAP)
        pixels = np.moveaxis(image, 0, -1) if colours else image
        sheet[top : top + height, left : left + width] = pixels
    return sheet


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    """The pixels, [H, W] or [H, W, 3] uint8, as a PNG file."""
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return file.getvalue()
