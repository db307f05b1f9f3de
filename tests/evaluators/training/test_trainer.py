"""Training: keys, shared trunks, and runs that go on after a kill as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from paretoken.evaluators.training import trainer as module
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.evaluators.training.route import Route, routes, steps_in_all
from paretoken.evaluators.training.trainer import Trainer
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.errors import MeasurementFailed

STAGES = (40, 40)


def ways(name: str, stages: tuple[int, ...] = STAGES, **knobs: Any) -> tuple[Route, ...]:
    schedule: Any = from_tree({"is": f"schedules/{name}", "peak": 0.01, **knobs}, "schedules")
    return routes(schedule.legs(stages))


def quiet(step: int, of: int) -> None:
    """Nobody is told."""


def run(trainer: Trainer, found: tuple[Route, ...], seed: int = 0) -> list[str]:
    last = len(found) - 1
    return [trainer.train(way, seed, stage < last, quiet) for stage, way in enumerate(found)]


def weights(artefacts: Artefacts, key: str) -> dict[str, torch.Tensor]:
    found = artefacts.load(key, "weights")
    assert found is not None
    return found.tensors["weights"]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


# ------------------------------------------------------------------------------------------- keys


def test_a_route_is_the_trunks_and_its_own_anneal() -> None:
    first, second = ways("infinite", anneal=0.25)
    assert (len(first), first.leaves, len(second), second.leaves) == (40, 30, 70, 60)
    assert first.stage.tolist() == [0] * 40 and second.stage.tolist() == [0] * 30 + [1] * 40
    np.testing.assert_array_equal(first.rate[:30], second.rate[:30])
    assert second.place[30:].tolist() == list(range(40))
    assert steps_in_all((first, second)) == 80  # what an anneal takes, its trunk does not
    assert steps_in_all(ways("cosine")) == 80


def test_keys_are_equal_just_as_long_as_what_is_trained_is_equal() -> None:
    one, other = ways("infinite", shape="linear"), ways("infinite", shape="cosine")
    leaves = one[1].leaves
    for step in (1, 20, one[0].leaves, leaves, leaves + 1):  # an anneal begins at the trunk's rate
        assert one[1].keys({}, 0)[step] == other[1].keys({}, 0)[step]
    for step in (leaves + 2, len(one[1])):
        assert one[1].keys({}, 0)[step] != other[1].keys({}, 0)[step]
    assert one[1].keys({}, 0)[9] != one[1].keys({}, 1)[9]  # another seed
    assert one[1].keys({}, 0)[9] != one[1].keys({"batch": 2}, 0)[9]  # or recipe
    assert one[1].keys({}, 0)[9] != one[1].keys({}, 0)[10]


def test_equal_rates_of_another_name_have_equal_keys_and_other_data_have_not() -> None:
    wsd = ways("wsd", anneal=1.0, shape="cosine", stages=(40,))
    cosine = ways("cosine", floor=0.01, stages=(40,))
    assert wsd[0].keys({}, 0)[40] == cosine[0].keys({}, 0)[40]
    apart = ways("constant", stages=(20, 20))[1]
    shifted = ways("constant", stages=(25, 15), warm_up=0.04)[1]
    np.testing.assert_array_equal(apart.rate, shifted.rate)
    assert apart.keys({}, 0)[40] != shifted.keys({}, 0)[40]


# ----------------------------------------------------------------------------------------- shared


def test_anneals_of_one_trunk_train_it_once(trainer: Trainer) -> None:
    run(trainer, ways("infinite", shape="exponential"))
    assert trainer.counts.trained == 80  # the second model went on from the first one's trunk
    before = trainer.counts.trained
    run(trainer, ways("infinite", shape="linear"))
    assert trainer.counts.trained - before == 6 + 6  # two anneals, no trunk
    before = trainer.counts.trained
    run(trainer, ways("infinite", shape="linear"))
    assert trainer.counts.trained == before


def test_a_longer_trunk_goes_on_from_a_shorter_one(trainer: Trainer) -> None:
    run(trainer, ways("infinite", anneal=0.5, stages=(40,)))
    before = trainer.counts.trained
    run(trainer, ways("infinite", anneal=0.1, stages=(40,)))
    assert trainer.counts.trained - before == 20


def test_a_shared_trunk_changes_nothing(trainer: Trainer, tmp_path: Path) -> None:
    """Bit for bit what training it alone gives: weights and both moments of the optimizer."""
    run(trainer, ways("infinite", shape="exponential"))
    shared = run(trainer, ways("infinite", shape="linear"))
    alone = Artefacts(tmp_path / "alone", "trained")
    fresh = Trainer(trainer.recipe, trainer.domains, alone, trainer.identity, trainer.device)
    keys = run(fresh, ways("infinite", shape="linear"))
    assert keys == shared and fresh.counts.spared == 34  # its own trunk, for its second model
    for key in keys:
        assert same(weights(alone, key), weights(trainer.artefacts, key))
    # The negative control: another shape is another model.
    other = run(trainer, ways("infinite", shape="exponential"))
    assert not same(weights(trainer.artefacts, other[1]), weights(trainer.artefacts, keys[1]))


def test_rates_are_those_of_the_schedule(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[float] = []

    class Noting(torch.optim.AdamW):
        def step(self, closure: Any = None) -> Any:
            used.append(self.param_groups[0]["lr"])
            assert self.param_groups[0]["lr"] == self.param_groups[1]["lr"]
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "AdamW", Noting)
    (way,) = ways("infinite", stages=(40,))
    trainer.train(way, 0, False, quiet)
    assert used == way.rate.tolist()


# ---------------------------------------------------------------------------------------- stopped


class Stopped(Exception):
    """As a search that is to stop."""


def test_a_run_that_was_stopped_goes_on_bit_for_bit(trainer: Trainer, tmp_path: Path) -> None:
    whole = Artefacts(tmp_path / "whole", "trained")
    steady = Trainer(trainer.recipe, trainer.domains, whole, trainer.identity, trainer.device)
    found = ways("repeated_cosine")
    keys = run(steady, found)

    def stopping(step: int, of: int) -> None:
        if step == 20:
            raise Stopped

    with pytest.raises(Stopped):
        trainer.train(found[0], 0, True, stopping)
    again = Trainer(
        trainer.recipe, trainer.domains, trainer.artefacts, trainer.identity, trainer.device
    )
    assert run(again, found) == keys
    assert again.counts.trained == 60  # of 80: twenty were kept
    for key in keys:
        assert same(weights(whole, key), weights(trainer.artefacts, key))


def test_provisional_states_go_once_a_run_is_finished(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SAVE_EVERY_S", 0.0)
    found = ways("infinite")
    keys = run(trainer, found)
    kept = {path.parent.name for path in trainer.artefacts._folder.rglob("manifest.json")}
    branches = {way.keys(trainer.identity, 0)[way.leaves] for way in found}
    assert kept == {*keys, *branches}
    for key in branches:
        assert trainer.artefacts.files(key) == {"weights", "optimizer"}
    assert trainer.artefacts.files(keys[1]) == {"weights"}


def test_a_branch_point_where_a_run_was_stopped_is_kept_for_good(trainer: Trainer) -> None:
    found = ways("infinite", anneal=0.25)  # leaves at 30, where a run may be stopped

    def stopping(step: int, of: int) -> None:
        if step == 20:
            raise Stopped

    with pytest.raises(Stopped):
        trainer.train(ways("infinite", anneal=0.25)[0], 0, True, stopping)
    # Another schedule leaves the same trunk just where that run was stopped.
    run(trainer, ways("infinite", anneal=0.5))
    run(trainer, found)
    key = ways("infinite", anneal=0.5)[0].keys(trainer.identity, 0)[20]
    assert trainer.artefacts.files(key) == {"weights", "optimizer"}


def test_an_end_where_a_longer_run_was_stopped_is_kept_for_good(trainer: Trainer) -> None:
    (longer,) = ways("constant", stages=(40,), warm_up=0.0)
    (shorter,) = ways("constant", stages=(20,), warm_up=0.0)

    def stopping(step: int, of: int) -> None:
        if step == 20:
            raise Stopped

    with pytest.raises(Stopped):
        trainer.train(longer, 0, False, stopping)
    end = trainer.train(shorter, 0, False, quiet)
    assert trainer.counts.trained > 20  # what may go at any time is no end
    trainer.train(longer, 0, False, quiet)
    assert trainer.artefacts.files(end) == {"weights"}


def test_a_damaged_checkpoint_is_trained_again(trainer: Trainer) -> None:
    keys = run(trainer, ways("infinite"))
    good = weights(trainer.artefacts, keys[1])
    for file in trainer.artefacts._folder.rglob("optimizer.safetensors"):
        file.write_bytes(b"damaged")
    trainer.artefacts.drop(keys[1])
    assert run(trainer, ways("infinite")) == keys
    assert same(weights(trainer.artefacts, keys[1]), good)


def test_a_rate_that_blows_up_fails_the_candidate(trainer: Trainer) -> None:
    (way,) = ways("constant", stages=(40,))
    way.rate[:] = 1e30
    with pytest.raises(MeasurementFailed, match="diverged"):
        trainer.train(way, 0, False, quiet)
    assert list(trainer.artefacts._folder.rglob("manifest.json")) == []


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import conftest
from pathlib import Path
from paretoken.evaluators.training import trainer as module
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.evaluators.training.route import routes
from paretoken.spaces.candidate import from_tree
module._SAVE_EVERY_S = 0.0
domains = conftest.TwoCounts().load(lambda phase, share: None)
artefacts = Artefacts(Path({folder!r}), "trained")
trainer = module.Trainer(conftest.RECIPE, domains, artefacts, {{"of": "tests"}}, conftest.CPU)
schedule = from_tree({{"is": "schedules/infinite", "peak": 0.01}}, "schedules")
def say(step, of):
    if step == {step}:
        os.kill(os.getpid(), signal.SIGKILL)
for stage, way in enumerate(routes(schedule.legs({stages!r}))):
    trainer.train(way, 0, stage == 0, say)
"""


@pytest.mark.parametrize("step", [20, 60])  # on the first trunk, and on the second
def test_killed_and_begun_again_it_is_the_run_that_was_never_killed(
    trainer: Trainer, tmp_path: Path, step: int
) -> None:
    program = KILLED.format(
        tests=str(Path(__file__).parent), folder=str(tmp_path / "killed"), step=step, stages=STAGES
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    keys = run(trainer, ways("infinite"))
    killed = Artefacts(tmp_path / "killed", "trained")
    again = Trainer(trainer.recipe, trainer.domains, killed, trainer.identity, trainer.device)
    assert run(again, ways("infinite")) == keys
    # What was saved last lies at most one grid before the kill: 80 steps in all, fewer again.
    assert again.counts.trained < 80 - step + 2 * module.GRID
    for key in keys:
        assert same(weights(killed, key), weights(trainer.artefacts, key))


def test_steps_that_may_be_captured_are_the_same_steps() -> None:
    """Those before a capture, against the optimizer by hand: on a CPU nothing is captured."""
    from paretoken.evaluators.training.captured import _EAGER, CapturedStep

    torch.manual_seed(0)
    start = torch.randn(5, 3)
    batches = [(torch.randn(4, 5), torch.randn(4, 3)) for _ in range(_EAGER)]
    rates = [0.1, 0.01, 0.03]
    found = []
    for by_hand in (True, False):
        weight = torch.nn.Parameter(start.clone())

        def loss(x: torch.Tensor, y: torch.Tensor, w: torch.nn.Parameter = weight) -> torch.Tensor:
            return (x @ w - y).square().mean()

        rate = torch.zeros(())
        optimizer = torch.optim.AdamW([weight], rate)
        step = CapturedStep(loss, optimizer, rate, [weight], 1.0)
        for (x, y), value in zip(batches, rates, strict=True):
            if not by_hand:
                assert float(step.take(x, y, value).detach()) > 0
                continue
            rate.fill_(value)
            optimizer.zero_grad()
            loss(x, y).backward()
            torch.nn.utils.clip_grad_norm_([weight], 1.0)
            optimizer.step()
        found.append(weight.detach())
    assert torch.equal(*found) and not torch.equal(found[0], start)
