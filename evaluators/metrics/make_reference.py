"""Make a reference from a folder of real images.

    python -m paretoken.evaluators.metrics.make_reference photos --size 256 --out ref.safetensors

Take the images that the model was trained on, as published scores do, and pixels as the model
makes them: `--size` cuts the centre square and scales it, as the training of image models does.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image, UnidentifiedImageError
from rich.progress import track
from torch import Tensor

from paretoken.evaluators.environment import device_named
from paretoken.evaluators.metrics.extractors import Extractor, load_extractor
from paretoken.evaluators.metrics.features import Features, extract
from paretoken.evaluators.metrics.reference import ROWS, Reference
from paretoken.spaces.errors import BadInput, ParetokenError, Unreadable

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
_AT_ONCE = 64  # images held in memory


def main(
    folder: Annotated[
        Path, typer.Argument(help="Folder of images; those in subfolders count too.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The file to write (.safetensors).")],
    size: Annotated[
        int | None,
        typer.Option("--size", min=8, help="Cut the centre square and scale it to these pixels."),
    ] = None,
    extractor: Annotated[
        str, typer.Option("--extractor", help="lite0, lite0_128 (for larger images) or inception.")
    ] = "lite0",
    weights: Annotated[
        Path | None, typer.Option("--weights", help="File of weights, which inception needs.")
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="cpu or cuda. [default: cuda if there is one]")
    ] = "",
    description: Annotated[
        str, typer.Option("--description", help="What the images are, for those who read the file.")
    ] = "",
) -> None:
    """Write the statistics of real images that workloads compare generated ones with."""
    try:
        judge = load_extractor(extractor, weights=weights, device=device_named(device or None))
        reference = of_folder(folder, judge, size, description or str(folder))
        reference.save(out)
    except ParetokenError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        typer.echo(f"error: cannot write {out}: {error.strerror or error}.", err=True)
        raise typer.Exit(1) from None
    typer.echo(
        f"wrote {out}: {reference.images} images, {reference.extractor}, {len(reference.rows)} "
        f"rows for KID, precision and recall (at most {ROWS})"
    )


def of_folder(
    folder: Path, extractor: Extractor, size: int | None = None, description: str = ""
) -> Reference:
    """The reference of all images below a folder, in the order of their names.

    size: pixels along one side; None takes the images as they are, all of one size. Raises BadInput
    where there are too few images or their sizes differ, Unreadable for a damaged one.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
    if len(files) < 2:
        raise BadInput(f"a reference needs at least 2 images, {folder} has {len(files)}.")
    parts = [extract(images, extractor) for images in _read(files, size)]
    features = Features(
        torch.cat([part.pool for part in parts]),
        torch.cat([part.logits for part in parts]),
        extractor.identity,
    )
    return Reference.of_features(features, description)


def _read(files: list[Path], size: int | None) -> Iterator[Tensor]:
    """uint8 [n, 3, H, W], a few images at a time."""
    first: tuple[int, ...] | None = None
    groups = [files[i : i + _AT_ONCE] for i in range(0, len(files), _AT_ONCE)]
    with ThreadPoolExecutor() as pool:
        for group in track(groups, description="images", disable=len(groups) < 2):
            images = list(pool.map(partial(_pixels, size=size), group))
            for file, image in zip(group, images, strict=True):
                first = first or image.shape
                if image.shape != first:
                    raise BadInput(
                        f"images must be of one size; {files[0]} has {first[1]} x {first[0]} "
                        f"pixels, {file} has {image.shape[1]} x {image.shape[0]}: give --size."
                    )
            yield torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def _pixels(file: Path, size: int | None) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """uint8 [H, W, 3]."""
    try:
        with Image.open(file) as opened:
            image = opened.convert("RGB")
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise Unreadable(f"{file} is damaged or no image: remove or replace it.") from error
    if size is not None:
        # Antialiased, from the largest centred square.
        edge = min(image.size)
        left, top = (image.width - edge) // 2, (image.height - edge) // 2
        image = image.resize(
            (size, size), Image.Resampling.BICUBIC, box=(left, top, left + edge, top + edge)
        )
    return np.asarray(image)


if __name__ == "__main__":
    typer.run(main)
