"""Shortened models: the law is that of the layers that run, whatever the cache and the drafts."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from paretoken.evaluators.components.depths.by_position import ByPosition
from paretoken.evaluators.components.depths.by_prompt import ByPrompt
from paretoken.evaluators.models.shortened_target import ShortenedTarget
from paretoken.spaces.errors import BadInput, MeasurementFailed

PROMPTS = torch.arange(3)


def reference(target: Any, kept: torch.Tensor, prompt: int) -> torch.Tensor:
    """Greedy answers of a model that computes everything anew for every token, without a cache."""
    told = target.contexts[prompt].tokens
    start = len(told) - 1
    for _ in range(target.length):
        place = (torch.arange(len(told)) - start + 1).clamp(0, target.length)
        runs = kept[min(prompt, len(kept) - 1), place]
        body = target.model.model
        state = body.embed_tokens(told.unsqueeze(0))
        turned = body.rotary_emb(state, position_ids=torch.arange(len(told)).unsqueeze(0))
        hidden = torch.full((len(told), len(told)), -torch.inf, dtype=state.dtype).triu(1)
        for i, layer in enumerate(body.layers):
            after = layer(state, attention_mask=hidden[None, None], position_embeddings=turned)
            state = torch.where(runs[:, i, None], after, state)
        logits = target.model.lm_head(body.norm(state))[0, -1]
        told = torch.cat([told, logits.argmax().view(1)])
    return told[start + 1 :]


def by_position(layers: int, length: int, **knobs: Any) -> torch.Tensor:
    return ByPosition(**knobs).kept(type("T", (), {"layers": layers, "length": length}))


def test_layers_fall_from_first_to_last_and_never_come_back() -> None:
    for knobs in ({"last": 0.2}, {"first": 0.7, "last": 0.3}, {"last": 0.0, "warm_up": 0}):
        kept = by_position(10, 8, **{"first": 1.0, "warm_up": 2, "horizon": 5, **knobs})[0]
        count = kept.sum(-1).tolist()
        assert count == sorted(count, reverse=True) and count[0] == count[1]
        assert not (kept[1:] & ~kept[:-1]).any()
        assert kept[:, :2].all() or knobs.get("warm_up") == 0
        assert kept[:, -1].all()  # what is saved is saved in the middle
        assert count[5:] == count[5:6] * 4
    assert by_position(10, 8, first=1.0, last=1.0).all()
    line = by_position(10, 5, first=1.0, last=0.2, warm_up=1).sum(-1)
    assert line.tolist() == [[10, 10, 8, 6, 4, 2]]


@pytest.mark.parametrize("knobs", [{"last": 0.25}, {"first": 0.75, "last": 0.5, "horizon": 6}])
def test_answers_are_those_of_a_model_without_a_cache(knobs: Any, tiny: Any, answer: Any) -> None:
    target = tiny(length=10)
    kept = ByPosition(**knobs).kept(target)
    short = ShortenedTarget(target, kept)
    plain, _ = answer(target, {}, PROMPTS)
    with torch.inference_mode():
        expected = torch.stack([reference(target, kept, i) for i in range(3)])
        whole = torch.stack([reference(target, torch.ones_like(kept), i) for i in range(3)])
    assert torch.equal(whole, plain) and not torch.equal(expected, plain)
    for batch in (1, 2, 3):
        assert torch.equal(answer(short, {}, PROMPTS, batch=batch)[0], expected)


@pytest.mark.parametrize(
    "drafter", ["prompt_lookup", "small_model", "early_layers", "head", "jacobi"]
)
def test_drafts_do_not_change_what_a_shortened_model_says(
    drafter: str, tiny: Any, answer: Any
) -> None:
    target = tiny(length=20)
    short = ShortenedTarget(target, ByPosition(last=0.25).kept(target))
    plain, _ = answer(short, {}, PROMPTS)
    for window, batch in ((2, 1), (6, 2), (21, 3)):
        decoder = {"drafter": {"is": f"drafters/{drafter}", "window": window}}
        assert torch.equal(answer(short, decoder, PROMPTS, batch=batch)[0], plain)


def test_all_layers_are_plain_decoding_and_a_fixed_set_is_the_model_of_that_set(
    tiny: Any, answer: Any
) -> None:
    target = tiny(length=16)
    whole = ShortenedTarget(target, ByPosition(first=1.0, last=1.0).kept(target))
    assert torch.equal(answer(whole, {}, PROMPTS)[0], answer(target, {}, PROMPTS)[0])
    fixed = ShortenedTarget(target, ByPosition(first=0.75, last=0.75).kept(target))
    expected, _ = answer(target.with_layers([0, 2, 3]), {}, PROMPTS)
    assert torch.equal(answer(fixed, {}, PROMPTS)[0], expected)


def by_prompt(target: Any, *without: int) -> torch.Tensor:
    """The table in which prompt i has all layers but one: without[i]."""
    likeness = torch.zeros(3, target.layers, dtype=torch.float64)
    likeness[range(3), without] = 1.0
    target.likeness = likeness, torch.tensor([[0.0, 0.5, 0.5, 0.0]], dtype=torch.float64)
    return ByPrompt(skipped=0.5).kept(target)


def test_every_prompt_is_answered_by_its_own_layers_side_by_side(tiny: Any, answer: Any) -> None:
    target = tiny(length=12)
    kept = by_prompt(target, 1, 2, 1)
    assert kept[:, 0].all() and kept[:, 1:].sum() == 3 * 12 * 3
    short = ShortenedTarget(target, kept)
    with torch.inference_mode():
        expected = torch.stack([reference(target, kept, i) for i in range(3)])
    assert not torch.equal(expected, answer(target, {}, PROMPTS)[0])
    lookup = {"drafter": {"is": "drafters/prompt_lookup", "window": 4}}
    for decoder, batch in (({}, 1), ({}, 3), (lookup, 2)):
        assert torch.equal(answer(short, decoder, PROMPTS, batch=batch)[0], expected)
    again = torch.tensor([2, 1, 0, 1, 2])  # rows change their prompts
    assert torch.equal(answer(short, {}, again, batch=2)[0], expected[again])


def test_the_more_is_skipped_the_fewer_layers_run_and_nothing_skipped_is_all(tiny: Any) -> None:
    target = tiny(length=4)
    kept = [ByPrompt(skipped=share).kept(target) for share in (0.0, 0.2, 0.5, 0.8, 1.0)]
    assert kept[0].all()
    for more, fewer in itertools.pairwise(kept):
        assert not (fewer & ~more).any()
    assert kept[-1].sum() < kept[0].sum()
    assert all(table[:, :, [0, -1]].all() and table[:, 0].all() for table in kept)
    target._passages = list
    del target.likeness
    with pytest.raises(BadInput, match="--option corpus=FILE"):
        ByPrompt(skipped=0.5).kept(target)


def test_the_likeness_of_a_layer_is_the_cosine_of_its_states(tiny: Any) -> None:
    target = tiny()
    prompts, passages = target.likeness
    assert torch.equal(prompts, passages)  # these are the same texts here
    with torch.inference_mode():
        told = target.contexts[1].tokens.unsqueeze(0)
        states = target.model(input_ids=told, output_hidden_states=True).hidden_states
    cosine = [torch.cosine_similarity(a, b, dim=-1).mean() for a, b in itertools.pairwise(states)]
    # The last of the states has gone through the last norm as well.
    torch.testing.assert_close(prompts[1, :-1], torch.stack(cosine[:-1]), rtol=0, atol=1e-12)


def test_layers_that_no_row_needs_are_not_run(tiny: Any, answer: Any) -> None:
    target = tiny(length=10)
    runs = [0] * target.layers
    for i, layer in enumerate(target.model.model.layers):
        layer.register_forward_pre_hook(lambda *_, i=i: runs.__setitem__(i, runs[i] + 1))
    kept = ByPosition(last=0.25, warm_up=0).kept(target)
    answer(ShortenedTarget(target, kept), {}, PROMPTS[:1])
    assert runs == kept[0].sum(0).tolist()


def test_models_that_cannot_leave_layers_out_say_so(tiny: Any, answer: Any) -> None:
    target = tiny("mistral")
    short = ShortenedTarget(target, ByPosition(last=0.25).kept(target))
    with pytest.raises(MeasurementFailed, match="use decoders/speculative"):
        answer(short, {}, PROMPTS)
