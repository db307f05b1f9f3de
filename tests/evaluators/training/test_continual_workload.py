"""The continual workload: equal rates are one class, and losses are those of the models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from paretoken.cache.fingerprint import fingerprint
from paretoken.cache.store import Store
from paretoken.evaluators.continual_workload import ContinualWorkload
from paretoken.evaluators.models.llamagen import Transformer
from paretoken.search import loop
from paretoken.search.evaluator import Local
from paretoken.search.loop import Plan, search
from paretoken.search.measuring import Reuse
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput, BadValue, MeasurementFailed
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.records import Fingerprint, Quantity


def candidate(name: str, budget: float = 1.0, **knobs: Any) -> Component:
    schedule = {"is": f"schedules/{name}", "peak": 0.01, **knobs}
    return from_tree({"is": "candidates/training", "schedule": schedule, "budget": budget})


def quiet(phase: str, share: float) -> None:
    assert 0.0 <= share <= 1.0


def law(workload: ContinualWorkload, of: Component) -> Fingerprint:
    return fingerprint(workload.behaviour(of, b""), b"")


def judged(workload: ContinualWorkload, of: Component, seed: int = 0) -> dict[str, Quantity]:
    found = workload.judge(workload.sample(of, 3, seed, quiet), quiet)
    return {quantity.name: quantity for quantity in found.quantities}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("wsd", {"shape": "linear"}), ("infinite", {"shape": "linear", "level": 1.0})),
        (("constant", {}), ("wsd", {"anneal": 0.0})),
        (("constant", {}), ("linear", {"floor": 1.0})),
        (("infinite", {"cool_down": 0.3}), ("infinite", {"cool_down": 0.301})),  # rounds to a step
    ],
)
def test_equal_rates_are_one_class_whatever_they_are_called(
    workload: ContinualWorkload, one: Any, other: Any
) -> None:
    assert law(workload, candidate(one[0], **one[1])) == law(
        workload, candidate(other[0], **other[1])
    )


@pytest.mark.parametrize(
    ("name", "knobs"),
    [
        ("wsd", {"peak": 0.01 * (1 + 1e-5)}),  # ten cells of a millionth apart
        ("wsd", {"floor": 0.0101}),
        ("wsd", {"shape": "linear"}),
        ("wsd", {"anneal": 0.2}),
        ("infinite", {}),
        ("constant", {}),
    ],
)
def test_other_rates_are_other_classes(
    workload: ContinualWorkload, name: str, knobs: dict[str, Any]
) -> None:
    usual, changed = law(workload, candidate("wsd")), law(workload, candidate(name, **knobs))
    assert usual.quality[0] != changed.quality[0] and usual.quality[1] != changed.quality[1]
    assert usual.context == changed.context


def test_rounding_is_no_difference(workload: ContinualWorkload) -> None:
    usual = law(workload, candidate("wsd"))
    rounded = law(workload, candidate("wsd", peak=0.01 * (1 + 4e-16)))
    assert usual.quality[0] == rounded.quality[0] or usual.quality[1] == rounded.quality[1]


def test_where_steps_fall_between_the_data_sets_counts(workload: ContinualWorkload) -> None:
    """A constant rate is one vector of numbers, but not the same training on other stages."""
    usual = law(workload, candidate("constant", warm_up=0.0))
    workload._stages = (30, 50)
    assert law(workload, candidate("constant", warm_up=0.0)).context != usual.context


def test_losses_are_those_of_the_trained_models(workload: ContinualWorkload) -> None:
    """Worked out anew from the artefacts, with the transformer alone."""
    sampled = workload.sample(candidate("infinite"), 3, 0, quiet)
    found = workload.judge(sampled, quiet)
    quantities = {quantity.name: quantity for quantity in found.quantities}
    old, new = (domain for domain in workload._trainer(quiet).domains)
    losses = []
    for keys in found.detail["artefacts"]:
        of_run = []
        for key in keys:
            kept = workload._artefacts.load(key, "weights")
            assert kept is not None
            model = Transformer(workload._recipe.model)
            model.load_state_dict(kept.tensors["weights"])
            model.eval().requires_grad_(False)
            for domain in (old, new):
                tokens = domain.held_out.long()
                logits = model(tokens, domain.held_out_classes)
                of_run.append(float(functional.cross_entropy(logits.mT, tokens)))
        losses.append(of_run)
    shipped, _, old_loss, new_loss = np.array(losses).T
    expected = {
        "new_loss": new_loss,
        "old_loss": old_loss,
        "forgetting": old_loss - shipped,
        "shipped_loss": shipped,
    }
    for name, values in expected.items():
        # float32 sums of 128 terms in another order: 1e-6 of a loss near 2.
        assert quantities[name].value == pytest.approx(values.mean(), abs=1e-5)
        spread = values.std(ddof=1) / 3**0.5
        assert quantities[name].spread == pytest.approx(spread, abs=1e-5)
        assert quantities[name].samples == 3
    assert found.detail["seeds"] == [0, 1, 2]


def test_it_learns_the_new_and_forgets_the_old(workload: ContinualWorkload) -> None:
    """Counting by three is all that is wanted in the end, and counting by one contradicts it."""
    found = judged(workload, candidate("repeated_cosine"))
    assert found["shipped_loss"].value < 1.0 < np.log(8) < found["old_loss"].value
    assert found["new_loss"].value < 1.0
    assert found["forgetting"].value > 1.0
    # The negative control: at no rate nothing is learnt, and nothing forgotten.
    still = judged(workload, candidate("constant", peak=1e-6))
    assert still["new_loss"].value > 1.9 and abs(still["forgetting"].value) < 0.1


def test_seeds_are_the_same_for_every_schedule_and_new_ones_for_a_new_observation(
    workload: ContinualWorkload,
) -> None:
    first = workload.sample(candidate("wsd"), 3, 0, quiet)
    again = workload.sample(candidate("wsd"), 3, 0, quiet)
    assert np.array_equal(first.tokens, again.tokens)
    assert again.payload[1] == {"trained_steps": 0, "spared_steps": 3 * (40 + 74)}
    other = workload.sample(candidate("wsd"), 3, 1 << 32, quiet)
    assert not (first.tokens == other.tokens).any()


@pytest.mark.parametrize("name", ["infinite", "repeated_cosine", "cosine", "wsd"])
def test_all_schedules_take_equally_many_steps(workload: ContinualWorkload, name: str) -> None:
    (steps,) = workload.speed(candidate(name), quiet).quantities
    assert (steps.name, steps.value, steps.spread) == ("steps", 80, 0.0)
    (half,) = workload.speed(candidate(name, budget=0.5), quiet).quantities
    assert half.value == 40
    sampled = workload.sample(candidate(name), 2, 0, quiet)
    assert sampled.payload[1]["trained_steps"] == 2 * 80


def test_what_cannot_be_trained_fails_the_candidate_only(workload: ContinualWorkload) -> None:
    with pytest.raises(MeasurementFailed, match="never reaches 0"):
        workload.behaviour(candidate("wsd", shape="exponential", floor=0.0), b"")
    with pytest.raises(MeasurementFailed, match="no schedule"):
        workload.behaviour(from_tree({}), b"")
    with pytest.raises(BadInput, match="2 runs or more"):
        workload.check_samples(1)
    with pytest.raises(BadInput, match="export"):
        workload.generate({}, (), 1, 0, 0, quiet)


# ------------------------------------------------------------------------------- the real workload


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"steps": 0}, "--option steps"),
        ({"dim": 33}, "a multiple of 32"),
        ({"data": "nothing"}, "--option data"),
        ({"stages": 2}, "no option stages"),
        ({"samples": 1}, "2 runs"),
    ],
)
def test_options_that_cannot_be_are_told(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    opening: Callable[..., Any] = KINDS["workloads"].load("continual").open
    with pytest.raises((BadInput, BadValue), match=says):
        opening(device="cpu", artefacts=str(tmp_path), **options)


def test_both_data_come_with_paretoken_and_are_split(tmp_path: Path) -> None:
    opening: Callable[..., Any] = KINDS["workloads"].load("continual").open
    opened = opening(device="cpu", artefacts=str(tmp_path))
    old, new = opened._trainer(quiet).domains
    assert set(old.classes.tolist()) == {0, 1, 2, 3, 4}
    assert set(new.held_out_classes.tolist()) == {5, 6, 7, 8, 9}
    assert old.tokens.shape == (200, 256) and new.held_out.shape == (50, 256)
    assert not list(tmp_path.rglob("*.safetensors"))  # nothing had to be drawn
    texts = opening(device="cpu", artefacts=str(tmp_path), data="text", each=20, held_out=4)
    old, new = texts._trainer(quiet).domains
    assert (old.name, new.name) == ("English", "Python") and new.tokens.shape == (100, 256)
    everything = torch.cat([new.tokens, new.held_out])
    assert len(everything.unique(dim=0)) == len(everything)  # what is held out was not trained on
    assert b"def " in bytes(new.tokens.flatten().to(torch.uint8).tolist())
    assert opened.context()["data"] != texts.context()["data"]
    with pytest.raises(BadInput, match="--option each="):
        opening(device="cpu", artefacts=str(tmp_path), data="text", each=9000)._trainer(quiet)


def test_a_search_shares_what_was_trained_and_resumes(
    workload: ContinualWorkload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the plan to the store: artefacts lie beside it, and a second search trains nothing."""
    opened: list[dict[str, Any]] = []

    def opening(cls: type[Local], name: str, options: Any, rungs: Any = ()) -> Local:
        opened.append(dict(options))
        return Local(workload)

    monkeypatch.setattr(Local, "open", classmethod(opening))
    plan = Plan(
        study="rates", workload="continual", space="schedules-compared", algorithm="grid",
        settings=("training.schedule=infinite,wsd",), trials=3,
        reuse=Reuse(observations=1, audit=0.0), confirm=False,
    )  # fmt: skip
    with Store.open(f"sqlite:///{tmp_path / 'of.db'}") as store:
        outcome = search(plan, store, lambda progress: None)
        trials = store.trials("rates")
        assert [trial.state for trial in trials] == ["done"] * 3
        names = [objective.name for objective in outcome.info.objectives]
        assert names == ["steps", "new_loss", "forgetting"]
        assert all(set(names) <= set(trial.quantities) for trial in trials)
        assert opened == [{"artefacts": str(tmp_path / "of.artefacts")}]
        assert "artefacts" not in store.study("rates").options  # a study may move
        counts = workload._trainer(quiet).counts
        trained = counts.trained
        again = Plan(**{**plan.__dict__, "study": "again"})
        search(again, store, lambda progress: None)
        assert counts.trained == trained
        assert {t.origin["quality"] for t in store.trials("again")} == {"canonical"}


def test_a_rung_of_few_runs_trains_what_the_next_one_goes_on_from(
    workload: ContinualWorkload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs first, three for what two do not show to be beaten: three are trained, not five."""
    monkeypatch.setattr(Local, "open", classmethod(lambda cls, *about: Local(workload)))
    plan = Plan(
        study="rungs", workload="continual", space="schedules-compared", algorithm="grid",
        settings=("training.schedule=constant", "constant.peak=1e-6"), trials=2,
        reuse=Reuse(observations=1, audit=0.0), confirm=False, rungs=(2, 3),
    )  # fmt: skip
    with Store.open(f"sqlite:///{tmp_path / 'of.db'}") as store:
        search(plan, store, lambda progress: None)
        plain, still = store.trials("rungs")
    assert (plain.state, still.state) == ("done", "done")  # what learns nothing forgets nothing
    assert workload._trainer(quiet).counts.trained == 2 * 3 * 80


def test_other_workloads_are_opened_without_artefacts(tmp_path: Path) -> None:
    info: Any = loop.StudyInfo("s", "fashion", "grid", 0, {}, (), {}, "")
    with Store.open(f"sqlite:///{tmp_path / 'of.db'}") as store:
        assert loop._with_artefacts(info, store) is info
