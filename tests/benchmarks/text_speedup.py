"""Decoders of text beside each other, and beside `transformers`' own, in one run.

    python tests/benchmarks/text_speedup.py --prompts 6 --tokens 32
    python tests/benchmarks/text_speedup.py --model /models/Qwen --device cuda --tokens 128
    python tests/benchmarks/text_speedup.py --also 'best={"verifier": {"is": "verifiers/typical"},
        "drafter": {"is": "drafters/aggressive", "window": 33}}'

For each kind of prompt: tokens a second after reading the prompt, and tokens for a forward. All
decoders but those of --also are lossless: answers are compared with plain decoding's. A draft head
is among them where one ships for the model, or --head names one. `transformers` rows
read the prompt within the time measured, as `generate` does; the last column counts that for both.
Forwards are counted by a hook.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

from paretoken.evaluators.engine.decode import Decoding
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.environment import device_named, environment
from paretoken.evaluators.models.draft_head import load_for
from paretoken.evaluators.models.language_model import contexts_of, ends_of, load
from paretoken.evaluators.models.text_target import TextTarget
from paretoken.evaluators.text_judge import answer_of
from paretoken.evaluators.text_prompts import in_turn, read_prompts
from paretoken.evaluators.workloads.text import HEAD as HEAD_FILE
from paretoken.evaluators.workloads.text import PROMPTS
from paretoken.spaces.candidate import from_tree

OURS: dict[str, dict[str, Any]] = {
    "plain": {},
    "prompt lookup": {"drafter": {"is": "drafters/prompt_lookup", "window": 11, "ngram": 2}},
    "aggressive": {"drafter": {"is": "drafters/aggressive", "window": 17}},
    "skip layers": {"drafter": {"is": "drafters/skip_layers", "window": 3, "skipped": 0.1}},
}
HEAD: dict[str, Any] = {"drafter": {"is": "drafters/head", "window": 4}}
THEIRS: dict[str, dict[str, Any]] = {
    "transformers: plain": {},
    "transformers: prompt lookup": {"prompt_lookup_num_tokens": 10, "max_matching_ngram_size": 2},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model")
    parser.add_argument("--device")
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--head", type=Path, help="draft head [default: the one that ships]")
    parser.add_argument("--also", action="append", default=[], help="NAME=decoder, as JSON")
    asked = parser.parse_args()
    device = device_named(asked.device)
    model, tokenizer = load(asked.model)
    prompts = in_turn(read_prompts(PROMPTS), asked.prompts)
    ends = ends_of(model, tokenizer)
    file = asked.head or (HEAD_FILE if asked.model is None and HEAD_FILE.exists() else None)
    target = TextTarget(
        model, contexts_of(prompts, tokenizer), length=asked.tokens, ends=ends, device=device,
        dtype=getattr(torch, asked.dtype), head=None if file is None else load_for(model, file),
    )  # fmt: skip
    ours = OURS | ({} if file is None else {"head, window 4": HEAD})
    for also in asked.also:
        name, _, decoder = also.partition("=")
        ours[name] = json.loads(decoder)
    print(environment(device), flush=True)
    # kind -> [tokens, seconds, forwards, seconds with reading]
    rows: dict[str, dict[str, list[float]]] = {
        name: defaultdict(lambda: [0.0] * 4) for name in (*ours, *THEIRS)
    }
    decodings = {name: _decoding(target, decoder) for name, decoder in ours.items()}
    for decoding in decodings.values():
        decoding.run(torch.tensor([0]))  # warm-up
    same = dict.fromkeys([*ours, *THEIRS], 0)
    # All rows answer a prompt before the next one comes: a machine that slows down slows all alike.
    for i, prompt in enumerate(prompts):
        plain = torch.empty(0)
        for name, decoding in decodings.items():
            tokens, trace = decoding.run(torch.tensor([i]))
            answer = answer_of(tokens[0], ends)
            if name == "plain":
                plain = answer
            same[name] += torch.equal(answer, plain)
            writing = trace.seconds - float(trace.begun.sum())
            numbers = (len(answer), writing, int(trace.forwards[0]), trace.seconds)
            _add(rows[name], prompt.kind, *numbers)
        for name, settings in THEIRS.items():
            answer, seconds, forwards = _generated(target, i, asked.tokens, settings)
            same[name] += torch.equal(answer, plain)
            _add(rows[name], prompt.kind, len(answer), seconds, forwards, seconds)
        print(f"{i + 1} of {len(prompts)} prompts", flush=True)
    for name, equal in same.items():
        print(f"{name}: {equal} of {len(prompts)} answers as plain", flush=True)
    kinds = list(dict.fromkeys(prompt.kind for prompt in prompts))
    print(
        "\n| tokens/s, tokens/forward | " + " | ".join([*kinds, "all", "all, reading too"]) + " |"
    )
    print("|---|" + "---|" * (len(kinds) + 2))
    for name, found in rows.items():
        cells = [found[kind] for kind in kinds]
        cells.append([sum(part) for part in zip(*cells, strict=True)])
        told = [f"{t / s:.1f}, {t / f:.2f}" for t, s, f, _ in cells]
        told.append(f"{cells[-1][0] / cells[-1][3]:.1f}")
        print(f"| {name} | " + " | ".join(told) + " |")


def _decoding(target: TextTarget, decoder: dict[str, Any]) -> Decoding:
    candidate = from_tree(
        {
            "decoder": {"is": "decoders/speculative", **decoder},
            "sampling": {"is": "samplings/standard", "temperature": 0.0},
        }
    )
    rows = target.model.get_input_embeddings().weight.detach()
    return Decoding(
        target, candidate.decoder, candidate.sampling, Geometry(rows, rows), batch=1, seed=0
    )  # fmt: skip


def _add(found: Any, kind: str, *values: float) -> None:
    for place, value in enumerate(values):
        found[kind][place] += value


@torch.inference_mode()
def _generated(
    target: TextTarget, prompt: int, tokens: int, settings: dict[str, Any]
) -> tuple[torch.Tensor, float, int]:
    """The answer of `generate`, seconds and forwards it took."""
    forwards = 0

    def count(*_: Any) -> None:
        nonlocal forwards
        forwards += 1

    asked = target.contexts[prompt].tokens.unsqueeze(0).to(target.device)
    hook = target.model.register_forward_hook(count)
    begun = time.perf_counter()
    answer = target.model.generate(
        asked, attention_mask=torch.ones_like(asked), max_new_tokens=tokens, do_sample=False,
        **settings,
    )[0, asked.shape[1] :].cpu()  # fmt: skip
    seconds = time.perf_counter() - begun
    hook.remove()
    return answer, seconds, forwards


if __name__ == "__main__":
    main()
