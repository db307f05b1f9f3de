"""Opening a workload of a language model: its options checked, model and prompts loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from paretoken.evaluators.environment import device_named
from paretoken.evaluators.text_prompts import Prompt, in_turn, read_prompts
from paretoken.spaces.errors import BadInput, BadValue


@dataclass(frozen=True)
class Opened:
    """What the options named. tokens: of an answer at most."""

    model: Any
    tokenizer: Any
    prompts: tuple[Prompt, ...]
    device: torch.device
    tokens: int


def check_options(workload: str, unknown: Iterable[str], known: str) -> None:
    """Raise BadInput for options that the workload does not know. known: those that it does."""
    if unknown:
        raise BadInput(
            f"workload {workload} has no option {', '.join(sorted(unknown))}: it knows {known}."
        )


def open_language(
    *,
    model: str | None,
    prompts: Path,
    tokens: int | None,
    device: str | None,
    samples: int | None,
    usual: Mapping[str, tuple[int, int]],
) -> Opened:
    """Load what a workload is about; raises BadInput and BadValue with what is wrong.

    model: None for the embedded one. prompts: a JSONL file, of which `samples` are taken, the kinds
    in turn. usual: samples and tokens where none are named, on a CPU and on CUDA.
    """
    for needed in ("transformers", "gguf", "accelerate"):
        if find_spec(needed) is None:
            raise BadInput(
                f"language models need the package {needed}: pip install 'paretoken[text]'."
            )
    from paretoken.evaluators.models import language_model  # needs those

    chosen = device_named(device)
    usual_samples, usual_tokens = usual[chosen.type]
    known = read_prompts(prompts)
    wanted = in_turn(known, samples or min(len(known), usual_samples))
    length = usual_tokens if tokens is None else tokens
    whole = isinstance(length, int) and not isinstance(length, bool)
    if not whole or not 1 <= length <= 4096:
        raise BadValue(
            f"--option tokens is a number of tokens from 1 to 4096; it cannot be {length!r}."
        )
    loaded, tokenizer = language_model.load(model)
    return Opened(loaded, tokenizer, wanted, chosen, length)
