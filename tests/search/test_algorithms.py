"""The contract of every algorithm plug-in, and what each one promises beside it.

Plug-ins are found by discovery, so an algorithm of another package that is installed is tested too.
"""

from __future__ import annotations

import json
import math
import random
import statistics
import subprocess
import sys
from typing import Any

import numpy as np
import optuna
import pyglove as pg
import pytest
from optuna.trial import TrialState
from pyglove.ext.evolution.base import set_fitness
from pyglove.ext.evolution.nsga2 import nondominated_sort

from paretoken.search.algorithm import Algorithm, Losses, Told
from paretoken.search.algorithms.evolution import fronts
from paretoken.search.decisions import Decisions, Numbers, Point
from paretoken.spaces.component import Component, knob, part
from paretoken.spaces.errors import BadInput, BadValue
from paretoken.spaces.objectives import Objective
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.presets.text_decoding import ALONE
from paretoken.spaces.space import Space, load

NAMES = KINDS["algorithms"].names()
ONE = (Objective("cost", "", False, ""),)
TWO = (*ONE, Objective("error", "", False, ""))


class Wide(Component):
    __module__ = "toys.wide"
    kind = "drafters"

    x: int = knob(0, low=0, high=15, doc="")
    y: int = knob(0, low=0, high=15, doc="")
    rate: float = knob(0.1, low=1e-4, high=1.0, log=True, doc="")


class Other(Component):
    __module__ = "toys.other"
    kind = "drafters"

    mode: str = knob("a", among=("a", "b", "c"), doc="")


class Loop(Component):
    __module__ = "toys.loop"
    kind = "decoders"

    drafter: Component = part("drafters", default="wide", doc="")
    layers: list = knob([0, 1], among=tuple(range(6)), many=2, doc="")
    trade: int = knob(0, low=0, high=15, doc="")
    warm: float = knob(1.0, low=0.0, high=1.0, doc="")


def _sixteen() -> Any:
    return pg.oneof(list(range(16)))


def _space(rate: Any) -> Space:
    wide = Wide(x=_sixteen(), y=_sixteen(), rate=rate)
    return Space(
        Loop(
            drafter=pg.oneof([wide, Other(mode=pg.oneof(list("abc")))]),
            layers=pg.manyof(2, list(range(6)), sorted=True),
            trade=_sixteen(),
            warm=pg.oneof([0.0, 0.25, 0.5, 0.75, 1.0]),
        )
    )


CONTINUOUS = Decisions(_space(pg.floatv(1e-4, 1.0, scale="log")))
FINITE_SPACE = _space(pg.oneof([1e-4, 1e-2, 1.0]))
FINITE = Decisions(FINITE_SPACE)
SMALL = Decisions(
    FINITE_SPACE.fix("drafter", "other").narrow("layers", (1, 4)).narrow("trade", (0, 3, 6, 9, 12))
)


def _decisions(name: str) -> Decisions:
    return FINITE if name == "grid" else CONTINUOUS


def _losses(numbers: Numbers, decisions: Decisions = CONTINUOUS) -> Losses:
    """Two losses in conflict over `trade`, and both worse the further the rest is from its best."""
    tree = decisions.tree(numbers)
    drafter = tree["drafter"]
    if drafter["is"] == "drafters/wide":
        far = (abs(drafter["x"] - 11) + abs(drafter["y"] - 3)) / 15
        far += abs(math.log10(drafter["rate"]) + 2) / 4
    else:
        far = 1.0 + "abc".index(drafter["mode"])
    far += sum(abs(a - b) for a, b in zip(tree["layers"], [1, 4], strict=True)) / 5
    far += abs(tree["warm"] - 0.5)
    trade = tree["trade"] / 15
    return trade + far, (1.0 - trade) ** 2 + far


def _make(name: str, objectives: tuple[Objective, ...] = TWO, seed: int = 0) -> Algorithm:
    made: Algorithm = KINDS["algorithms"].load(name)(_decisions(name), objectives, seed)
    return made


def _answer(name: str, numbers: Numbers, n: int, objectives: tuple[Objective, ...]) -> Told:
    """What becomes of proposal n: every seventh fails, every fifth breaks a constraint."""
    if n % 7 == 3:
        return Told(numbers, None, "out-of-memory")
    losses = _losses(numbers, _decisions(name))[: len(objectives)]
    return Told(numbers, losses, "speedup < 2" if n % 5 == 2 else "")


def _go_on(name: str, algorithm: Algorithm, history: list[Told], until: int) -> list[Told]:
    history = list(history)
    while len(history) < until:
        numbers = algorithm.ask()
        assert numbers is not None
        told = _answer(name, numbers, len(history), algorithm.objectives)
        algorithm.tell(told.numbers, told.losses, told.reason)
        history.append(told)
    return history


@pytest.mark.parametrize("name", NAMES)
class TestEveryAlgorithm:
    """The conformance suite."""

    @pytest.mark.parametrize("objectives", [ONE, TWO], ids=["one", "two"])
    def test_it_proposes_legal_candidates_whatever_becomes_of_them(
        self, name: str, objectives: tuple[Objective, ...]
    ) -> None:
        history = _go_on(name, _make(name, objectives), [], 45)
        decisions = _decisions(name)
        for told in history:
            assert decisions.numbers(decisions.tree(told.numbers)) == told.numbers
            assert isinstance(told.numbers, tuple)
            assert json.loads(json.dumps(told.numbers)) == list(told.numbers)
        assert len({told.numbers for told in history}) > 20

    def test_the_same_seed_proposes_the_same_and_another_seed_something_else(
        self, name: str
    ) -> None:
        first, again, other = (_go_on(name, _make(name, TWO, seed), [], 50) for seed in (7, 7, 8))
        assert first == again
        assert first != other

    @pytest.mark.parametrize("objectives", [ONE, TWO], ids=["one", "two"])
    @pytest.mark.parametrize("cut", [0, 9, 38])
    def test_a_restored_search_goes_on_as_if_uninterrupted(
        self, name: str, cut: int, objectives: tuple[Objective, ...]
    ) -> None:
        whole = _go_on(name, _make(name, objectives, 5), [], 45)
        # As a store returns them: every number a float.
        history = [Told(tuple(map(float, t.numbers)), t.losses, t.reason) for t in whole[:cut]]
        restored = _make(name, objectives, 5)
        restored.restore(history)
        assert _go_on(name, restored, whole[:cut], 45) == whole

    def test_what_was_open_when_it_stopped_can_be_told_later(self, name: str) -> None:
        whole = _go_on(name, _make(name), [], 12)
        restored = _make(name)
        restored.restore([*whole[:10], Told(whole[10].numbers), Told(whole[11].numbers)])
        restored.tell(whole[11].numbers, (0.5, 0.5))
        restored.tell(whole[10].numbers, None, "nan")
        assert restored.ask() is not None

    def test_several_proposals_may_be_open_and_answered_in_any_order(self, name: str) -> None:
        algorithm = _make(name)
        for _ in range(8):
            batch = [algorithm.ask() for _ in range(6)]
            for numbers in reversed(batch):
                assert numbers is not None
                algorithm.tell(numbers, _losses(numbers, _decisions(name)))

    def test_histories_that_it_would_not_have_made_are_taken_too(self, name: str) -> None:
        rng, decisions = random.Random(3), _decisions(name)
        drawn = [decisions.random(rng) for _ in range(40)]
        history = [_answer(name, numbers, n, TWO) for n, numbers in enumerate(drawn)]
        algorithm = _make(name)
        algorithm.restore(history)
        _go_on(name, algorithm, history, 45)

    def test_it_goes_on_when_everything_fails_or_is_infeasible(self, name: str) -> None:
        for losses in (None, (1.0, 2.0)):
            algorithm = _make(name)
            for _ in range(45):
                numbers = algorithm.ask()
                assert numbers is not None
                algorithm.tell(numbers, losses, "never")

    def test_equal_losses_do_no_harm(self, name: str) -> None:
        algorithm = _make(name)
        for _ in range(45):
            numbers = algorithm.ask()
            assert numbers is not None
            algorithm.tell(numbers, (0.0, 0.0))

    @pytest.mark.parametrize(
        "losses", [(math.nan, 1.0), (1.0, math.inf), (-math.inf, 1.0), (1.0,), (), (1.0, 2.0, 3.0)]
    )
    def test_losses_that_are_no_losses_are_refused_and_nothing_is_learnt(
        self, name: str, losses: Losses
    ) -> None:
        algorithm = _make(name)
        numbers = algorithm.ask()
        assert numbers is not None
        with pytest.raises(BadValue, match="2 finite numbers"):
            algorithm.tell(numbers, losses)
        algorithm.tell(numbers, None, "nan")

    def test_only_what_is_open_can_be_told_once(self, name: str) -> None:
        algorithm = _make(name)
        with pytest.raises(BadInput, match="not proposed"):
            algorithm.tell((0, 0, 0, 0.1, 0, 1, 0, 0), (1.0, 1.0))
        numbers = algorithm.ask()
        assert numbers is not None
        with pytest.raises(BadInput, match="neither"):
            algorithm.tell(numbers, None)
        algorithm.tell(numbers, (1.0, 1.0))
        with pytest.raises(BadInput, match="answered already"):
            algorithm.tell(numbers, (1.0, 1.0))

    def test_a_history_of_another_space_is_refused(self, name: str) -> None:
        with pytest.raises(BadValue):
            _make(name).restore([Told((9, 9, 9), (1.0, 1.0))])

    def test_a_space_with_one_candidate_is_searched_too(self, name: str) -> None:
        alone = Decisions(Space(Other(mode=pg.oneof(["b"]))))
        for decisions, numbers in ((Decisions(Space(Other())), ()), (alone, (0,))):
            algorithm = KINDS["algorithms"].load(name)(decisions, TWO, 0)
            assert algorithm.ask() == numbers
            algorithm.tell(numbers, (1.0, 1.0))
            assert algorithm.ask() is None

    def test_it_stops_when_it_has_proposed_every_candidate(self, name: str) -> None:
        algorithm = KINDS["algorithms"].load(name)(SMALL, TWO, 0)
        proposed = []
        while (numbers := algorithm.ask()) is not None:
            proposed.append(numbers)
            algorithm.tell(numbers, (1.0, 2.0) if len(proposed) % 3 else (2.0, 1.0))
        assert len(set(proposed)) == SMALL.count == 75
        if name != "random":  # which draws blindly, so that each draw stands for itself
            assert len(proposed) == 75
        assert algorithm.ask() is None

    def test_it_leaves_global_state_and_the_terminal_alone(
        self, name: str, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
    ) -> None:
        state, numpy_state = random.getstate(), np.random.get_state()[1].tolist()
        verbosity = optuna.logging.get_verbosity()
        _go_on(name, _make(name), [], 45)
        assert random.getstate() == state
        assert np.random.get_state()[1].tolist() == numpy_state
        assert optuna.logging.get_verbosity() == verbosity
        assert capfd.readouterr() == ("", "")
        assert not recwarn.list


# --- what each one promises beside the contract ---------------------------------------------------


def _best(losses: list[Losses]) -> float:
    """Area dominated below (4, 4) for two losses; the negative best for one. Larger is better."""
    if len(losses[0]) == 1:
        return -min(losses)[0]
    area, height = 0.0, 4.0
    for cost, error in sorted(losses):
        if cost < 4.0 and error < height:
            area += (4.0 - cost) * (height - error)
            height = error
    return area


def _scores(
    name: str, objectives: tuple[Objective, ...], proposals: int, seeds: range
) -> list[float]:
    scores = []
    for seed in seeds:
        algorithm = KINDS["algorithms"].load(name)(CONTINUOUS, objectives, seed)
        found = []
        for _ in range(proposals):
            numbers = algorithm.ask()
            found.append(_losses(numbers)[: len(objectives)])
            algorithm.tell(numbers, found[-1])
        scores.append(_best(found))
    return scores


@pytest.mark.parametrize("objectives", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize(("name", "proposals"), [("tpe", 100), ("evolution", 160), ("nsga2", 300)])
def test_learning_finds_more_than_chance(
    name: str, proposals: int, objectives: tuple[Objective, ...]
) -> None:
    chance = _scores("random", objectives, proposals, range(100, 140))
    learnt = _scores(name, objectives, proposals, range(3))
    # If it drew blindly, the mean of 3 runs would lie within 3 of its standard errors of chance.
    margin = 3.0 * statistics.stdev(chance) / math.sqrt(3.0)
    assert statistics.fmean(learnt) > statistics.fmean(chance) + margin


def test_evolution_sorts_as_pyglove_does() -> None:
    draw = random.Random(0)
    for size in range(30):
        population = [pg.DNA(float(number)) for number in range(size)]
        for dna in population:
            set_fitness(dna, (float(draw.randrange(6)), float(draw.randrange(6))))
        assert fronts(population) == nondominated_sort()(population)


@pytest.mark.parametrize("name", ["nsga2", "tpe"])
def test_infeasible_proposals_are_avoided(name: str) -> None:
    algorithm = _make(name)
    infeasible = []
    for _ in range(100):
        numbers = algorithm.ask()
        assert numbers is not None
        losses = _losses(numbers)
        broken = CONTINUOUS.tree(numbers)["trade"] < 8  # half of all, where the first loss is best
        infeasible.append(broken)
        algorithm.tell(numbers, losses, "trade < 8" if broken else "")
    # Drawn blindly half are infeasible: 20 of the last 40, with a standard deviation of 3.2.
    assert sum(infeasible[-40:]) < 20 - 3 * 3.2


class PlainOptuna:
    """Optuna's own sampler in a study of its own, asked and told as an algorithm is."""

    def __init__(self, algorithm: Algorithm) -> None:
        self.algorithm = algorithm
        self.study = optuna.create_study(directions=["minimize"] * len(algorithm.objectives))
        self.open: dict[Numbers, optuna.Trial] = {}

    def _genes(self, trial: optuna.Trial, point: Point) -> Any:
        if not point.size:
            return trial.suggest_float(point.name, point.low, point.high, log=point.log)
        if point.ordered:
            return trial.suggest_int(point.name, 0, point.size - 1)
        return trial.suggest_categorical(point.name, range(point.size))

    def generation(self, trial: optuna.Trial) -> int:
        trial.relative_params  # noqa: B018  # asking for them draws the genes of all
        kept = self.study.get_trials(deepcopy=False)[trial.number].system_attrs
        return next(int(value) for name, value in kept.items() if name.endswith("generation"))

    def ask(self, n: int) -> Numbers:
        decisions = self.algorithm.decisions
        seed = self.algorithm.chance(n).getrandbits(32)
        self.study.sampler = optuna.samplers.NSGAIISampler(population_size=12, seed=seed)
        trial = self.study.ask()
        genes = {point.name: self._genes(trial, point) for point in decisions.points}
        if self.generation(trial) == 0:  # the first generation is spread over the space
            numbers = self.algorithm.beginning(n)
        else:
            numbers = self.algorithm.new(decisions.decide(lambda point: genes[point.name]), n)
        wanted = trial.params | decisions.choices(numbers)
        if wanted != trial.params:  # a repeat; or several answers stand for one list of a `manyof`
            self.study.tell(trial, state=TrialState.FAIL)
            self.study.enqueue_trial(wanted)
            trial = self.study.ask()
            for point in decisions.points:
                self._genes(trial, point)
            trial.relative_params  # noqa: B018  # or it belongs to no generation: nothing was drawn
        self.open[numbers] = trial
        return numbers

    def tell(self, told: Told) -> None:
        trial = self.open.pop(told.numbers)
        if told.losses is None:
            self.study.tell(trial, state=TrialState.FAIL)
            return
        if told.reason:
            trial.set_constraint("feasible", 1.0)
        self.study.tell(trial, told.losses)


@pytest.mark.parametrize("objectives", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize("at_once", [1, 5])
def test_nsga2_proposes_what_optuna_proposes(
    at_once: int, objectives: tuple[Objective, ...]
) -> None:
    algorithm = _make("nsga2", objectives, 3)
    plain = PlainOptuna(algorithm)
    n = 0
    while n < 300:
        answers = []
        for _ in range(at_once):
            numbers = plain.ask(n)
            assert algorithm.ask() == numbers, n
            answers.append(_answer("nsga2", numbers, n, objectives))
            n += 1
        for told in reversed(answers):  # the last one proposed ends first
            algorithm.tell(told.numbers, told.losses, told.reason)
            plain.tell(told)


@pytest.mark.parametrize("name", ["evolution", "nsga2", "tpe"])
def test_the_first_proposals_meet_every_component(name: str) -> None:
    """As many as the space is wide, with whatever seed.

    Of twelve draws that know nothing of each other a third miss the draft head.
    """
    decisions = Decisions(load("text-with-head").fix("shortened.depth", "by_position"))
    assert decisions.width == len(ALONE) + 1 + 2  # two drafters of a shortened model
    for seed in range(10):
        algorithm = KINDS["algorithms"].load(name)(decisions, TWO, seed)
        trees = []
        for _ in range(decisions.width):
            numbers = algorithm.ask()
            assert numbers is not None
            trees.append(decisions.tree(numbers)["decoder"])
        speculative = [tree for tree in trees if tree["is"] == "decoders/speculative"]
        met = {tree["drafter"]["is"] for tree in speculative}
        assert met == {f"drafters/{one}" for one in (*ALONE, "head")}, seed
        assert {tree["verifier"]["is"] for tree in speculative} == {
            f"verifiers/{one}" for one in ("exact", "tree", "typical", "top_beta", "lenient")
        }


def test_a_grid_meets_every_candidate_once_and_then_stops() -> None:
    few = Decisions(FINITE_SPACE.narrow("trade", (0, 5)).fix("warm", 0.5).fix("y", 2))
    algorithm = KINDS["algorithms"].load("grid")(few, TWO, 3)
    met = set()
    while (numbers := algorithm.ask()) is not None:
        met.add(numbers)
        algorithm.tell(numbers, (1.0, 1.0))
    assert len(met) == few.count == (16 * 3 + 3) * 15 * 2
    assert algorithm.ask() is None
    resumed = KINDS["algorithms"].load("grid")(few, TWO, 3)
    resumed.restore([Told(numbers, (1.0, 1.0)) for numbers in sorted(met)])
    assert resumed.ask() is None


def test_the_first_part_of_a_grid_is_spread_over_the_space() -> None:
    algorithm = _make("grid")
    first = [FINITE.tree(algorithm.ask() or ()) for _ in range(64)]
    assert {tree["drafter"]["is"] for tree in first} == {"drafters/wide", "drafters/other"}
    assert len({tree["drafter"].get("x") for tree in first}) == 17  # 16 and None


def test_a_grid_of_a_continuous_space_is_refused_with_the_way_out() -> None:
    with pytest.raises(BadInput, match=r"--set for drafter\[=0:2\]\.rate"):
        KINDS["algorithms"].load("grid")(CONTINUOUS, TWO, 0)


def test_random_proposals_depend_on_the_seed_and_their_number_alone() -> None:
    told, silent = _make("random"), _make("random")
    history = _go_on("random", told, [], 20)
    assert [silent.ask() for _ in range(20)] == [one.numbers for one in history]


def _imported(code: str) -> set[str]:
    script = code + "\nimport sys, random; random.seed; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("paretoken.spaces.space", {"torch", "optuna", "ray", "numpy"}),
        ("paretoken.search.algorithms.random", {"torch", "optuna", "ray"}),
        ("paretoken.search.algorithms.evolution", {"torch", "optuna", "ray"}),
        ("paretoken.search.algorithms.tpe", {"torch", "ray"}),
    ],
)
def test_importing_stays_light(module: str, heavy: set[str]) -> None:
    assert not heavy & _imported(f"import {module}")
