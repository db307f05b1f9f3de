"""Fitting: a network trained in a number of steps, which goes on where a killed run was.

Every step seeds torch anew by the run's seed and its own number, so that batches and whatever the
network draws are a pure function of both: a run that was stopped is, bit for bit on a CPU, the run
that was not. On a GPU a step can be one CUDA graph, which costs a second where compiling costs a
minute, and small steps take as long as their arithmetic.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import xxhash
from torch import Tensor, nn

from paretoken.evaluators.resumable import cosine
from paretoken.evaluators.training.artefacts import Artefact, Artefacts, Tensors
from paretoken.evaluators.training.moments import moments_of, set_moments
from paretoken.evaluators.training.trainer import GRID, Counts
from paretoken.spaces.errors import MeasurementFailed

_SAVE_EVERY_S = 15.0
_EAGER = 3  # steps before a capture, in which libraries choose kernels and moments are allocated

# Told after every GRID steps: the step, and of how many. What it raises ends the run there.
Say = Callable[[int, int], None]


@dataclass(frozen=True)
class Recipe:
    """AdamW with a rate that rises for a twentieth of the steps and falls by a cosine to zero.

    precision: of the forward pass, a name in torch.
    """

    steps: int
    batch: int
    peak: float
    precision: str
    weight_decay: float = 0.01  # of matrices
    clip: float = 1.0

    def rate(self, step: int) -> float:
        return self.peak * cosine(step, self.steps, max(1, self.steps // 20))


@dataclass
class Fit:
    """One training. loss: of the chosen rows int64 [batch]. of: how many rows there are.

    captured: whether a step is a CUDA graph, on a GPU: nothing in it may ask the device.
    watch: called after every GRID steps with the step; raises MeasurementFailed to give up.
    """

    module: nn.Module
    loss: Callable[[Tensor], Tensor]
    of: int
    recipe: Recipe
    device: torch.device
    captured: bool = False
    watch: Callable[[int], None] = lambda step: None
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self._on_gpu = self.device.type == "cuda"
        self._rate = torch.zeros((), device=self.device)
        self._picked = torch.zeros(self.recipe.batch, dtype=torch.int64, device=self.device)
        self._loss = torch.zeros((), device=self.device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._taken = 0
        matrices = [p for p in self.module.parameters() if p.ndim > 1]
        vectors = [p for p in self.module.parameters() if p.ndim <= 1]
        self._optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": self.recipe.weight_decay},
             {"params": vectors, "weight_decay": 0.0}],
            self._rate, betas=(0.9, 0.95), fused=self._on_gpu, capturable=self._on_gpu,
        )  # fmt: skip

    def train(self, key: str, artefacts: Artefacts, seed: int, say: Say) -> None:
        """Train the module, or load what was trained under this key; see the module's docstring.

        Raises MeasurementFailed where the loss is no number.
        """
        found = artefacts.load(key, "weights")
        if found is not None and not self._fits(found):
            artefacts.drop(key)
            found = None
        if found is not None:
            self.counts.spared += self.recipe.steps
            self.module.load_state_dict(found.tensors["weights"])
            return
        devices = [self.device] if self._on_gpu else []
        with torch.random.fork_rng(devices=devices):
            self._run(key, artefacts, seed, say)

    def _run(self, key: str, artefacts: Artefacts, seed: int, say: Say) -> None:
        steps = self.recipe.steps
        begun = self._begin(key, artefacts)
        self.counts.spared += begun
        last = _part(key, begun) if begun else ""
        saved = time.monotonic()
        for step in range(begun, steps):
            self._step(step, seed)
            self.counts.trained += 1
            done = step + 1
            if done % GRID and done < steps:
                continue
            if not bool(self._loss.isfinite()):
                raise MeasurementFailed("diverged", f"the training loss is no number, step {done}")
            self.watch(done)
            if done == steps:
                break
            try:
                say(done, steps)
            except BaseException:
                self._keep(key, done, artefacts)
                raise
            if time.monotonic() - saved > _SAVE_EVERY_S:
                before, last = last, self._keep(key, done, artefacts)
                _drop(before, artefacts)
                saved = time.monotonic()
        artefacts.save(key, {"weights": self._weights()}, {"steps": steps})
        for step in range(GRID, steps, GRID):  # this run's, and those of runs that were killed
            _drop(_part(key, step), artefacts)
        say(steps, steps)

    def _step(self, step: int, seed: int) -> None:
        torch.manual_seed(mixed(seed, step))
        self.module.train()
        self._picked.copy_(torch.randint(self.of, (self.recipe.batch,)))
        self._rate.fill_(self.recipe.rate(step))
        self._taken += 1
        if not (self.captured and self._on_gpu) or self._taken <= _EAGER:
            self._update()
            return
        if self._graph is None:
            torch.cuda.synchronize()
            self._optimizer.zero_grad(set_to_none=True)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._update()
        self._graph.replay()

    def _update(self) -> None:
        half = self.recipe.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half, cache_enabled=False):
            loss = self.loss(self._picked)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.recipe.clip)
        self._optimizer.step()
        self._loss.copy_(loss.detach())

    def _weights(self) -> Tensors:
        # Tied or viewed tensors would share memory, which safetensors refuses.
        return {name: value.clone() for name, value in self.module.state_dict().items()}

    def _begin(self, key: str, artefacts: Artefacts) -> int:
        """Take up the latest state of a run that was stopped, or start; returns its step."""
        for step in range((self.recipe.steps - 1) // GRID * GRID, 0, -GRID):
            if artefacts.has(_part(key, step)):
                found = artefacts.load(_part(key, step), "weights", "moments")
                if found is not None and self._fits(found):
                    self._restore(found, step)
                    return step
        return 0

    def _fits(self, found: Artefact) -> bool:
        """Whether it is of this network: another version of paretoken may have built another."""
        shapes = {name: value.shape for name, value in self.module.state_dict().items()}
        return shapes == {name: value.shape for name, value in found.tensors["weights"].items()}

    def _restore(self, found: Artefact, step: int) -> None:
        self.module.load_state_dict(found.tensors["weights"])
        moments = found.tensors["moments"]
        set_moments(self.module, self._optimizer, moments, step, self.device)

    def _keep(self, key: str, step: int, artefacts: Artefacts) -> str:
        moments = moments_of(self.module, self._optimizer)
        part = _part(key, step)
        artefacts.save(part, {"weights": self._weights(), "moments": moments}, {"step": step})
        return part


def mixed(seed: int, step: int) -> int:
    """A seed of its own for one step of one run."""
    return xxhash.xxh3_64_intdigest(f"{seed} {step}".encode()) >> 1


def _part(key: str, step: int) -> str:
    """The key of a state on the way to what `key` names."""
    return xxhash.xxh3_128_hexdigest(f"{key} {step}".encode())


def _drop(part: str, artefacts: Artefacts) -> None:
    if part and artefacts.has(part):
        artefacts.drop(part)
