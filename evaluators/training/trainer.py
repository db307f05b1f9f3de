"""Trainer: one model, trained along routes; whatever was trained before is gone on from.

The steps of a run are a pure function of its seed: batches are drawn anew from (seed, data set,
place) at every step, so a run that was killed and goes on is, on one device, the run that was never
stopped, bit for bit on a CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
import xxhash
from torch import Tensor
from torch.nn import functional

from paretoken.evaluators.models.llamagen import Transformer, TransformerConfig
from paretoken.evaluators.training.artefacts import Artefact, Artefacts, Tensors
from paretoken.evaluators.training.captured import CapturedStep
from paretoken.evaluators.training.domains import Domain
from paretoken.evaluators.training.moments import moments_of, set_moments
from paretoken.evaluators.training.route import Route
from paretoken.spaces.errors import MeasurementFailed

GRID = 10  # steps after which whoever watches is told, and may end the run
_SAVE_EVERY_S = 15.0
_JUDGED_AT_ONCE = 64

# Told after every GRID steps: the step, and of how many. What it raises ends the run there.
Say = Callable[[int, int], None]


@dataclass(frozen=True)
class Recipe:
    """Everything but data, seed and rates that determines the weights. AdamW; gradients clipped.

    The model's class_dropout is the share of classes that the trainer leaves out.
    """

    model: TransformerConfig
    batch: int
    precision: str
    weight_decay: float = 0.05  # of matrices
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0

    def plain(self) -> dict[str, Any]:
        """The recipe as plain JSON."""
        found = asdict(self)
        found["betas"] = list(self.betas)
        return found


@dataclass
class Counts:
    """Optimizer steps that were trained, and those that an artefact saved."""

    trained: int = 0
    spared: int = 0


@dataclass
class Trainer:
    """domains: on `device`. identity: of data and recipe, and of what else decides the weights, for
    keys. build: makes the model of a configuration. captures: whether a CUDA device takes steps
    from a captured graph, where others are compiled: for shapes that are met once.
    """

    recipe: Recipe
    domains: Sequence[Domain]
    artefacts: Artefacts
    identity: Mapping[str, Any]
    device: torch.device
    counts: Counts = field(default_factory=Counts)
    build: Callable[[TransformerConfig], Transformer] = Transformer
    captures: bool = False

    def __post_init__(self) -> None:
        self.captures &= self.device.type == "cuda"
        self._model = self._fresh().to(self.device)
        self._captured: CapturedStep | None = None
        self._loss: Callable[..., Tensor] = self._forward
        if self.device.type == "cuda" and not self.captures:
            self._loss = torch.compile(self._forward)
        matrices = [p for p in self._model.parameters() if p.ndim > 1]
        vectors = [p for p in self._model.parameters() if p.ndim <= 1]
        self._groups = [
            {"params": matrices, "weight_decay": self.recipe.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self._optimizer = self._new_optimizer()

    def train(self, route: Route, seed: int, goes_on: bool, say: Say) -> str:
        """Train along a route, from the latest step that there is an artefact of.

        goes_on: whether later routes go on from where this one leaves its trunk: that is kept with
        the optimizer's state, as is where an anneal begins, for other anneals may follow. An end
        that nothing follows is kept as weights alone. Returns the key of the end. Raises
        MeasurementFailed where the loss is no number.
        """
        keys = route.keys(self.identity, seed)
        end = len(route)
        if self._done(route, keys, goes_on):
            self.counts.spared += end
            return keys[end]
        begun = self._begin(keys, end, seed)
        self.counts.spared += begun
        if begun == route.leaves > 0:  # perhaps it was left there by a run that was stopped
            self._keep(keys[begun], begun)
        provisional = ""
        saved = time.monotonic()
        step = begun
        while step < end:
            self._step(route, step, seed)
            step += 1
            self.counts.trained += 1
            if step % GRID == 0 or step in (route.leaves, end):
                self._check()
            if step == route.leaves and (goes_on or step < end):
                self._keep(keys[step], step)
                saved = time.monotonic()
            if step % GRID and step < end:
                continue
            try:
                say(step, end)
            except BaseException:
                if step < end:
                    self._save_provisional(keys[step], step)
                raise
            if step < end and time.monotonic() - saved > _SAVE_EVERY_S:
                last, provisional = provisional, self._save_provisional(keys[step], step)
                self._drop(last)
                saved = time.monotonic()
        if not (goes_on and route.leaves == end):
            self._drop(keys[end])  # somebody was stopped just here, on a longer way
            weights = {"weights": self._weights()}
            self.artefacts.save(keys[end], weights, {"step": end, "provisional": False})
        for key in keys:  # this run's, and those of runs that were killed
            self._drop(key)
        return keys[end]

    @torch.inference_mode()
    def judge(self, key: str, domain: Domain) -> float:
        """Mean loss on the held-out data of a domain, nats a token, of the weights under a key."""
        found = self.artefacts.load(key, "weights")
        if found is None:
            raise MeasurementFailed(
                "lost", f"the trained weights {key} were there and are gone: measure again"
            )
        self._set_weights(found)
        self._model.eval()
        total = 0.0
        parts = zip(
            torch.split(domain.held_out, _JUDGED_AT_ONCE),
            torch.split(domain.held_out_classes, _JUDGED_AT_ONCE),
            strict=True,
        )
        for tokens, classes in parts:
            total += float(self._forward(tokens.long(), classes)) * tokens.numel()
        return total / domain.held_out.numel()

    def _done(self, route: Route, keys: Sequence[str], goes_on: bool) -> bool:
        """Whether there is nothing left to train."""
        branch = "optimizer" in self.artefacts.files(keys[route.leaves]) if route.leaves else True
        ended = self.artefacts.load(keys[len(route)])
        kept = ended is not None and not ended.facts.get("provisional")
        return kept and (branch or not goes_on)

    def _begin(self, keys: Sequence[str], end: int, seed: int) -> int:
        """Take up the latest state on the way, whoever left it, or start; returns its step."""
        for step in range(end - 1, 0, -1):
            if "optimizer" in self.artefacts.files(keys[step]):
                found = self.artefacts.load(keys[step], "weights", "optimizer")
                if found is not None:
                    self._set_weights(found)
                    self._optimizer = self._restored(found.tensors["optimizer"], step)
                    return step
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_mixed(seed, -1, 0))
            fresh = self._fresh()
            fresh.initialise()
        self._model.load_state_dict(fresh.state_dict())
        self._optimizer = self._new_optimizer()
        return 0

    def _fresh(self) -> Transformer:
        """A new model. It leaves out no classes by itself: see `_batch`."""
        return self.build(replace(self.recipe.model, class_dropout=0.0))

    def _step(self, route: Route, step: int, seed: int) -> None:
        self._model.train()
        tokens, classes = self._batch(int(route.stage[step]), int(route.place[step]), seed)
        rate = float(route.rate[step])
        if self._captured is not None:
            self._last = self._captured.take(tokens, classes, rate)
            return
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss = self._loss(tokens, classes)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), self.recipe.clip)
        self._optimizer.step()
        self._last = loss.detach()

    def _batch(self, stage: int, place: int, seed: int) -> tuple[Tensor, Tensor]:
        """Tokens [B, N] int64 and classes [B] of one step, a pure function of its arguments."""
        domain = self.domains[stage]
        chance = torch.Generator().manual_seed(_mixed(seed, stage, place))
        picked = torch.randint(len(domain.tokens), (self.recipe.batch,), generator=chance)
        dropped: Tensor | None = None
        if self.recipe.model.class_dropout > 0:
            dropped = torch.rand(picked.shape, generator=chance) < self.recipe.model.class_dropout
        picked = picked.to(self.device)
        classes = domain.classes[picked]
        if dropped is not None:
            classes = classes.masked_fill(dropped.to(self.device), self.recipe.model.classes)
        return domain.tokens[picked].long(), classes

    def _forward(self, tokens: Tensor, classes: Tensor) -> Tensor:
        """Mean loss in nats a token."""
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16",
            cache_enabled=not self.captures,
        ):  # fmt: skip
            logits = self._model(tokens, classes)
        return functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())

    def _check(self) -> None:
        if not bool(self._last.isfinite()):
            raise MeasurementFailed(
                "diverged", "the training loss is no number any more: the rate is too high"
            )

    def _new_optimizer(self) -> torch.optim.AdamW:
        rate = torch.zeros((), device=self.device)
        optimizer = torch.optim.AdamW(
            [dict(group) for group in self._groups], lr=rate if self.captures else 0.0,
            betas=self.recipe.betas, fused=self.device.type == "cuda", capturable=self.captures,
        )  # fmt: skip
        if self.captures:
            parameters = list(self._model.parameters())
            self._captured = CapturedStep(
                self._forward, optimizer, rate, parameters, self.recipe.clip
            )
        return optimizer

    def _weights(self) -> Tensors:
        return dict(self._model.state_dict())

    def _set_weights(self, found: Artefact) -> None:
        self._model.load_state_dict(found.tensors["weights"])

    def _restored(self, moments: Tensors, step: int) -> torch.optim.AdamW:
        optimizer = self._new_optimizer()
        set_moments(self._model, optimizer, moments, step, self.device)
        return optimizer

    def _keep(self, key: str, step: int) -> None:
        """Save the state for good, also where a run that was stopped here has left it."""
        self._drop(key)
        if "optimizer" not in self.artefacts.files(key):
            self._save(key, step, provisional=False)

    def _save(self, key: str, step: int, *, provisional: bool) -> None:
        moments = moments_of(self._model, self._optimizer)
        state = {"weights": self._weights(), "optimizer": moments}
        self.artefacts.save(key, state, {"step": step, "provisional": provisional})

    def _save_provisional(self, key: str, step: int) -> str:
        if not self.artefacts.has(key):
            self._save(key, step, provisional=True)
        return key

    def _drop(self, key: str) -> None:
        """Remove a state that was only kept in case the run was killed."""
        if key and self.artefacts.has(key):
            found = self.artefacts.load(key)
            if found is not None and found.facts.get("provisional"):
                self.artefacts.drop(key)


def _mixed(seed: int, stage: int, place: int) -> int:
    """A seed of its own for one step of one run."""
    return xxhash.xxh3_64_intdigest(f"{seed} {stage} {place}".encode()) >> 1
