"""What a draft head learns from: answers that the model itself gives to made-up prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from paretoken.evaluators.models.corpus import passages
from paretoken.evaluators.models.language_model import contexts_of, ends_of
from paretoken.evaluators.text_prompts import Prompt
from paretoken.evaluators.workloads.text.seed_prompts import seed_prompts

# Of every so many batches one is answered at each of these: greedily, and sampled.
TEMPERATURES = (0.0, 0.8, 0.0, 1.0)
LONGEST = 224  # tokens of a prompt; longer ones are left out


@dataclass(frozen=True)
class Answers:
    """Prompts with answers, in tokens: lines [n, T] int32, padded behind; answer i begins at
    begins[i] and is over at ends[i]."""

    lines: Tensor
    begins: Tensor
    ends: Tensor

    def joined(self, more: Answers) -> Answers:
        """These and more."""
        width = max(self.lines.shape[1], more.lines.shape[1])
        lines = [
            torch.nn.functional.pad(part.lines, (0, width - part.lines.shape[1]))
            for part in (self, more)
        ]
        return Answers(
            torch.cat(lines),
            torch.cat([self.begins, more.begins]),
            torch.cat([self.ends, more.ends]),
        )


@torch.inference_mode()
def answered(
    model: Any, tokenizer: Any, asked: Sequence[Tensor], tokens: int, temperature: float
) -> Answers:
    """What a model answers to prompts [P] each, in at most so many tokens; greedily at
    temperature 0."""
    longest, device = max(map(len, asked)), model.device
    ids = torch.zeros(len(asked), longest, dtype=torch.int64)
    told = torch.zeros_like(ids)
    for row, one in enumerate(asked):
        ids[row, longest - len(one) :] = one
        told[row, longest - len(one) :] = 1
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    ends = ends_of(model, tokenizer)
    found = model.generate(
        ids.to(device), attention_mask=told.to(device), max_new_tokens=tokens,
        eos_token_id=list(ends), pad_token_id=ends[0],
        **(sampling if temperature else {"do_sample": False}),
    ).cpu()  # fmt: skip
    said = found[:, longest:]
    over = torch.isin(said, torch.tensor(ends))
    lengths = torch.where(over.any(-1), over.long().argmax(-1) + 1, said.shape[1])
    begins = told.sum(-1)
    # Moved to the left, so that every line begins with its prompt.
    places = torch.arange(found.shape[1]) + (longest - begins).unsqueeze(-1)
    lines = found.gather(1, places.clamp(max=found.shape[1] - 1))
    stops = begins + lengths
    lines = torch.where(torch.arange(lines.shape[1]) < stops.unsqueeze(-1), lines, 0)
    return Answers(lines[:, : int(stops.max())].int(), begins, stops)


def learned(
    model: Any,
    tokenizer: Any,
    corpus: str,
    wanted: int,
    *,
    tokens: int,
    batch: int,
    seed: int,
    known: Answers | None,
    due: Callable[[Answers], bool],
    say: Callable[[str], None],
) -> Answers | None:
    """Go on from `known` until there are `wanted` answers, or `due` says that time is up.

    The first answers are texts that later prompts are about, beside the passages of the corpus.
    """
    while known is None or len(known.lines) < wanted:
        texts = passages(corpus)
        if known is not None:
            some = zip(known.lines[:200], known.begins, known.ends, strict=False)
            texts += [tokenizer.decode(line[a:b], skip_special_tokens=True) for line, a, b in some]
            texts = [text for text in texts if len(text.split()) > 12]
        before = 0 if known is None else len(known.lines)
        torch.manual_seed(seed + before)
        short = _short(seed_prompts(seed + before, texts), tokenizer)
        warm = TEMPERATURES[before // batch % len(TEMPERATURES)]
        more = answered(model, tokenizer, list(islice(short, batch)), tokens, warm)
        known = more if known is None else known.joined(more)
        say(f"{len(known.lines)}/{wanted} answers")
        if due(known):
            break
    return known


def _short(prompts: Iterator[Prompt], tokenizer: Any) -> Iterator[Tensor]:
    """Those prompts [P] that are not too long."""
    for prompt in prompts:
        tokens = contexts_of([prompt], tokenizer)[0].tokens
        if len(tokens) <= LONGEST:
            yield tokens
