"""Shortened models in stages and groups: exact however late the host knows where rows stand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from paretoken.evaluators.components.depths.by_position import ByPosition
from paretoken.evaluators.engine import groups as engine_groups
from paretoken.evaluators.engine.decode import Decoding
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.groups import Groups
from paretoken.evaluators.models.lora import LoRA
from paretoken.evaluators.models.shortened_target import ShortenedTarget
from paretoken.evaluators.models.stages import Stages, same
from paretoken.spaces.candidate import from_tree

PROMPTS = torch.arange(3)


def test_stages_begin_where_a_layer_falls_out_and_never_need_more() -> None:
    kept = ByPosition(last=0.25, warm_up=0).kept(type("T", (), {"layers": 8, "length": 9}))
    stages = Stages(kept, None, torch.device("cpu"))
    counts = kept[0].sum(-1).tolist()
    falls = [i for i in range(1, 9) if counts[1 + i] < counts[i]]
    assert stages.begins == (-1, *falls)
    one = torch.zeros(1, dtype=torch.int64)
    for least in range(12):
        stages.aim(least)
        for position in range(least, 12):
            chosen = stages.choices(one, torch.tensor([position]), torch.arange(1))
            fed = kept[0, min(1 + position, 9)].tolist()
            runs = [bool(c) if isinstance(c, bool) else bool(c[0, 0, 0]) for c in chosen]
            assert runs == fed
        ran = sum(choice is not False for choice in chosen)
        assert ran == counts[1 + min(least, 8)]


def test_what_was_read_is_fed_again_as_it_was_read(tiny: Any, answer: Any) -> None:
    """A draft model is fed the last two tokens of a prompt, the first of which all layers read."""
    target = tiny(length=6)
    kept = torch.ones(3, 7, 4, dtype=torch.bool)
    kept[:, 1:, 1] = False
    model = ShortenedTarget(target, kept)
    found = []
    for again in (False, True):
        cache = model.allocate(3, False)
        last = model.begin(PROMPTS, PROMPTS, cache).unsqueeze(-1)
        before = torch.stack([context.tokens[-2:-1] for context in target.contexts])
        fed = torch.cat([before, last], -1) if again else last
        place = torch.full((3,), -1 if again else 0)
        found.append(model.forward(fed, place, cache, False)[0][:, -1])
    # float64, and sums of another order: two tokens in one product.
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-9)
    drafter = {"is": "drafters/fewer_layers", "window": 3}
    target._shortening = lambda depth: (kept, None)
    candidate = from_tree({"decoder": {"is": "decoders/speculative", "drafter": drafter}})
    rows = torch.arange(13.0).unsqueeze(-1)
    session = Decoding(
        target, candidate.decoder, candidate.sampling, Geometry(rows, rows), batch=1, seed=0
    )._session
    assert session.begins == (0, 1)  # a captured round of its own for the first one


def test_a_layer_that_comes_back_is_refused() -> None:
    kept = torch.ones(1, 4, 3, dtype=torch.bool)
    kept[0, 2, 1] = False
    with pytest.raises(AssertionError, match="never comes back"):
        Stages(kept, None, torch.device("cpu"))


@pytest.mark.parametrize(("late", "exact"), [(0, True), (3, True), (100, True), (-4, False)])
@pytest.mark.parametrize("window", [1, 4])
def test_knowing_late_where_rows_stand_changes_nothing(
    window: int, late: int, exact: bool, tiny: Any, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a CUDA device, where looks come behind; a look ahead of the rows would be wrong."""
    target = tiny(length=12)
    kept = ByPosition(last=0.25, warm_up=0).kept(target)
    decoder = {} if window == 1 else {"drafter": {"is": "drafters/prompt_lookup", "window": window}}
    expected, _ = answer(ShortenedTarget(target, kept), decoder, PROMPTS, batch=2)
    aim = Stages.aim
    monkeypatch.setattr(Stages, "aim", lambda self, least: aim(self, max(0, least - late)))
    found, _ = answer(ShortenedTarget(target, kept), decoder, PROMPTS, batch=2)
    assert torch.equal(found, expected) == exact


def test_a_draft_model_may_fall_with_the_position_as_well(tiny: Any, answer: Any) -> None:
    target = tiny(length=16)
    depth = {"is": "depths/by_position", "last": 0.25, "warm_up": 0}
    plain, _ = answer(target, {}, PROMPTS)
    for window, batch in ((2, 1), (5, 3)):
        drafter = {"is": "drafters/fewer_layers", "depth": depth, "window": window}
        found, trace = answer(target, {"drafter": drafter}, PROMPTS, batch=batch)
        assert torch.equal(found, plain)
        assert int(trace.accepted.sum()) > 0
    whole = {**depth, "last": 1.0}
    drafter = {"is": "drafters/fewer_layers", "depth": whole, "window": 4}
    _, trace = answer(target, {"drafter": drafter}, PROMPTS)
    assert int(trace.rejected.sum()) == 0  # it says what the target says


def changed(target: Any) -> LoRA:
    """A LoRA that changes something."""
    lora = LoRA.begun(target.every_layer, 2, 4.0, "all", 0)
    generator = torch.Generator().manual_seed(3)
    for name, value in lora.weights.items():
        if name.endswith("up"):
            value.copy_(0.2 * torch.randn(value.shape, generator=generator))
    return lora


def test_an_adapter_decodes_as_the_model_with_its_matrices_and_never_in_the_whole_one(
    tiny: Any, answer: Any
) -> None:
    target = tiny(length=10)
    kept = torch.ones(3, 11, 4, dtype=torch.bool)
    kept[0, :, 1] = kept[2, :, 2] = False
    lora = changed(target)
    short = ShortenedTarget(target, kept, lora)
    plain, _ = answer(target, {}, PROMPTS)
    for prompt in range(3):
        layers = [i for i in range(4) if kept[prompt, 0, i]]
        model = target.model_of(
            lambda every, layers=layers: [lora.within(every[i], i) for i in layers]
        )
        told = target.contexts[prompt].tokens.unsqueeze(0)
        with torch.no_grad():  # everything anew for every token, without a cache
            for _ in range(10):
                logits = model(input_ids=told, use_cache=False).logits[0, -1]
                told = torch.cat([told, logits.argmax().view(1, 1)], -1)
        for batch in (1, 3):
            found = answer(short, {}, PROMPTS, batch=batch)[0][prompt]
            assert torch.equal(found, told[0, -10:])
    assert torch.equal(answer(target, {}, PROMPTS)[0], plain)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_groups_answer_as_one_list_does(
    temperature: float, tiny: Any, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tiny(length=12)
    kept = torch.ones(3, 13, 4, dtype=torch.bool)
    kept[0, :, 1] = kept[2, :, 1] = False  # prompts 0 and 2 are alike
    kept[1, 1:, 2] = False
    candidate = from_tree(
        {
            "decoder": {
                "is": "decoders/speculative",
                "drafter": {"is": "drafters/prompt_lookup", "window": 3},
            },
            "sampling": {"is": "samplings/standard", "temperature": temperature},
        }
    )
    rows = torch.arange(float(target.vocabulary)).unsqueeze(-1)
    asked: list[tuple[list[int], int]] = []

    def build(prompts: torch.Tensor, batch: int) -> Decoding:
        asked.append((prompts.tolist(), batch))
        return Decoding(
            ShortenedTarget(target, kept, None, prompts), candidate.decoder, candidate.sampling,
            Geometry(rows, rows), batch=batch, seed=7, dtype=torch.float64, prompts=prompts,
        )  # fmt: skip

    groups = Groups(same(kept.flatten(1)), build, 2)
    order = torch.tensor([2, 1, 0, 1, 2, 0])
    told: list[tuple[int, int]] = []
    found, trace = groups.run(order, 40, lambda done, of: told.append((done, of)))
    together = Decoding(
        ShortenedTarget(target, kept), candidate.decoder, candidate.sampling, Geometry(rows, rows),
        batch=2, seed=7, dtype=torch.float64,
    )  # fmt: skip
    expected, whole = together.run(order, 40)
    assert torch.equal(found, expected)
    for one, other in zip(trace.arrays(), whole.arrays(), strict=True):
        assert (one == other).all()
    assert sorted(asked) == [([0, 2], 2), ([1], 2)] and told[-1] == (6, 6)
    groups.run(order[:1], 40)
    assert sorted(asked)[0] == ([0, 2], 1)  # one row does for one prompt
    groups.run(order, 40)
    assert len(asked) == 3
    monkeypatch.setattr(engine_groups, "_KEPT", 1)  # of many groups not all are held at once
    few = Groups(same(kept.flatten(1)), build, 2)
    for _ in range(2):
        again, _ = few.run(order, 40)
        assert torch.equal(again, expected) and len(few._made) == 1
    assert len(asked) == 3 + 4


def test_prompts_of_a_group_run_no_layer_that_only_others_need(tiny: Any, answer: Any) -> None:
    target = tiny(length=6)
    kept = torch.ones(3, 7, 4, dtype=torch.bool)
    kept[0, :, 1] = kept[1, :, 2] = False
    runs = [0] * 4
    for i, layer in enumerate(target.model.model.layers):
        layer.register_forward_pre_hook(lambda *_, i=i: runs.__setitem__(i, runs[i] + 1))
    answer(ShortenedTarget(target, kept, None, PROMPTS[:1]), {}, PROMPTS[:1])
    assert runs == [7, 0, 7, 7]
    runs[:] = [0] * 4
    answer(ShortenedTarget(target, kept), {}, PROMPTS[:1])  # may be asked the others, too
    assert runs == [7, 6, 7, 7]
