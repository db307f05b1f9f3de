"""Draw the images that come with the workload `continual`, as tokens: the usual size on a CPU.

    python -m paretoken.evaluators.workloads.continual.draw

Three minutes on one core. They follow from the bundled model and a seed: who draws them again gets
the same ones, but for near-ties that another processor rounds the other way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import save_file

from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.evaluators.workloads.continual.fashion_classes import BUNDLED, DrawnClasses


def main(
    out: Annotated[Path, typer.Option(help="The file to write.")] = BUNDLED,
    each: Annotated[int, typer.Option(help="Images of every class to train on.")] = 40,
    held_out: Annotated[int, typer.Option(help="Images of every class to judge by.")] = 10,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
) -> None:
    """Draw images of all classes and write their tokens."""
    source = DrawnClasses(each, held_out, Artefacts(out.parent, "tokens"), torch.device(device))
    tokens = source.draw(lambda phase, share: typer.echo(f"{phase} ({100 * share:.0f} %)"))
    save_file({"tokens": tokens.contiguous()}, out, metadata={"key": source.key})
    typer.echo(f"{out.name}: {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    typer.run(main)
