"""Write the trained tokenizer of exported settings into a folder: its weights, and what they are.

    paretoken export pictures --out tuned.json
    python -m paretoken.evaluators.image_tokenizers.writing tuned.json --out FOLDER \\
        --artefacts paretoken.artefacts

What the study has trained is found among its artefacts, beside its store; else it is trained anew.
`load` reads the folder back, on any machine, without the images.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import load_file, save_file
from torch import Tensor

from paretoken.evaluators.image_tokenizers.coder import Coder
from paretoken.evaluators.image_tokenizers.family import ImageTokenizer, Learner, Sizes
from paretoken.evaluators.image_tokenizers.making import STATISTICS
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.errors import BadInput, ParetokenError, Unreadable
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.settings import loads

_WEIGHTS, _CONFIG = "tokenizer.safetensors", "config.json"
_FORMAT = "paretoken-image-tokenizer/1"
_PROBED = 8  # images by which whoever loads it can see that it codes alike


def save(
    tokenizer: ImageTokenizer, learner: Learner | None, sizes: Sizes, images: Tensor, folder: Path
) -> Coder:
    """Write a tokenizer whose statistics are of these images, uint8 [n, 1, 32, 32], which go with
    it; the coder that `load` will give."""
    seen = images[:STATISTICS].cpu()
    learner = None if learner is None else deepcopy(learner).cpu()
    state = {} if learner is None else {
        name: value.detach().clone() for name, value in learner.state_dict().items()
    }  # fmt: skip
    coder = tokenizer.coder(learner, seen)
    probe = seen[:_PROBED]
    folder.mkdir(parents=True, exist_ok=True)
    save_file({**{f"network.{k}": v for k, v in state.items()}, "images": seen}, folder / _WEIGHTS)
    config = {
        "format": _FORMAT,
        "settings": to_tree(tokenizer),
        "sizes": asdict(sizes),
        "layout": {
            "sizes": list(coder.layout.sizes), "offsets": list(coder.layout.offsets),
            "height": coder.layout.height, "width": coder.layout.width, "ends": coder.layout.ends,
        },
        "kept": coder.kept,
        "decoder_calls": coder.calls,
        "probe": coder.encode(probe).tolist(),
    }  # fmt: skip
    (folder / _CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return coder


def load(folder: Path) -> Coder:
    """The tokenizer of a folder, on the CPU.

    Raises Unreadable where a file is missing or damaged, or makes other tokens of the images it
    came with than were made when it was written.
    """
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / _WEIGHTS)
        if config["format"] != _FORMAT:
            raise ValueError(f"its format is {config['format']!r}, and {_FORMAT} is known")
        tokenizer = from_tree(config["settings"], "image_tokenizers")
        assert isinstance(tokenizer, ImageTokenizer)
        with torch.random.fork_rng(devices=[]):
            learner = tokenizer.learner(Sizes(**config["sizes"]))
        if learner is not None:
            named = {k.partition(".")[2]: v for k, v in tensors.items() if k != "images"}
            learner.load_state_dict(named)
        coder = tokenizer.coder(learner, tensors["images"])
        found = coder.encode(tensors["images"][:_PROBED])
    except ParetokenError:
        raise
    except Exception as error:  # files of other people may hold anything
        told = " ".join(str(error).split())
        raise Unreadable(f"{folder} holds no image tokenizer that can be read: {told}.") from error
    expected = torch.tensor(config["probe"])
    # Of near-ties another processor may decide a few the other way.
    if found.shape != expected.shape or float((found != expected).double().mean()) > 0.01:
        raise Unreadable(
            f"the tokenizer in {folder} makes other tokens than when it was written: its files "
            "were changed, or vector-quantize-pytorch or libjpeg is of another version."
        )
    return coder


def main(
    settings: Annotated[Path, typer.Argument(help="Settings that `paretoken export` wrote.")],
    out: Annotated[Path, typer.Option("--out", help="The folder to write.")],
    artefacts: Annotated[
        str,
        typer.Option(help="Where the study keeps what it trained. [default: the user's cache]"),
    ] = "",
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the training. [default: the study's]")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda. [default: as searched]")] = "",
) -> None:
    """Write the trained tokenizer of exported settings: tokenizer.safetensors and config.json."""
    try:
        try:
            text = settings.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"cannot read the settings {settings}: {error}.") from error
        origin = json.loads(text).get("from") or {}
        if origin.get("workload") != "tokenizer":
            raise BadInput(f"{settings} is of no search of image tokenizers: export one of those.")
        options = dict(origin.get("options") or {})
        options |= {k: v for k, v in (("device", device), ("artefacts", artefacts)) if v}
        opened = KINDS["workloads"].load("tokenizer").open(**options)
        trained = int(origin.get("seed") or 0) if seed is None else seed
        coder = opened.save(from_tree(loads(text)), out, trained, _step)
    except ParetokenError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    typer.echo(
        f"wrote {out}: {coder.kept} tokens an image, {coder.layout.entries} entries; load it with "
        f"paretoken.evaluators.image_tokenizers.writing.load"
    )


def _step(step: int, of: int) -> None:
    if step % 50 == 0 or step == of:
        typer.echo(f"training the tokenizer: {step} of {of}")


if __name__ == "__main__":
    typer.run(main)
