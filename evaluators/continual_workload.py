"""Continual pre-training: train on one data set, then on another; judge what is learnt and lost.

A candidate is a schedule. It ships a model after each data set, and both are judged: how good the
last is on the new data, and how much worse on the old than the one that was shipped for them. A
"sample" is a whole run with a seed of its own, so a spread is that over seeds. All schedules take
the same optimizer steps (see `Leg`): the steps of an anneal are missing from its trunk.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from paretoken.evaluators.environment import environment
from paretoken.evaluators.timing import mean_and_error
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.evaluators.training.curves import rates
from paretoken.evaluators.training.route import Route, routes, steps_in_all
from paretoken.evaluators.training.schedule import Leg, Schedule
from paretoken.evaluators.training.trainer import Recipe, Trainer
from paretoken.evaluators.workloads.continual.source import Source
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput, BadValue, MeasurementFailed
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Quantity
from paretoken.spaces.workload import Behaviour, Observed, Report, Sampled

STEPS = Objective("steps", "steps", False, "Optimizer steps of a run, all branches included.")
NEW_LOSS = Objective("new_loss", "nats/token", False, "Held-out loss on the new data at the end.")
FORGETTING = Objective(
    "forgetting", "nats/token", False, "Loss on the old data at the end, less that when shipped."
)
# Rates below this train nothing in float32; one is as good as none, and has a logarithm.
_NOTHING = 1e-12


@dataclass(frozen=True)
class _Run:
    """One seed. keys: of the models shipped after each data set."""

    seed: int
    keys: tuple[str, ...]


class ContinualWorkload:
    """source: the data. stages: steps on each data set. artefacts: where trained models are kept.

    A schedule's budget below 1 takes that share of every stage's steps.
    """

    objectives = (STEPS, NEW_LOSS, FORGETTING)

    def __init__(
        self,
        source: Source,
        recipe: Recipe,
        *,
        stages: tuple[int, int],
        samples: int,
        artefacts: Artefacts,
        device: torch.device,
    ) -> None:
        self._source, self._recipe, self._stages = source, recipe, stages
        self._artefacts, self._device = artefacts, device
        self.samples = samples
        self.check_samples(samples)
        self._identity = {"data": dict(source.identity), "recipe": recipe.plain()}
        self._made: Trainer | None = None
        self.environment = environment(device)

    def check_samples(self, samples: int) -> None:
        """Refuse a single run: it has no spread."""
        if samples < 2:
            raise BadInput(
                f"a schedule is judged by 2 runs or more, each with its own seed, not by {samples}."
            )

    def plain(self) -> Component:
        """Repeated cosine: what continual pre-training mostly uses, and others are compared to."""
        return from_tree({"is": "candidates/training"})

    def context(self) -> Mapping[str, Any]:
        return {**self._identity, "stages": list(self._stages)}

    def record(self) -> bytes:
        """Nothing: schedules are compared by their rates."""
        return b""

    def behaviour(self, candidate: Component, recording: bytes) -> Behaviour:
        """The logarithm of the rate at every step: two schedules that agree in it to a millionth
        at every step are one, whatever they are called."""
        begun = time.perf_counter()
        legs, _ = self._routes(candidate)
        told = tuple(_told(part) for leg in legs for part in (leg.trunk, leg.anneal))
        return Behaviour(
            context=self.context(),
            target=told,
            drafting={},
            rule=(),
            lossless=False,
            evidence={"lossless": "no", "rates": sum(len(part) for part in told)},
            conditions={},
            runtime={},
            seconds=time.perf_counter() - begun,
        )

    def sample(self, candidate: Component, samples: int, seed: int, report: Report) -> Sampled:
        """Train so many runs; whatever an earlier one trained alike is not trained again."""
        begun = time.perf_counter()
        _, ways = self._routes(candidate)
        trainer = self._trainer(report)
        before = (trainer.counts.trained, trainer.counts.spared)
        runs = []
        for nth in range(samples):
            keys = []
            for stage, way in enumerate(ways):

                def say(step: int, of: int, nth: int = nth, stage: int = stage) -> None:
                    share = (nth + (stage + step / of) / len(ways)) / samples
                    told = f"run {nth + 1} of {samples}, to model {stage + 1}: step {step} of {of}"
                    report(told, 0.95 * share)

                # Runs of one number share their start and their data over all candidates.
                keys.append(trainer.train(way, seed + nth, stage + 1 < len(ways), say))
            runs.append(_Run(seed + nth, tuple(keys)))
        counted = {
            "trained_steps": trainer.counts.trained - before[0],
            "spared_steps": trainer.counts.spared - before[1],
        }
        tokens = np.array([_words(key) for run in runs for key in run.keys], dtype=np.int64)
        seconds = time.perf_counter() - begun
        return Sampled(tokens.reshape(samples, -1), (), seconds, (runs, counted))

    def judge(self, sampled: Sampled, report: Report) -> Observed:
        """Losses of all models on both held-out sets, over seeds."""
        begun = time.perf_counter()
        runs, counted = sampled.payload
        trainer = self._trainer(report)
        losses = []
        for nth, run in enumerate(runs):
            report(f"judging run {nth + 1} of {len(runs)}", 0.95 + 0.05 * nth / len(runs))
            losses.append([[trainer.judge(key, of) for of in trainer.domains] for key in run.keys])
        found = np.array(losses)  # [runs, model, data]
        if not np.isfinite(found).all():
            raise MeasurementFailed("nan", "a held-out loss is no number: the rate is too high")
        old, new = found[:, :, 0], found[:, :, 1]
        per_run = {
            "new_loss": new[:, -1],
            "old_loss": old[:, -1],
            "forgetting": old[:, -1] - old[:, 0],
            "shipped_loss": old[:, 0],
        }
        quantities = tuple(self._quantity(name, values) for name, values in per_run.items())
        detail = {
            "seeds": [run.seed for run in runs],
            "per_run": {name: values.tolist() for name, values in per_run.items()},
            "data": list(self._source.names),
            "artefacts": [list(run.keys) for run in runs],
            **counted,
        }
        return Observed(quantities, sampled.seconds + time.perf_counter() - begun, detail)

    def speed(self, candidate: Component, report: Report) -> Observed:
        """The steps of a run: counted, for what a step takes does not depend on its rate."""
        begun = time.perf_counter()
        legs, ways = self._routes(candidate)
        detail = {
            "stages": list(self._steps(candidate)),
            "legs": [leg.plain() for leg in legs],
        }
        steps = Quantity("steps", steps_in_all(ways), 0.0, 1, "steps", False, detail=detail)
        shared = ways[0].leaves
        trace = np.array([*map(len, ways), shared], dtype=np.int64)
        return Observed((steps,), time.perf_counter() - begun, {}, (trace,))

    def generate(
        self,
        tree: Mapping[str, Any],
        classes: tuple[int, ...],
        samples: int,
        seed: int,
        study_seed: int,
        report: Report,
    ) -> Any:
        """Nothing: a schedule trains."""
        raise BadInput(
            "a schedule generates nothing: write it for a trainer with paretoken export --to "
            "training-arguments or --to torch-schedule."
        )

    def _steps(self, candidate: Component) -> tuple[int, ...]:
        budget = float(candidate.budget)
        return tuple(max(1, round(budget * steps)) for steps in self._stages)

    def _routes(self, candidate: Component) -> tuple[tuple[Leg, ...], tuple[Route, ...]]:
        schedule = getattr(candidate, "schedule", None)
        if not isinstance(schedule, Schedule):
            raise MeasurementFailed(
                "unsupported",
                f"{candidate.tag()} has no schedule: this workload searches candidates/training.",
            )
        try:
            legs = schedule.legs(self._steps(candidate))
            return legs, routes(legs)
        except BadValue as error:  # of this candidate alone
            raise MeasurementFailed("unsupported", str(error)) from error

    def _trainer(self, report: Report) -> Trainer:
        if self._made is None:
            domains = [of.to(self._device) for of in self._source.load(report)]
            self._made = Trainer(
                self._recipe, domains, self._artefacts, self._identity, self._device
            )
        return self._made

    def _quantity(self, name: str, values: NDArray[np.float64]) -> Quantity:
        mean, error = mean_and_error(values.tolist())
        detail = {"spread_from": "standard error over seeds", "std": error * len(values) ** 0.5}
        comparable = f"{len(values)} runs of {self._stages[0]} + {self._stages[1]} steps"
        return Quantity(name, mean, error, len(values), "nats/token", False, comparable, detail)


def _told(phases: Sequence[Any]) -> NDArray[np.float64]:
    return np.log(np.maximum(rates(phases), _NOTHING))


def _words(key: str) -> tuple[int, ...]:
    """A key as two signed integers."""
    return tuple(np.frombuffer(bytes.fromhex(key), dtype="<i8").tolist())
