"""A training that was stopped goes on to be, bit for bit, the training that was not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from paretoken.evaluators.image_tokenizers.autoregressive import Budget, Model
from paretoken.evaluators.image_tokenizers.family import ImageTokenizer, Sizes
from paretoken.evaluators.image_tokenizers.fitting import Fit, Recipe
from paretoken.evaluators.image_tokenizers.layout import Layout
from paretoken.evaluators.image_tokenizers.pictures import Pictures
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.evaluators.workloads.fashion.data import pixels
from paretoken.spaces.errors import MeasurementFailed

Family = Callable[..., ImageTokenizer]
CPU = torch.device("cpu")
RECIPE = Recipe(steps=30, batch=4, peak=2e-3, precision="float32")


class Killed(BaseException):
    """What Ctrl-C is like."""


def killed_at(step: int) -> Callable[[int, int], None]:
    def say(done: int, of: int) -> None:
        if done == step:
            raise Killed

    return say


def nobody(done: int, of: int) -> None:
    """A training that nobody stops."""


def fit(tokenizer: ImageTokenizer, images: Tensor) -> Fit:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        learner = tokenizer.learner(Sizes(8, 1, 4))
    assert learner is not None
    return Fit(
        learner, lambda picked: learner.loss(pixels(images[picked])), len(images), RECIPE, CPU
    )


def equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


# Each of them draws something in training: re-seeded codes, stages, noise, lengths, samples.
@pytest.mark.parametrize("name", ["vq", "lfq", "residual", "tokenbridge", "flextok", "multi_scale"])
def test_a_killed_training_goes_on_as_if_nothing_had_been(
    name: str, family: Family, some: Pictures, tmp_path: Path
) -> None:
    whole = fit(family(name), some.train)
    whole.train("key", Artefacts(tmp_path / "whole", "x"), 3, nobody)
    artefacts = Artefacts(tmp_path / "parts", "x")
    for step in (10, 20):
        part = fit(family(name), some.train)
        torch.randn(step)  # what else happened meanwhile does not matter
        with pytest.raises(Killed):
            part.train("key", artefacts, 3, killed_at(step))
        assert part.counts.trained == 10
    last = fit(family(name), some.train)
    last.train("key", artefacts, 3, nobody)
    assert (last.counts.trained, last.counts.spared) == (10, 20)
    assert equal(whole.module, last.module)
    assert len(list((tmp_path / "parts").rglob("manifest.json"))) == 1  # nothing is left behind
    again = fit(family(name), some.train)
    again.train("key", artefacts, 3, nobody)
    assert again.counts.trained == 0 and equal(whole.module, again.module)
    other = fit(family(name), some.train)
    other.train("key", Artefacts(tmp_path / "other", "x"), 4, nobody)
    assert not equal(whole.module, other.module)  # the control: another seed


def test_half_precision_reaches_no_quantizer(
    name: str, family: Family, some: Pictures, tmp_path: Path
) -> None:
    """As on a GPU: forward passes in bfloat16, weights and codes in float32."""
    if name == "jpeg":
        pytest.skip("nothing is trained")
    half = fit(family(name), some.train)
    half.recipe = replace(RECIPE, steps=3, precision="bfloat16")
    half.train("key", Artefacts(tmp_path, "x"), 0, nobody)
    state = half.module.state_dict().values()
    assert {value.dtype for value in state if value.is_floating_point()} == {torch.float32}
    assert all(bool(value.isfinite().all()) for value in state if value.is_floating_point())


def test_a_model_that_was_killed_goes_on_too(tmp_path: Path) -> None:
    """It drops out some of its numbers by chance."""
    ids = torch.randint(6, (40, 5), generator=torch.Generator().manual_seed(0))
    classes = torch.arange(40) % 10
    layout = Layout.shared(6, 1, 5)

    def model(folder: str) -> Model:
        budget = Budget(dim=32, layers=1, batch=4, operations=45e6, precision="float32")
        return Model(layout, ids, classes, budget, Artefacts(tmp_path / folder, "x"))

    whole, part, last = model("whole"), model("parts"), model("parts")
    assert whole.steps > 20
    key = whole.train(1, nobody)
    with pytest.raises(Killed):
        part.train(1, killed_at(10))
    assert last.train(1, nobody) == key
    assert last.counts.spared == 10 and last.counts.trained == whole.steps - 10
    assert torch.equal(whole.bits(ids, classes, 5), last.bits(ids, classes, 5))
    assert model("whole").train(2, nobody) != key


def test_what_another_version_has_trained_is_trained_anew(
    family: Family, some: Pictures, tmp_path: Path
) -> None:
    artefacts = Artefacts(tmp_path, "x")
    artefacts.save("key", {"weights": {"other": torch.zeros(3)}}, {})
    first = fit(family("fsq"), some.train)
    first.train("key", artefacts, 0, nobody)
    again = fit(family("fsq"), some.train)
    again.train("key", artefacts, 0, nobody)
    assert (first.counts.trained, again.counts.trained) == (30, 0)
    assert equal(first.module, again.module)


def test_a_training_that_diverges_or_is_given_up_keeps_nothing(
    family: Family, some: Pictures, tmp_path: Path
) -> None:
    artefacts = Artefacts(tmp_path, "x")
    broken = fit(family("fsq"), some.train)
    broken.loss = lambda picked: next(broken.module.parameters()).sum() * float("nan")
    with pytest.raises(MeasurementFailed, match="diverged"):
        broken.train("key", artefacts, 0, nobody)

    def gives_up(step: int) -> None:
        raise MeasurementFailed("collapsed", f"at {step}")

    given_up = fit(family("fsq"), some.train)
    given_up.watch = gives_up
    with pytest.raises(MeasurementFailed, match="collapsed"):
        given_up.train("key", artefacts, 0, nobody)
    assert not artefacts.has("key")
