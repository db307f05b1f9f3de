"""What depths learn: sets, routers and LoRA, from a model's own answers; once, and resumably."""

from __future__ import annotations

import copy
import itertools
import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from paretoken.cache.fingerprint import fingerprint
from paretoken.evaluators.models.gated_layer import Gated, gated
from paretoken.evaluators.models.lora import LoRA
from paretoken.evaluators.resumable import Run
from paretoken.evaluators.shortening import teaching
from paretoken.evaluators.shortening.course import TextCourse, with_layers
from paretoken.evaluators.shortening.routers import Deciding, Routers
from paretoken.evaluators.shortening.school import School
from paretoken.evaluators.shortening.skip_sets import bayesian, by_rule, next_dropped
from paretoken.evaluators.shortening.teaching import Recovery, Sizes, decided
from paretoken.evaluators.shortening.text_lessons import TextLessons
from paretoken.evaluators.shortening.training import train
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.errors import MeasurementFailed
from paretoken.spaces.plugins import KINDS

SIZES = Sizes(lessons=24, steps=60, batch=8, calibration=8, trials=12)


def said(target: Any, n: int = 24) -> TextCourse:
    """Greedy answers of a tiny model to random prompts, all of one shape."""
    generator = torch.Generator().manual_seed(2)
    lines = torch.randint(0, 12, (n, 8), generator=generator)
    with torch.no_grad():
        for _ in range(10):
            logits = target.model(input_ids=lines).logits[:, -1]
            lines = torch.cat([lines, logits.argmax(-1, keepdim=True)], -1)
    begins = torch.full((n,), 8)
    return TextCourse(target, lines, begins, begins + 10)


def school_of(target: Any, folder: Path, sizes: Sizes = SIZES) -> School:
    target._school = School(
        lambda: said(target, sizes.lessons), sizes=sizes, identity={"model": "tiny"}, folder=folder
    )
    return target._school


def idle(target: Any, layer: int) -> None:
    """Make a layer change nothing."""
    for matrix in (
        target.model.model.layers[layer].self_attn.o_proj,
        target.model.model.layers[layer].mlp.down_proj,
    ):
        matrix.weight.data.zero_()


def test_what_is_compared_are_the_laws_before_each_token_of_an_answer(tiny: Any) -> None:
    target = tiny()
    course = said(target)
    runs = [True, False, True, True]
    with torch.no_grad():
        told = {"input_ids": course._lines[:3], "use_cache": False}
        mine = target.with_layers([0, 2, 3]).model(**told).logits
        whole = target.model(**told).logits
    p, q = (logits[:, 7:17].log_softmax(-1) for logits in (whole, mine))
    expected = float((p.exp() * (p - q)).sum(-1).mean())
    rows = torch.arange(3)
    # Laws are compared in float32: relative errors of 2**-24, over sums of 13 terms.
    assert course.loss(with_layers(target, runs), rows) == pytest.approx(expected, rel=1e-5)
    assert course.loss(target.model, rows) == 0.0
    assert course.prompts(rows)[0].tolist() == [True] * 8 + [False] * 10
    assert course.fed(rows, 6)[0].tolist() == [0] * 7 + [1, 2, 3, 4, 5] + [6] * 6


def test_greed_finds_the_best_set_where_losses_add_up_and_chance_finds_it_too() -> None:
    cost = [9.0, 0.3, 5.0, 0.1, 2.0, 0.2, 4.0, 9.0]

    def loss(runs: Sequence[bool]) -> float:
        return sum(one for one, run in zip(cost, runs, strict=True) if not run)

    dropped: list[int] = []
    for count in (1, 2, 3):
        layer, lost = next_dropped(8, dropped, loss)
        dropped.append(layer)
        best = min(
            loss([i not in out for i in range(8)])
            for out in itertools.combinations(range(1, 7), count)
        )
        assert lost == pytest.approx(best)
    assert dropped == [3, 5, 1]
    tried: list[str] = []
    runs, lost = bayesian(
        8, 3, loss, trials=60, seed=0, known={}, tell=lambda written, *_: tried.append(written)
    )
    assert lost == pytest.approx(0.6) and [i for i, run in enumerate(runs) if not run] == [1, 3, 5]
    # It begins with what the rules say, never drops the ends, and always leaves out as many.
    rules = ["".join("01"[run] for run in by_rule(8, 3, rule)) for rule in ("evenly", "middle")]
    assert tried[:2] == rules
    assert all(one[0] == one[-1] == "1" and one.count("0") == 3 for one in tried)


def test_a_layer_that_does_nothing_is_what_every_way_leaves_out(tiny: Any, tmp_path: Path) -> None:
    target = tiny(length=6)
    idle(target, 1)
    school = school_of(target, tmp_path)
    without = (True, False, True, True)
    assert school.skip_set("greedy", 4, 1) == school.skip_set("bayesian", 4, 1) == without
    kept = from_tree({"is": "depths/routed", "skipped": 0.5}, "depths").kept(target)
    assert kept.shape == (3, 7, 4)
    assert (kept == torch.tensor(without)).all()


def test_routers_leave_out_the_share_they_were_asked_for(tiny: Any, tmp_path: Path) -> None:
    school = school_of(tiny(), tmp_path)
    shares = {}
    for skipped in (0.25, 0.5, 0.75):
        routers = school.routers(skipped)
        _, kept = decided(school._course, routers, school._course.learnt[:8])
        shares[skipped] = 1.0 - float(kept.float().mean())
        # Of 2 inner layers and 8 prompts no more than one decision is off, unless needs are equal.
        assert abs(shares[skipped] - skipped) <= 1 / 16 + 1e-9, shares


def test_a_lower_threshold_keeps_more_and_trains_nothing(tiny: Any, tmp_path: Path) -> None:
    target = tiny(length=4)
    school_of(target, tmp_path)
    counts = []
    files = None
    for threshold in (1.0, 0.9, 0.6, 0.5, 0.4, 0.1, 0.0):
        depth = from_tree({"is": "depths/routed", "skipped": 0.5, "threshold": threshold}, "depths")
        counts.append(int(depth.kept(target).expand(3, -1, -1)[:, 0].sum()))
        now = sorted(tmp_path.rglob("*.safetensors"))
        files = files or now
        assert now == files
    assert counts == sorted(counts) and counts[0] == 3 * 2 and counts[-1] == 3 * 4


def test_routers_read_behind_what_was_left_out_and_prompts_by_themselves(tiny: Any) -> None:
    target = tiny()
    generator = torch.Generator().manual_seed(5)
    routers = Routers(torch.randn(4, 32, generator=generator), torch.zeros(4), 0.0)
    gate = Deciding(routers, 4, 0.5)
    model = target.model_of(gated(gate))
    with torch.no_grad():
        for prompt, context in enumerate(target.contexts):
            target.read(model, prompt)
            kept = [bool(one) for one in gate.kept]
            state = target.model.model.embed_tokens(context.tokens.unsqueeze(0))
            for layer in range(4):
                if 0 < layer < 3:
                    r = state[0] / state[0].square().mean(-1, keepdim=True).sqrt()
                    r = (r.float() @ routers.weight[layer] / 32**0.5).sigmoid().mean()
                    assert kept[layer] == bool(r >= 0.5)
                if kept[layer]:
                    some = target.with_layers([i for i in range(layer + 1) if kept[i]]).model
                    found: list[torch.Tensor] = []
                    hook = some.model.norm.register_forward_pre_hook(
                        lambda _, told, found=found: found.append(told[0])
                    )
                    some.model(input_ids=context.tokens.unsqueeze(0), use_cache=False)
                    hook.remove()
                    state = found[0]


def test_an_untrained_lora_changes_no_bit_and_a_trained_one_is_added_in(tiny: Any) -> None:
    target = tiny()
    tokens = target.contexts[2].tokens.unsqueeze(0)
    for matrices, count in (("all", 7), ("attention", 4)):
        lora = LoRA.begun(target.every_layer, 4, 8.0, matrices, 0)
        assert len(lora.weights) == 2 * 4 * count
        with torch.no_grad():
            plain = target.model(input_ids=tokens).logits
            for way in (lora.beside, lora.within):
                model = target.model_of(lambda layers, way=way: map(way, layers, range(9)))
                assert torch.equal(model(input_ids=tokens).logits, plain)
            generator = torch.Generator().manual_seed(1)
            for name, value in lora.weights.items():
                if name.endswith("up"):
                    value.copy_(0.1 * torch.randn(value.shape, generator=generator))
            ways = [
                target.model_of(lambda layers, way=way: map(way, layers, range(9)))
                for way in (lora.beside, lora.within)
            ]
            beside, within = (model(input_ids=tokens).logits for model in ways)
        assert not torch.equal(beside, plain)
        # The change is computed in float32 in both, in another order.
        torch.testing.assert_close(beside, within, rtol=0, atol=1e-4)
        assert torch.equal(target.model(input_ids=tokens).logits, plain)  # weights stay


def test_lora_makes_up_for_what_is_left_out_on_answers_not_learnt_from(
    tiny: Any, tmp_path: Path
) -> None:
    target = tiny(length=10)
    many = Sizes(lessons=96, steps=150, batch=16, calibration=8, trials=4)
    school = school_of(target, tmp_path, many)
    course = school._course
    table = torch.tensor([[True, False, True, True]]).expand(1, 11, 4).clone()
    lora = school.recovered(Recovery(8, 16.0, "all"), table)
    told = [
        json.loads(path.read_text())["facts"]
        for path in tmp_path.rglob("shortened/*/*/manifest.json")
    ]
    (facts,) = told
    assert facts["after"] < 0.7 * facts["before"]
    held_out = course.held_out

    def lost(runs: Sequence[bool], changed: LoRA | None) -> float:
        model = target.model_of(
            lambda layers: [
                Gated(
                    layer if changed is None else changed.within(layer, i), i, lambda i, _: runs[i]
                )
                for i, layer in enumerate(layers)
            ]
        )
        return course.loss(model, held_out)

    mine = table[0, 0].tolist()
    assert lost(mine, None) == pytest.approx(facts["before"], rel=1e-4)
    assert lost(mine, lora) == pytest.approx(facts["after"], rel=1e-4)
    # A control: what was learnt for this set is no help for the whole model.
    assert lost([True] * 4, lora) > lost([True] * 4, None) == 0.0


class Killed(BaseException):
    """As a signal, at any moment."""


@pytest.mark.parametrize("inside", [False, True])
def test_a_training_that_was_stopped_ends_with_the_same_bits(
    inside: bool, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name in ("whole", "broken"):
        target = tiny()
        sizes = Sizes(lessons=24, steps=16, batch=4, calibration=8, trials=4)
        school = school_of(target, tmp_path / name, sizes)
        if name == "broken":
            steps = torch.optim.AdamW.step
            calls = itertools.count(1)

            def step(self: Any, *args: Any, calls: Any = calls, steps: Any = steps) -> Any:
                result = steps(self, *args)
                if inside and next(calls) in (4, 11):  # after weights have changed
                    raise Killed
                return result

            monkeypatch.setattr(torch.optim.AdamW, "step", step)
            monkeypatch.setattr(Run, "due", lambda self: True)  # the last step before is there
            for stop in (5, 12):

                def report(phase: str, share: float, stop: int = stop) -> None:
                    if not inside and f"step {stop} of" in phase:
                        raise KeyboardInterrupt

                school.report = report
                with pytest.raises((KeyboardInterrupt, Killed)):
                    school.routers(0.5)
            assert list((tmp_path / name / "unfinished").iterdir())
            school.report = lambda phase, share: None
        routers = school.routers(0.5)
        lora = school.recovered(Recovery(2, 4.0, "attention"), routers)
        found.append((routers, lora))
        assert not list((tmp_path / name / "unfinished").iterdir())
    (one, first), (two, second) = found
    assert torch.equal(one.weight, two.weight) and torch.equal(one.bias, two.bias)
    assert one.offset == two.offset and first.digest == second.digest
    assert not torch.equal(one.weight, torch.zeros_like(one.weight))


def test_what_was_learnt_is_not_learnt_again_nor_taken_for_something_else(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    monkeypatch.setattr(
        teaching,
        "train",
        lambda weights, *a, **k: trained.append(sorted(weights)) or train(weights, *a, **k),
    )
    sizes = Sizes(lessons=24, steps=2, batch=2, calibration=4, trials=3)
    table = torch.ones(1, 5, 4, dtype=torch.bool)
    for _ in range(2):  # a new process would find the same folder
        school = school_of(tiny(), tmp_path, sizes)
        routers = school.routers(0.5)
        school.recovered(Recovery(2, 4.0, "all"), routers)
        school.recovered(Recovery(2, 4.0, "all"), table)
    assert len(trained) == 3
    school.recovered(Recovery(2, 4.0, "attention"), table)
    school.recovered(Recovery(3, 4.0, "all"), table)
    school.routers(0.25)
    assert len(trained) == 6
    school_of(tiny(), tmp_path, Sizes(24, 3, 2, 4, 3)).routers(0.5)
    assert len(trained) == 7


def test_a_lora_that_goes_on_does_not_judge_its_beginning_again(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    course, run = said(tiny()), Run(tmp_path)
    run.state["before"] = 9.0
    read: list[int] = []
    apart = course.apart
    monkeypatch.setattr(
        course, "apart", lambda model, rows: read.append(len(rows)) or apart(model, rows)
    )
    sizes = Sizes(lessons=24, steps=1, batch=2, calibration=4, trials=3)
    table = torch.ones(1, 11, 4, dtype=torch.bool)
    _, facts = teaching.trained_lora(
        course, sizes, Recovery(2, 4.0, "all"), table, run, lambda phase, share: None
    )
    assert facts["before"] == 9.0
    assert read == [2, 2, 1]  # a step, and the three answers that were held out, once


def test_of_two_workers_one_learns_and_the_other_waits_for_it(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, begun, waits = [], threading.Event(), threading.Event()
    monkeypatch.setattr(teaching, "train", lambda *a, **k: trained.append(1) or train(*a, **k))
    sizes = Sizes(lessons=24, steps=2, batch=2, calibration=4, trials=3)
    one, other = (school_of(tiny(), tmp_path, sizes) for _ in range(2))

    def learning(phase: str, share: float) -> None:
        if "step 1 of" in phase:
            begun.set()
            assert waits.wait(30)

    def waiting(phase: str, share: float) -> None:
        if "another process" in phase:
            waits.set()

    one.report, other.report = learning, waiting
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(one.routers, 0.5)
        assert begun.wait(30)
        second = pool.submit(other.routers, 0.5)
        assert first.result().digest == second.result().digest
    assert len(trained) == 1


def test_a_bayesian_search_that_was_stopped_tries_nothing_twice(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tiny()
    tried: list[list[bool]] = []
    lost = School._lost

    def counted(self: School, runs: Any) -> float:
        tried.append(list(runs))
        return lost(self, runs)

    monkeypatch.setattr(School, "_lost", counted)
    monkeypatch.setattr(Run, "due", lambda self: True)
    school = school_of(target, tmp_path)

    def report(phase: str, share: float) -> None:
        if "trial 2 of" in phase:
            raise KeyboardInterrupt

    school.report = report
    with pytest.raises(KeyboardInterrupt):
        school.skip_set("bayesian", 4, 1)
    before = len(tried)
    school.report = lambda phase, share: None
    school.skip_set("bayesian", 4, 1)
    assert before and len(tried) == 2  # of two inner layers there are two sets


def test_a_target_without_a_school_says_so(tiny: Any) -> None:
    target = tiny()
    for tree in (
        {"is": "depths/routed"},
        {"is": "depths/fixed", "skipped": 0.5, "spread": "greedy"},
    ):
        with pytest.raises(MeasurementFailed, match=r"does not train depths.*spread=evenly"):
            from_tree(tree, "depths").kept(target)
    fixed = from_tree({"is": "depths/fixed", "skipped": 0.5, "spread": "middle"}, "depths")
    assert fixed.kept(target)[0, 0].tolist() == [True, False, True, True]
    assert fixed.adapter(target) is None


@pytest.fixture(scope="module")
def opened(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return (
        KINDS["workloads"]
        .load("text")
        .open(
            model=str(saved),
            tokens=8,
            samples=6,
            device="cpu",
            batch=1,
            artefacts=str(tmp_path_factory.mktemp("artefacts")),
            lessons=8,
            lesson_tokens=8,
            steps=4,
            trials=4,
        )
    )


def test_the_model_learns_anew_where_prompts_reach_it_in_another_way(
    opened: Any, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("One passage of some words.\n\nAnother one, of others.", encoding="utf-8")
    lessons = TextLessons(tmp_path, SIZES, 8)

    def identity(**changed: Any) -> Any:
        answering = copy.copy(opened._answering)
        answering.tokenizer = copy.deepcopy(answering.tokenizer)
        for name, value in changed.items():
            setattr(answering.tokenizer if name == "chat_template" else answering, name, value)
        return lessons.school(answering, corpus)._identity

    same = identity()
    assert identity() == same
    assert identity(chat_template="{{ messages[0].content }}!") != same  # the weights are equal
    assert identity(ends=(11, 12)) != same


def shortened(depth: dict[str, Any], **parts: Any) -> Any:
    decoder = {"is": "decoders/shortened", "depth": depth, **parts}
    return from_tree(
        {"decoder": decoder, "sampling": {"is": "samplings/standard", "temperature": 0.0}}
    )


def fixed(**knobs: Any) -> dict[str, Any]:
    return {"is": "depths/fixed", "skipped": 0.5, **knobs}


def test_equal_layers_and_equal_changes_are_one_behaviour(opened: Any) -> None:
    recording = opened.record()

    def key(depth: dict[str, Any]) -> Any:
        candidate = shortened(depth)
        opened.prepare(candidate, lambda phase, share: None)
        return fingerprint(opened.behaviour(candidate, recording), recording).quality

    plain = fingerprint(opened.behaviour(opened.plain(), recording), recording).quality
    greedy, chosen = key(fixed(spread="greedy")), key(fixed(spread="bayesian"))
    by_hand = {key(fixed(spread=rule)) for rule in ("evenly", "middle")}
    every = {greedy, chosen, *by_hand}
    assert greedy == chosen and len(every) <= 2 and plain not in every
    # Routers that leave out what a set does are that set; those that leave out nothing are plain.
    assert key({"is": "depths/routed", "skipped": 0.5, "threshold": 0.0}) == plain
    none = {"is": "depths/routed", "skipped": 0.5, "threshold": 1.0}
    assert key(none) == key(fixed(skipped=1.0, spread="evenly"))
    # A schedule that does not fall is a set: without the second of four layers, or the third.
    schedules = {
        key({"is": "depths/by_position", "first": 0.75, "last": 0.75, "warm_up": warm_up})
        for warm_up in (1, 2)
    }
    assert every <= schedules and len(schedules) == 2
    changed = key(fixed(spread="greedy", rank=2))
    assert changed not in every and changed != key(fixed(spread="greedy", rank=3))
    alone = key(fixed(skipped=0.0, rank=2))
    assert alone not in (plain, changed)


def test_drafts_are_known_by_the_layers_that_make_them_not_by_how_they_are_found(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other lessons calibrate another set; its drafts are then others under the same settings."""
    recording = opened.record()

    def work(spread: str) -> Any:
        drafter = {"is": "drafters/skip_layers", "skipped": 0.5, "spread": spread}
        candidate = from_tree({"decoder": {"is": "decoders/speculative", "drafter": drafter}})
        return fingerprint(opened.behaviour(candidate, recording), recording).work

    evenly, middle = work("evenly"), work("middle")
    assert evenly != middle
    monkeypatch.setattr(School, "skip_set", lambda *_: (True, True, False, True))
    assert work("greedy") == evenly
    monkeypatch.setattr(School, "skip_set", lambda *_: (True, False, True, True))
    assert work("greedy") == middle


def test_inert_knobs_of_depths_are_dropped() -> None:
    same = [
        (fixed(matrices="attention"), fixed()),
        (fixed(alpha=3.0), fixed()),
        (fixed(rank=4, alpha=0.0), fixed()),
        (fixed(skipped=0.0, rank=2, spread="middle"), fixed(skipped=0.0, rank=2, spread="greedy")),
    ]
    for one, other in same:
        assert canonical(shortened(one)) == canonical(shortened(other))
    assert canonical(shortened(fixed(rank=4))) != canonical(shortened(fixed()))
    plain = canonical(from_tree({"sampling": {"is": "samplings/standard", "temperature": 0.0}}))
    assert canonical(shortened(fixed(skipped=0.0))) == plain
    drafter = {"is": "drafters/fewer_layers", "depth": fixed(), "window": 3}
    rule = {"is": "drafters/skip_layers", "skipped": 0.5, "spread": "greedy", "window": 3}
    ours, theirs = (
        canonical(from_tree({"decoder": {"is": "decoders/speculative", "drafter": one}}))
        for one in (drafter, rule)
    )
    assert ours == theirs


@pytest.mark.parametrize(
    "depth",
    [
        {"is": "depths/routed", "skipped": 0.5},
        {"is": "depths/routed", "skipped": 0.5, "rank": 2},
        fixed(spread="greedy", rank=2),
        {"is": "depths/by_position", "last": 0.5, "warm_up": 1, "rank": 2},
    ],
)
def test_what_was_learnt_drafts_without_loss(opened: Any, depth: dict[str, Any]) -> None:
    """Greedy answers in float32 are plain decoding's, token for token: the tiny model has clear
    favourites."""
    drafter = {"is": "drafters/fewer_layers", "depth": depth, "window": 3}
    candidate = from_tree(
        {
            "decoder": {"is": "decoders/speculative", "drafter": drafter},
            "sampling": {"is": "samplings/standard", "temperature": 0.0},
        }
    )
    found = opened.sample(candidate, 6, 0, lambda phase, share: None)
    assert torch.equal(torch.from_numpy(found.tokens), opened._answering.greedy)
    trace, _ = found.payload
    assert int(trace.accepted.sum() + trace.rejected.sum()) > 0
    lossy = opened.sample(shortened(depth), 6, 0, lambda phase, share: None)
    assert not torch.equal(torch.from_numpy(lossy.tokens), opened._answering.greedy)


def test_a_calibrated_set_drafts_without_loss(opened: Any) -> None:
    candidate = from_tree(
        {
            "decoder": {
                "is": "decoders/speculative",
                "drafter": {"is": "drafters/skip_layers", "skipped": 0.5, "spread": "greedy"},
            },
            "sampling": {"is": "samplings/standard", "temperature": 0.0},
        }
    )
    found = opened.sample(candidate, 6, 0, lambda phase, share: None)
    assert torch.equal(torch.from_numpy(found.tokens), opened._answering.greedy)
    _, accepted, rejected, _ = found.trace
    assert accepted.sum() + rejected.sum() > 0
