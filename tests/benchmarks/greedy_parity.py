"""Greedy answers of every lossless drafter against plain decoding's, token for token in float32.

    python tests/benchmarks/greedy_parity.py --prompts 2 --tokens 24 --lengths 0,1,5
    python tests/benchmarks/greedy_parity.py --device cuda

Windows of different sizes round differently, so where two tokens are as good as equal an answer may
fork. A fork counts as one only if the model, asked once more at that place, has the two within
--tie of each other in logits; anything else is an error, and the exit code says so.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch

from paretoken.evaluators.engine.decode import Decoding
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.environment import device_named, environment
from paretoken.evaluators.models.corpus import trigrams_of
from paretoken.evaluators.models.language_model import contexts_of, ends_of, load
from paretoken.evaluators.models.text_target import TextTarget
from paretoken.evaluators.text_prompts import in_turn, read_prompts
from paretoken.evaluators.workloads.text import CORPUS, PROMPTS
from paretoken.spaces.candidate import from_tree

# Drafters, with the verifier of those that draft several continuations.
DRAFTERS: dict[str, dict[str, Any]] = {
    "prompt_lookup": {},
    "aggressive": {},
    "trigram": {},
    "jacobi": {},
    "early_layers": {"layers": 24},
    "skip_layers": {"skipped": 0.1},
    "prompt_lookup, 3 drafts": {"drafts": 3, "ngram": 1},
    "skip_layers, 2 drafts": {"skipped": 0.1, "drafts": 2, "choice": "likeliest"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model")
    parser.add_argument("--device")
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--lengths", default="0,1,2,5,20", help="drafts in a round")
    parser.add_argument("--drafters", default=";".join(DRAFTERS), help="separated by ;")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--tie", type=float, default=1e-3, help="logits that are as good as equal")
    asked = parser.parse_args()
    device = device_named(asked.device)
    model, tokenizer = load(asked.model)
    ends = ends_of(model, tokenizer)
    vocabulary = int(model.config.get_text_config().vocab_size)
    prompts = in_turn(read_prompts(PROMPTS), asked.prompts)
    target = TextTarget(
        model, contexts_of(prompts, tokenizer), length=asked.tokens, ends=ends, device=device,
        dtype=torch.float32, trigrams=lambda: trigrams_of(CORPUS, tokenizer, vocabulary),
    )  # fmt: skip
    print(environment(device), flush=True)
    plain, forwards = _answers(target, {"is": "drafters/none"}, "exact", 1, asked.prompts)
    print("| drafter, drafts | as plain | forks at a tie | wrong | tokens/forward |")
    print("|---|---|---|---|---|")
    wrong = 0
    for name in asked.drafters.split(";"):
        knobs = DRAFTERS[name]
        verifier = "tree" if "drafts" in knobs else "exact"
        for drafts in map(int, asked.lengths.split(",")):
            drafter = {"is": f"drafters/{name.partition(',')[0]}", "window": drafts + 1, **knobs}
            if drafts * knobs.get("drafts", 1) > 60:
                continue  # a tree that no server would run
            found, work = _answers(target, drafter, verifier, asked.batch, asked.prompts)
            gaps = [_gap(target, i, found[i], plain[i]) for i in range(asked.prompts)]
            forks = sum(gap is not None and gap < asked.tie for gap in gaps)
            broken = sum(gap is not None and gap >= asked.tie for gap in gaps)
            wrong += broken
            same = asked.prompts - forks - broken
            print(
                f"| {name}, {drafts} | {same} | {forks} | {broken} | {forwards / work:.2f} |",
                flush=True,
            )
    raise SystemExit(1 if wrong else 0)


def _answers(
    target: TextTarget, drafter: dict[str, Any], verifier: str, batch: int, prompts: int
) -> tuple[torch.Tensor, int]:
    """Answers [n, N] and the forwards they took in all."""
    candidate = from_tree(
        {
            "decoder": {
                "is": "decoders/speculative",
                "drafter": drafter,
                "verifier": {"is": f"verifiers/{verifier}"},
            },
            "sampling": {"is": "samplings/standard", "temperature": 0.0},
        }
    )
    rows = target.model.get_input_embeddings().weight.detach()
    decoding = Decoding(
        target, candidate.decoder, candidate.sampling, Geometry(rows, rows), batch=batch, seed=0
    )
    tokens, trace = decoding.run(torch.arange(prompts))
    return tokens, int(trace.forwards.sum())


@torch.inference_mode()
def _gap(target: TextTarget, prompt: int, found: torch.Tensor, plain: torch.Tensor) -> float | None:
    """How far apart the model has the two tokens where answers fork; None where they do not."""
    apart = (found != plain).nonzero()
    if not len(apart):
        return None
    fork = int(apart[0])
    whole = torch.cat([target.contexts[prompt].tokens, plain[:fork]]).unsqueeze(0)
    logits = target.model(input_ids=whole.to(target.device)).logits[0, -1]
    return abs(float(logits[found[fork]] - logits[plain[fork]]))


if __name__ == "__main__":
    main()
