"""The judge of answers: one pass of the untouched target over each prompt with its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from paretoken.evaluators.metrics.text import Answer, distinct, repetition
from paretoken.evaluators.models.text_target import TextTarget
from paretoken.evaluators.text_prompts import Prompt
from paretoken.spaces.errors import MeasurementFailed


def answer_of(tokens: Tensor, ends: tuple[int, ...]) -> Tensor:
    """The answer in a row [N] of tokens: up to and with the first that ends it."""
    over = torch.isin(tokens, torch.tensor(ends, dtype=tokens.dtype)).nonzero()
    return tokens[: int(over[0]) + 1] if len(over) else tokens


def judged(
    target: TextTarget,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    tokens: Tensor,
    of_plain: Tensor,
) -> list[Answer]:
    """Answers tokens [n, N] to the target's first n prompts, as it sees them in its precision.

    of_plain: [n, N], what plain greedy decoding answers.
    """
    contexts = target.contexts[: len(tokens)]
    return [
        judged_one(target, tokenizer, prompt, context.tokens, row, plain)
        for prompt, context, row, plain in zip(prompts, contexts, tokens, of_plain, strict=True)
    ]


@torch.inference_mode()
def judged_one(
    target: TextTarget, tokenizer: Any, prompt: Prompt, asked: Tensor, row: Tensor, plain: Tensor
) -> Answer:
    """One answer row [N] to a prompt, which is asked [P] in tokens. plain: [N], as above."""
    answer = answer_of(row, target.ends)
    law = logits_of(target, asked, answer).log_softmax(-1)
    if not bool(law.isfinite().any(-1).all()):
        raise MeasurementFailed("nan", "the target's logits on an answer are not numbers")
    chosen = law.gather(-1, answer.to(law.device).unsqueeze(-1)).squeeze(-1)
    text = tokenizer.decode(answer, skip_special_tokens=True)
    said = [int(token) for token in answer if int(token) not in target.ends]
    return Answer(
        kind=prompt.kind,
        tokens=len(answer),
        nll=-float(chosen.sum()),
        entropy=float(torch.special.entr(law.exp()).sum()),
        agreed=int((law.argmax(-1).cpu() == answer).sum()),
        as_plain=torch.equal(row, plain),
        distinct_2=distinct(said),
        repetition=repetition(said),
        right=prompt.answered(text) if prompt.answer else None,
    )


def logits_of(target: TextTarget, prompt: Tensor, answer: Tensor) -> Tensor:
    """The target's logits [L, V] for each token of an answer [L] behind a prompt [P]."""
    whole = torch.cat([prompt, answer]).unsqueeze(0).to(target.device)
    logits: Tensor = target.model(input_ids=whole, use_cache=False).logits[0]
    return logits[len(prompt) - 1 : -1].float()
