"""Settings that were exported for transformers, run by transformers: the same text, the same work?

    python tests/benchmarks/transformers_parity.py --prompts 6 --tokens 24
    python tests/benchmarks/transformers_parity.py --settings "lookup, 10 drafts" --tokens 64

Each setting is searched on the workload `text`, exported with `paretoken export --to transformers`,
and what the export says is to be done is done by transformers itself, its forwards counted by a
hook. The assistant is the model's own first layers, saved as a model of its own, for no second
model with these tokens comes with a package. Both decode in float32.

Forwards are rounds of the whole model. The first of transformers reads the prompt as well; here
all of it but its last token is read by a pass of its own, which no side counts. The exit code is 1
where texts differ, or tokens for a forward by more than `--tolerance`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from paretoken.evaluators.models.language_model import contexts_of, load
from paretoken.evaluators.text_prompts import in_turn, read_prompts
from paretoken.evaluators.workloads.text import PROMPTS
from paretoken.search.cli.main import main as paretoken

_LOOKUP = ("drafter=prompt_lookup", "prompt_lookup.which=first", "prompt_lookup.drafts=1")
_EARLY, _SMALL = ("drafter=early_layers",), ("drafter=small_model", "small_model.drafts=1")
SETTINGS: dict[str, tuple[str, ...]] = {
    "lookup, 4 drafts": (*_LOOKUP, "prompt_lookup.window=5", "prompt_lookup.ngram=3"),
    "lookup, 10 drafts": (*_LOOKUP, "prompt_lookup.window=11", "prompt_lookup.ngram=2"),
    "lookup, 16 drafts": (*_LOOKUP, "prompt_lookup.window=17", "prompt_lookup.ngram=1"),
    "early layers, 3 drafts": (*_EARLY, "early_layers.window=4", "early_layers.layers=LAYERS"),
    "early layers, confidence": (
        *_EARLY, "early_layers.window=8", "early_layers.layers=LAYERS", "length=confidence",
        "confidence.least=0.4",
    ),
    "assistant, 4 drafts": (*_SMALL, "small_model.window=5"),
    "assistant, confidence": (
        *_SMALL, "small_model.window=8", "length=confidence", "confidence.least=0.4",
    ),
    # 17 at most here, while transformers has no bound: answers are too short to reach it.
    "assistant, adaptive": (
        *_SMALL, "small_model.window=17", "length=adaptive", "adaptive.grow=2", "adaptive.shrink=1",
        "adaptive.least=2",
    ),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", help="a folder; SmolLM2-135M where none is named")
    parser.add_argument("--prompt-file", type=Path, default=PROMPTS)
    parser.add_argument("--prompts", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--layers", type=float, default=0.8, help="share that drafts")
    parser.add_argument("--settings", default=";".join(SETTINGS), help="separated by ;")
    parser.add_argument("--tolerance", type=float, default=0.02)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.environ["PARETOKEN_STORE"] = f"sqlite:///{folder}/parity.db"
        layers = _saved(asked.model, asked.layers)
        print("| setting | answers as here | forwards here | there | tokens/forward here | there |")
        print("|---|---|---|---|---|---|", flush=True)
        parts = asked.settings.split(";")
        failed = [name for name in parts if not _compare(name, asked, layers)]
    raise SystemExit(f"no parity: {', '.join(failed)}" if failed else 0)


def _saved(source: str | None, share: float) -> int:
    """Save the model, and its first layers as an assistant; returns how many those are."""
    from transformers import AutoModelForCausalLM

    model, tokenizer = load(source)
    layers = max(1, int(share * model.config.num_hidden_layers))
    model.save_pretrained("model")
    assistant = AutoModelForCausalLM.from_pretrained("model", num_hidden_layers=layers)
    assistant.save_pretrained("assistant")
    for place in ("model", "assistant"):
        tokenizer.save_pretrained(place)
    return layers


def _compare(name: str, asked: Any, layers: int) -> bool:
    """One row of the table; whether both sides agree."""
    told = _exported(name, asked, layers)
    here = told["quantities"]["tokens_per_forward"]["value"]
    forwards_here = told["quantities"]["target_forwards"]["value"] * asked.prompts
    answers, sizes, forwards = _generated(told["use"], asked)
    texts = [line["answer"] for line in _lines("answers.jsonl")]
    same = sum(a == b for a, b in zip(answers, texts, strict=True))
    there = sum(sizes) / forwards
    print(
        f"| {name} | {same} of {len(texts)} | {forwards_here:.0f} | {forwards} | {here:.3f} "
        f"| {there:.3f} |",
        flush=True,
    )
    return same == len(texts) and abs(there / here - 1) <= asked.tolerance


def _exported(name: str, asked: Any, layers: int) -> dict[str, Any]:
    """Search one setting, export it, and answer the prompts with it; what `export` tells."""
    study = f"parity {name}"
    fixed = ["decoder=speculative", "verifier=exact", "runtime.dtype=float32"]
    if not any(setting.startswith("length=") for setting in SETTINGS[name]):
        fixed.append("length=fixed")
    chosen = [setting.replace("LAYERS", str(layers)) for setting in (*fixed, *SETTINGS[name])]
    shape = {"model": "model", "draft": "assistant", "prompts": str(asked.prompt_file.resolve()),
             "tokens": asked.tokens}  # fmt: skip
    _run(
        "search", "text", "--study", study, "--algorithm", "grid", "--trials", "2", "--device",
        "cpu", "--samples", str(asked.prompts), "--observations", "1", "--no-confirm",
        *(word for key, value in shape.items() for word in ("--option", f"{key}={value}")),
        *(word for setting in chosen for word in ("--set", _path(setting))),
    )  # fmt: skip
    asking = ("--to", "transformers", "--check", "--allow-unverified", "--force", "--json")
    where = f'drafter == "{_drafter(name)}"'
    told: dict[str, Any] = json.loads(
        _run("export", study, "--where", where, "--out", "exported", *asking)
    )
    settings = "exported/paretoken_export.json"
    _run("generate", "--settings", settings, "--out", "answers.jsonl", "-n", str(asked.prompts))
    return told


def _path(setting: str) -> str:
    """Parts of the decoder are written by their own names above."""
    name = setting.partition("=")[0]
    return f"decoder.{setting}" if name in ("drafter", "length", "verifier") else setting


def _drafter(name: str) -> str:
    return SETTINGS[name][0].partition("=")[2]


def _run(*words: str) -> str:
    """What a command of paretoken prints; ends the benchmark where it fails."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = paretoken(words)
    if code:
        raise SystemExit(f"paretoken {' '.join(words)}: {err.getvalue()}")
    return out.getvalue()


def _generated(use: str, asked: Any) -> tuple[list[str], list[int], int]:
    """The answers of transformers, how many tokens they have, and all forwards of the model.

    use: what `export` says is to be done; its last line answers `inputs`.
    """
    names: dict[str, Any] = {}
    *preparing, answering = use.splitlines()
    exec("\n".join(preparing), names)
    _, tokenizer = load("model")
    prompts = in_turn(read_prompts(asked.prompt_file), asked.prompts)
    answers, sizes = [], []
    with _counted(names["model"]) as forwards, torch.inference_mode():
        for context in contexts_of(prompts, tokenizer):
            begin = context.tokens.unsqueeze(0)
            names["inputs"] = {"input_ids": begin, "attention_mask": torch.ones_like(begin)}
            answer = eval(answering, names)[0, begin.shape[1] :]
            sizes.append(len(answer))
            answers.append(tokenizer.decode(answer, skip_special_tokens=True))
    return answers, sizes, len(forwards)


@contextlib.contextmanager
def _counted(model: Any) -> Iterator[list[None]]:
    """One entry for each forward of the whole model: early layers draft with the same module."""
    forwards: list[None] = []
    layers = model.config.num_hidden_layers

    def count(module: Any, *_: Any) -> None:
        if module.config.num_hidden_layers == layers:
            forwards.append(None)

    hook = model.register_forward_hook(count)
    try:
        yield forwards
    finally:
        hook.remove()


def _lines(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
