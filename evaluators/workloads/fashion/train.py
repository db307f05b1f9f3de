"""Train the model that the workload `fashion` ships: tokenizer, then transformer, then export.

    python -m paretoken.evaluators.workloads.fashion.train --out build/fashion --minutes 8.5

Seeded and restartable: the same command goes on where the last one stopped. On one H100 the
tokenizer took 212 s (4,400 steps), the tokens of all views 31 s and 24,000 steps of the transformer
393 s. `card.py` measures the result and writes the model card.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import load_file, save_file

from paretoken.evaluators.models.llamagen import Transformer
from paretoken.evaluators.models.vq import Tokenizer
from paretoken.evaluators.resumable import OutOfTime, Run
from paretoken.evaluators.workloads.fashion import data, tokenizer_training, transformer_training
from paretoken.evaluators.workloads.fashion.views import VIEWS
from paretoken.spaces.errors import BadInput, ParetokenError


def main(
    out: Annotated[Path, typer.Option(help="Checkpoint and result go here.")],
    folder: Annotated[Path, typer.Option("--data", help="The .gz files.")] = data.DEBIAN,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after this long; rerun to go on.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Take this finished tokenizer instead of training one.")
    ] = None,
    tokenizer_steps: int = 4400,
    transformer_steps: Annotated[
        int | None, typer.Option(help="Left out: as many as fit into --minutes.")
    ] = None,
    batch: int = 256,
    limit: Annotated[
        int | None, typer.Option(help="Use fewer pictures (to try the script).")
    ] = None,
    views: Annotated[int, typer.Option(help="Views of each picture, at most 18.")] = len(VIEWS),
    seed: int = 0,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
) -> None:
    """Train on Fashion-MNIST and write tokenizer.safetensors and transformer.safetensors."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.benchmark = True
    begun = time.monotonic()
    try:
        run = Run(out, minutes)
        images, classes = (t[:limit].to(device) for t in data.load("train", folder))
        test_images, test_classes = (t[:limit].to(device) for t in data.load("test", folder))
        if transformer_steps is None and minutes is None:
            raise BadInput("say how long to train: --transformer-steps or --minutes.")
        coder = _tokenizer(run, tokenizer, images, tokenizer_steps, batch, seed)
        figures = tokenizer_training.reconstruction_figures(coder, test_images)
        typer.echo(f"tokenizer done: {figures}")
        save(coder, out / "tokenizer.safetensors", seed=seed, steps=tokenizer_steps, **figures)
        test = _encode(coder, test_images)
        tokens = transformer_training.tokens_of_views(coder, images, views)
        typer.echo(f"{tokens.shape[0]} views tokenised, {time.monotonic() - begun:.0f} s")
        transformer, steps = transformer_training.train(
            tokens, classes, (test, test_classes), transformer_steps, batch, seed, run, typer.echo
        )
        nll = transformer_training.score(transformer, test, test_classes)
        typer.echo(f"transformer done: test {nll:.4f} nats/token with the weights as shipped")
        save(
            transformer, out / "transformer.safetensors",
            seed=seed, steps=steps, test_nll=nll,
        )  # fmt: skip
    except OutOfTime:
        spent = time.monotonic() - begun
        typer.echo(f"time is up after {spent:.0f} s: resume with the same command")
    except ParetokenError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from None


def _tokenizer(
    run: Run, file: Path | None, images: torch.Tensor, steps: int, batch: int, seed: int
) -> Tokenizer:
    """The trained tokenizer: the one given, or the checkpoint's if it is finished already."""
    if file is not None and "tokenizer_done" not in run.state:
        run.state["tokenizer_done"] = load_file(file)
    if "tokenizer_done" in run.state:
        tokenizer = Tokenizer(tokenizer_training.CONFIG)
        tokenizer.load_state_dict(run.state["tokenizer_done"])
        return tokenizer.to(images.device).eval().requires_grad_(False)
    tokenizer = tokenizer_training.train(images, steps, batch, seed, run, typer.echo)
    run.state = {"tokenizer_done": tokenizer.state_dict()}
    run.save()
    return tokenizer


@torch.inference_mode()
def _encode(tokenizer: Tokenizer, images: torch.Tensor) -> torch.Tensor:
    """Tokens in float32, as a user would get them."""
    return torch.cat([tokenizer.encode(data.pixels(part)) for part in torch.split(images, 1000)])


def save(model: Transformer | Tokenizer, path: Path, **facts: float) -> None:
    """Write bfloat16 weights with the configuration and what is known about them."""
    weights = {k: v.bfloat16().contiguous().cpu() for k, v in model.state_dict().items()}
    described = {"config": json.dumps(asdict(model.config)), "facts": json.dumps(facts)}
    save_file(weights, path, metadata=described)
    typer.echo(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
