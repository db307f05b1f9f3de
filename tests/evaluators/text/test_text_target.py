"""The target adapter: rolled back to any place, it sees what a model without a cache sees."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from paretoken.spaces.errors import BadInput, MeasurementFailed


@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_windows_at_places_of_their_own_equal_whole_passes(kind: str, tiny: Any) -> None:
    target = tiny(kind)
    cache = target.allocate(3, False)
    with torch.inference_mode():
        pending = target.begin(torch.arange(3), torch.arange(3), cache)
        told = [context.tokens for context in target.contexts]
        assert pending.tolist() == [int(text[-1]) for text in told]
        count = torch.zeros(3, dtype=torch.int64)
        generator = torch.Generator().manual_seed(0)
        for round_ in range(6):
            fed = torch.randint(0, 12, (3, 4), generator=generator)
            fed[:, 0] = torch.stack([text[-1] for text in told])
            logits, _ = target.forward(fed, count, cache, False)
            kept = torch.tensor([round_ % 4, (round_ + 1) % 4, 3 - round_ % 4])
            for row in range(3):
                whole = torch.cat([told[row], fed[row, 1:]]).unsqueeze(0)
                expected = target.model(input_ids=whole, use_cache=False).logits[0, -4:]
                torch.testing.assert_close(logits[row], expected, rtol=0, atol=1e-12)
                accepted = fed[row, 1 : 1 + int(kept[row])]
                told[row] = torch.cat([told[row], accepted, torch.tensor([round_])])
            count = count + kept + 1


def test_a_draft_pass_leaves_the_targets_cache_alone(tiny: Any) -> None:
    target = tiny()
    part = target.with_layers([0, 3])
    mine, its = target.allocate(1, False), part.allocate(1, False)
    with torch.inference_mode():
        target.begin(torch.tensor([2]), torch.tensor([0]), mine)
        before = {layer: keys.clone() for layer, (keys, _) in mine._kept.items()}
        part.begin(torch.tensor([2]), torch.tensor([0]), its)
    assert sorted(before) == [0, 1, 2, 3] and sorted(its._kept) == [0, 3]
    assert all(torch.equal(before[layer], mine._kept[layer][0]) for layer in before)
    assert len(target.model.model.layers) == 4


def test_rows_are_read_again_when_they_are_filled_again(tiny: Any, answer: Any) -> None:
    for kind in ("llama", "mistral"):
        target = tiny(kind, length=5)
        wanted = torch.tensor([0, 1, 2, 2, 1, 0, 1])
        together, _ = answer(target, {}, wanted, batch=2)
        alone = [answer(target, {}, wanted[i : i + 1])[0][0] for i in range(len(wanted))]
        assert torch.equal(together, torch.stack(alone))


def test_what_cannot_be_is_said(tiny: Any) -> None:
    target = tiny()
    with pytest.raises(MeasurementFailed, match=r"no unconditional twin.*sampling\.cfg=1"):
        target.allocate(1, True)
    target._draft = None
    with pytest.raises(BadInput, match="--option draft=PATH"):
        target.small()


def test_an_older_transformers_is_told_for_models_that_it_cannot_roll_back(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tiny("mistral")
    monkeypatch.setattr("paretoken.evaluators.models.cropped_caches.ROLLS_BACK", False)
    with pytest.raises(MeasurementFailed, match=r"unsupported: before transformers 5\.18.*upgrade"):
        target.allocate(1, False)


def test_no_attention_is_taken_that_does_not_repeat_itself(
    tiny: Any, three_tokens: Any, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which kernels are allowed is known on a CPU, too; of cuDNN's answers fork in 16 bits."""
    attend, allowed = functional.scaled_dot_product_attention, []

    def seen(*given: Any, **more: Any) -> torch.Tensor:
        allowed.append(torch.backends.cuda.cudnn_sdp_enabled())
        return attend(*given, **more)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", seen)
    assert torch.backends.cuda.cudnn_sdp_enabled()
    answer(tiny(), {}, torch.tensor([0]))
    model = len(allowed)
    head = {"drafter": {"is": "drafters/head", "window": 2}}
    answer(three_tokens, head, torch.tensor([0]))
    assert 0 < model < len(allowed) and not any(allowed)
    assert torch.backends.cuda.cudnn_sdp_enabled()
