"""Stages: what of a candidate is trained, on what budget, and under which keys it is kept.

A budget of arithmetic is shared by both stages, and is the same for every candidate: with as many
clusters as codes the first stage has all of it, with one cluster the second. Nothing that only
decoding asks for (temperatures, top-k, guidance) is in a key: changing it trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from paretoken.evaluators.clusters.auxiliary import Auxiliary
from paretoken.evaluators.clusters.partition import Partition
from paretoken.evaluators.components.candidates.coarse_to_fine import CoarseToFine
from paretoken.evaluators.models.llamagen import Transformer, TransformerConfig
from paretoken.evaluators.subwords.compute import operations, route
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.evaluators.training.domains import Domain, Format
from paretoken.evaluators.training.trainer import Counts, Recipe, Trainer
from paretoken.spaces.errors import MeasurementFailed

# Classes that are left out in training, so that guidance knows what there is without one.
_CLASS_DROPOUT = 0.1
# Fewer steps say nothing about a stage.
_LEAST = 10
_WIDTH = 32  # widths are multiples of it
_HEAD = 64  # numbers of a head; half of it where a width is no multiple of that


@dataclass(frozen=True)
class Sizes:
    """Of the first stage and of all training: the same for every candidate.

    compute: floating-point operations of training both stages. precision: a name in torch. seed:
    of starts and batches.
    """

    dim: int
    layers: int
    batch: int
    compute: float
    precision: str
    seed: int = 0

    def config(self, form: Format, vocabulary: int, dim: int, layers: int) -> TransformerConfig:
        """A transformer of a stage."""
        config = replace(form, vocabulary=vocabulary).model(dim, layers)
        heads = dim // _HEAD if dim % _HEAD == 0 else dim // _WIDTH
        return replace(config, heads=heads, class_dropout=_CLASS_DROPOUT)


@dataclass(frozen=True)
class Stage:
    """One model: how it is trained, and what makes it.

    operations: of training on one token. clusters: whether it learns those, or else codes.
    """

    recipe: Recipe
    build: Callable[[TransformerConfig], Transformer]
    identity: Mapping[str, Any]
    steps: int
    operations: float
    clusters: bool


class Stages:
    """The stages of candidates, on one data set.

    train: codes, on `device`. identity: of the data, for keys.
    """

    def __init__(
        self,
        train: Domain,
        form: Format,
        sizes: Sizes,
        artefacts: Artefacts,
        identity: Mapping[str, Any],
        device: torch.device,
    ) -> None:
        self._train, self._form, self._sizes = train, form, sizes
        self._artefacts, self._identity, self._device = artefacts, identity, device
        self.counts = Counts()

    def of(
        self, candidate: CoarseToFine, partition: Partition
    ) -> tuple[Stage | None, Stage | None]:
        """The first stage (None with one cluster) and the second (None where it would be the
        identity). Raises MeasurementFailed where the budget does not pay for them."""
        share = float(candidate.aux_share)
        if partition.is_finest:
            share = 0.0
        elif len(partition) == 1:
            share = 1.0
        budget = float(candidate.budget) * self._sizes.compute
        coarse = fine = None
        if len(partition) > 1:
            coarse = self._coarse(partition, (1.0 - share) * budget)
        if not partition.is_finest:
            fine = self._fine(candidate, partition, share * budget)
        return coarse, fine

    def train(self, stage: Stage, partition: Partition, say: Callable[[int, int], None]) -> str:
        """Train, or find what was trained alike; returns the key of the weights."""
        trainer = Trainer(
            stage.recipe, [self._domain(partition) if stage.clusters else self._train],
            self._artefacts, stage.identity, self._device, self.counts, stage.build,
            captures=self._device.type == "cuda",
        )  # fmt: skip
        return trainer.train(route(stage.steps), self._sizes.seed, False, say)

    def load(self, stage: Stage, key: str) -> Transformer:
        """The trained model of a stage, on the CPU."""
        found = self._artefacts.load(key, "weights")
        if found is None:
            raise MeasurementFailed(
                "lost", f"the trained weights {key} were there and are gone: measure again"
            )
        model = stage.build(replace(stage.recipe.model, class_dropout=0.0))
        model.load_state_dict(found.tensors["weights"])
        return model.eval().requires_grad_(False)

    def _domain(self, partition: Partition) -> Domain:
        labels = torch.from_numpy(partition.labels).to(self._device, torch.int16)
        tokens = labels[self._train.tokens.long()]
        return replace(self._train, tokens=tokens)

    def _coarse(self, partition: Partition, budget: float) -> Stage:
        sizes = self._sizes
        config = sizes.config(self._form, len(partition), sizes.dim, sizes.layers)
        told = {"stage": "coarse"}
        return self._stage(config, Transformer, operations(config), partition, told, budget)

    def _fine(self, candidate: CoarseToFine, partition: Partition, budget: float) -> Stage:
        sizes = self._sizes
        by_rank = candidate.fine_target == "rank"
        dim = max(_WIDTH, round(sizes.dim * candidate.aux_width / _WIDTH) * _WIDTH)
        config = sizes.config(self._form, partition.vocabulary, dim, int(candidate.aux_depth))
        outputs = int(partition.sizes.max()) if by_rank else partition.vocabulary
        told = {
            "stage": "fine",
            "attention": candidate.aux_attention,
            "masked": bool(candidate.aux_masked) or by_rank,
            "by_rank": by_rank,
        }

        def build(config: TransformerConfig) -> Transformer:
            return Auxiliary(
                config, partition, attention=candidate.aux_attention,
                masked=bool(candidate.aux_masked), by_rank=by_rank,
            )  # fmt: skip

        cost = operations(replace(config, vocabulary=outputs))
        return self._stage(config, build, cost, partition, told, budget)

    def _stage(
        self,
        config: TransformerConfig,
        build: Callable[[TransformerConfig], Transformer],
        cost: float,
        partition: Partition,
        told: Mapping[str, Any],
        budget: float,
    ) -> Stage:
        sizes = self._sizes
        steps = int(budget / (cost * sizes.batch * config.length))
        if steps < _LEAST:
            raise MeasurementFailed(
                "unsupported",
                f"{budget / 1e9:g} GFLOPs pay for {steps} steps of the {told['stage']} stage, and "
                f"fewer than {_LEAST} say nothing: raise --option compute, or choose another "
                "aux_share.",
            )
        recipe = Recipe(config, sizes.batch, sizes.precision)
        identity = {
            "data": dict(self._identity), "recipe": recipe.plain(), "partition": partition.digest,
            **told,
        }  # fmt: skip
        clusters = told["stage"] == "coarse"
        return Stage(recipe, build, identity, steps, cost, clusters)
