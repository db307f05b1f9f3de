"""What depths learn for a model, once: sets of layers, routers, and changes that make up for them.

Everything learnt is an artefact under a digest of all that decides it, its train key: the model,
the answers that it learns from, the sizes, and what came before it. So knobs that only decoding
depends on never train anew, and what a run that was stopped had learnt is there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import xxhash
from filelock import FileLock, Timeout
from torch import Tensor

from paretoken.evaluators.models.lora import LoRA
from paretoken.evaluators.resumable import Run
from paretoken.evaluators.shortening.course import Course, with_layers
from paretoken.evaluators.shortening.routers import Routers
from paretoken.evaluators.shortening.skip_sets import bayesian, next_dropped
from paretoken.evaluators.shortening.teaching import (
    Recovery,
    Say,
    Sizes,
    trained_lora,
    trained_routers,
)
from paretoken.evaluators.training.artefacts import Artefact, Artefacts, Tensors
from paretoken.spaces.workload import Report

_VERSION = "paretoken shortening 1"
_SAVE_EVERY_S = 10.0
_LOOK_EVERY_S = 1.0  # whether somebody else has learnt it
_SEED = 0

Learn = Callable[[Run, Say], tuple[Tensors, dict[str, Any]]]


class School:
    """course: makes the answers that all is learnt from; needed only where something is not known
    yet. identity: of the model and of those answers. folder: where artefacts are kept.
    """

    def __init__(
        self,
        course: Callable[[], Course],
        *,
        sizes: Sizes,
        identity: Mapping[str, Any],
        folder: Path,
    ) -> None:
        self._make, self._sizes, self._folder = course, sizes, folder
        self._identity = {**identity, "lessons": sizes.lessons, "torch": torch.__version__}
        self._artefacts = Artefacts(folder, "shortened")
        self._known: dict[str, Artefact] = {}
        self.report: Report = lambda phase, share: None

    @cached_property
    def _course(self) -> Course:
        self.report("answers to learn from", 0.0)
        with torch.inference_mode(False), torch.no_grad():
            return self._make()

    def skip_set(self, rule: str, layers: int, count: int) -> tuple[bool, ...]:
        """Whether each layer runs, in the calibrated set of a rule that leaves out `count`."""
        if count == 0:
            return (True,) * layers
        if rule == "greedy":
            dropped = self._dropped(layers, count)
            return tuple(i not in dropped for i in range(layers))
        told = {"rule": rule, "count": count, **self._of("calibration", "trials")}

        def found(run: Run, say: Say) -> tuple[Tensors, dict[str, Any]]:
            def tell(written: str, lost: float, done: int) -> None:
                run.state[written] = lost
                if run.due():
                    run.save()
                say(f"trial {done} of {self._sizes.trials}", done / self._sizes.trials)

            runs, lost = bayesian(
                layers, count, self._lost, trials=self._sizes.trials, seed=_SEED,
                known=dict(run.state), tell=tell,
            )  # fmt: skip
            return {"runs": torch.tensor(runs)}, {"lost": lost}

        kept = self._learnt(f"set of {count} layers", told, found)
        return tuple(kept.tensors["learnt"]["runs"].tolist())

    def routers(self, skipped: float) -> Routers:
        """Routers that leave out such a share of the inner layers."""

        def found(run: Run, say: Say) -> tuple[Tensors, dict[str, Any]]:
            return trained_routers(self._course, self._sizes, skipped, run, say)

        told = {"routers": skipped, **self._of("steps", "batch", "calibration")}
        kept = self._learnt(f"routers that skip {skipped:g}", told, found)
        return Routers.of(kept.tensors["learnt"], float(kept.facts["offset"]))

    def recovered(self, recovery: Recovery, layers: Tensor | Routers) -> LoRA:
        """LoRA that makes up for what is left out: by a table [1, 1 + N, L], or by routers."""
        if isinstance(layers, Routers):
            without: dict[str, Any] = {"routers": layers.digest}
        else:
            raw = layers.to(torch.uint8).contiguous().numpy().tobytes()
            without = {"table": [list(layers.shape), xxhash.xxh3_128_hexdigest(raw)]}

        def found(run: Run, say: Say) -> tuple[Tensors, dict[str, Any]]:
            return trained_lora(self._course, self._sizes, recovery, layers, run, say)

        told = {"lora": asdict(recovery), **without, **self._of("steps", "batch")}
        kept = self._learnt(f"LoRA of rank {recovery.rank}", told, found)
        return LoRA(recovery.alpha / recovery.rank, kept.tensors["learnt"])

    def _dropped(self, layers: int, count: int) -> list[int]:
        """The layers that greed leaves out, in its order; that of fewer is its beginning."""
        if count == 0:
            return []
        before = self._dropped(layers, count - 1)

        def found(run: Run, say: Say) -> tuple[Tensors, dict[str, Any]]:
            tried = 0

            def lost(runs: Any) -> float:
                nonlocal tried
                say(f"candidate {tried + 1}", tried / max(1, layers - 2 - len(before)))
                tried += 1
                return self._lost(runs)

            layer, loss = next_dropped(layers, before, lost)
            return {"dropped": torch.tensor([*before, layer])}, {"lost": loss}

        told = {"rule": "greedy", "count": count, **self._of("calibration")}
        kept = self._learnt(f"layer {count} to drop", told, found)
        order: list[int] = kept.tensors["learnt"]["dropped"].tolist()
        return order

    def _of(self, *names: str) -> dict[str, int]:
        """The sizes that something depends on."""
        return {name: getattr(self._sizes, name) for name in names}

    def _lost(self, runs: Any) -> float:
        rows = self._course.learnt[: self._sizes.calibration]
        return self._course.loss(with_layers(self._course.target, runs), rows)

    def _learnt(
        self,
        what: str,
        told: Mapping[str, Any],
        learn: Learn,
    ) -> Artefact:
        """The artefact of what is told, learnt unless it is there."""
        everything = [_VERSION, dict(told), self._identity]
        key = xxhash.xxh3_128_hexdigest(json.dumps(everything, sort_keys=True).encode())
        if key not in self._known:
            kept = self._artefacts.load(key, "learnt")
            if kept is None:
                with self._turn(key, what):
                    kept = self._artefacts.load(key, "learnt")  # another may have learnt it
                    if kept is None:
                        kept = self._learn(key, what, told, learn)
            self._known[key] = kept
        return self._known[key]

    def _learn(self, key: str, what: str, told: Mapping[str, Any], learn: Learn) -> Artefact:
        begun = self._folder / "unfinished" / key
        run = Run(begun, every_s=_SAVE_EVERY_S)
        with torch.inference_mode(False), torch.enable_grad():
            tensors, facts = learn(run, lambda phase, share: self.report(f"{what}: {phase}", share))
        self._artefacts.save(key, {"learnt": tensors}, {**facts, "told": dict(told)})
        shutil.rmtree(begun, ignore_errors=True)
        return Artefact({"learnt": tensors}, facts)

    @contextmanager
    def _turn(self, key: str, what: str) -> Iterator[None]:
        """The only one to learn that: two workers would write one checkpoint, and remove it under
        each other's hands. The system ends the turn of a process that is killed."""
        place = self._folder / "turns"
        place.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place / f"{key}.lock")
        while not lock.is_locked:
            try:
                lock.acquire(timeout=_LOOK_EVERY_S)
            except Timeout:
                self.report(f"{what}: another process is learning it", 0.0)
        try:
            yield
        finally:
            lock.release()
