"""Training a draft head, in miniature: it learns what drafting asks, and not on judged prompts."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from safetensors.torch import load_file
from typer.testing import CliRunner

from paretoken.evaluators.engine.drafter import Shape
from paretoken.evaluators.engine.head_drafts import HeadDrafts
from paretoken.evaluators.models.corpus import passages
from paretoken.evaluators.models.draft_head import load_for
from paretoken.evaluators.models.language_model import contexts_of, load
from paretoken.evaluators.models.text_target import TextTarget
from paretoken.evaluators.resumable import OutOfTime, Run
from paretoken.evaluators.text_prompts import in_turn, read_prompts
from paretoken.evaluators.workloads.text import CORPUS, PROMPTS, train_head
from paretoken.evaluators.workloads.text.head_step import Lines, foretold
from paretoken.evaluators.workloads.text.seed_prompts import seed_prompts
from paretoken.spaces.candidate import from_tree


def test_prompts_to_learn_from_are_of_all_kinds_and_none_is_judged() -> None:
    texts = passages(CORPUS.read_text())
    made = list(itertools.islice(seed_prompts(0, texts), 6_000))
    judged = read_prompts(PROMPTS)
    assert {prompt.kind for prompt in made} == {prompt.kind for prompt in judged}
    assert not {p.message for p in made} & {p.message for p in judged}
    assert not {p.prompt for p in made} & {p.prompt for p in judged}
    assert not {p.source for p in made if p.source} & {p.source for p in judged}
    assert len({p.message for p in made}) > 5_000
    assert made == list(itertools.islice(seed_prompts(0, texts), 6_000))


def test_steps_of_training_see_what_drafting_sees(tiny: Any) -> None:
    """The s-th step's guess is, place by place, the one that the s-th draft of a round is drawn
    from."""
    target: TextTarget = tiny()
    text = target.contexts[2].tokens
    begin, head = 9, target.head().double()
    with torch.inference_mode():
        line = text.unsqueeze(0)
        states = target.model.base_model(input_ids=line).last_hidden_state
        lines = Lines(
            states, target.model.get_input_embeddings()(line),
            torch.tensor([begin]), torch.tensor([len(text)]),
        )  # fmt: skip
        told = list(foretold(head, lines, 4))
        output = target.model.get_output_embeddings()
        for pending in range(begin - 1, len(text) - 4):
            drafts = drafting(target, text[: pending + 1])
            logits = drafts.first()
            for step, (guess, needed) in enumerate(told):
                assert torch.allclose(output(guess[0, pending + step - 1]), logits[0, 0], atol=1e-9)
                assert needed[0, pending + step - 1]
                logits = drafts.following(text[pending + step + 1].view(1, 1), step + 1)
    for step, (_, needed) in enumerate(told):
        # The first round drafts after the prompt; what it drafts last is the last of the answer.
        assert needed[0].nonzero().squeeze(-1).tolist() == list(
            range(begin - 2 + step, len(text) - 2)
        )


def drafting(target: TextTarget, prompt: torch.Tensor) -> HeadDrafts:
    """A head that is about to draft after a prompt."""
    target = TextTarget(
        target.model, [type(target.contexts[0])(prompt, (0, 0))], length=8, ends=(),
        device=target.device, dtype=target.dtype, head=target.head(),
    )  # fmt: skip
    cache = target.allocate(1, False)
    greedy = from_tree({"sampling": {"is": "samplings/standard", "temperature": 0.0}})
    shape = Shape(
        1, 8, target.vocabulary, 8, target.device, torch.float64, target, greedy.sampling,
        greedy.decoder.length, cache,
    )  # fmt: skip
    drafts = HeadDrafts(target.head(), shape, 4)
    one = torch.zeros(1, dtype=torch.int64)
    target.begin(one, one, cache)
    drafts.reset(one, one, 0, one)
    return drafts


def taught(model: Path, folder: Path) -> str:
    """Train a head for a tiny model; returns what is said."""
    words = (
        "--folder", folder, "--model", model, "--answers", 40, "--rows", 20, "--tokens", 24,
        "--steps", 150, "--ahead", 3, "--batch", 8, "--positions", 256, "--held-out", 6,
        "--device", "cpu",
    )  # fmt: skip
    app = typer.Typer()
    app.command()(train_head.main)
    with torch.random.fork_rng(devices=[]):
        found = CliRunner().invoke(app, [str(word) for word in words])
    assert found.exit_code == 0, found.output
    return found.output


def test_a_trained_head_is_kept_more_often_and_interruptions_do_not_change_it(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    assert "held out, greedy" in taught(saved, tmp_path / "whole")
    calls = itertools.count(1)
    # Out of time at every 60th look at the clock, and at the second: between answers.
    monkeypatch.setattr(Run, "due", lambda self: next(calls) in (2, 60, 120))

    def pause(self: Run) -> None:
        self.save()
        raise OutOfTime

    monkeypatch.setattr(Run, "pause", pause)
    for _ in range(3):
        assert "resume with the same command" in taught(saved, tmp_path / "broken")
    taught(saved, tmp_path / "broken")
    files = [tmp_path / name / "head.safetensors" for name in ("whole", "broken")]
    whole, broken = map(load_file, files)
    assert whole.keys() == broken.keys()
    for name, weight in whole.items():
        assert torch.equal(weight, broken[name]), name
    assert "held out" in (tmp_path / "whole" / "head.md").read_text()

    model, tokenizer = load(str(saved))
    contexts = contexts_of(in_turn(read_prompts(PROMPTS), 6), tokenizer)
    trained = load_for(model, files[0])
    random = copy.deepcopy(trained)
    random.initialise(torch.ones(1, model.config.hidden_size))
    kept = []
    for head in (random, trained):
        target = TextTarget(
            model, contexts, length=24, ends=(), device=torch.device("cpu"), dtype=torch.float32,
            head=head,
        )  # fmt: skip
        drafter = {"drafter": {"is": "drafters/head", "window": 4}}
        found, trace = answer(target, drafter, torch.arange(6), batch=3)
        assert torch.equal(found, answer(target, {}, torch.arange(6))[0])
        kept.append(int(trace.accepted.sum()))
    # By chance one of 257 tokens is right: in up to 3 drafts for each of 144 tokens 1.7 on average,
    # and more than 10 of them once in a million (Poisson).
    assert kept[0] <= 10 < kept[1]
