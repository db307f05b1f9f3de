"""What depths learn for a model, once: sets of layers, routers, and changes that make up for them.

Everything learnt is an artefact under a digest of all that decides it, its train key: the model,
the answers that it learns from, the sizes, and what came before it. So knobs that only decoding
depends on never train anew, and what a run that was stopped had learnt is there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import Tensor

from paretoken.evaluators.models.gated_layer import Choose, Gated, gated
from paretoken.evaluators.models.lora import LoRA
from paretoken.evaluators.resumable import Run
from paretoken.evaluators.shortening.course import Course, with_layers
from paretoken.evaluators.shortening.routers import Deciding, Routers, Soft
from paretoken.evaluators.shortening.skip_sets import bayesian, next_dropped
from paretoken.evaluators.shortening.training import train
from paretoken.evaluators.training.artefacts import Artefact, Artefacts, Tensors
from paretoken.spaces.workload import Report

_VERSION = "paretoken shortening 1"
_SAVE_EVERY_S = 10.0
# Routers: what an inner layer too many or too few, as a share, squared, weighs against a nat; and
# what indecision does, the paper's lambda. Rates of learning, of routers and of LoRA.
_BUDGET, _DECIDED = 100.0, 0.01
_ROUTER_RATE, _LORA_RATE = 0.02, 2e-3
_SETTLED = 4  # passes in which the offset of routers comes to rest: decisions depend on each other
_SEED = 0


@dataclass(frozen=True)
class Sizes:
    """How much is learnt. lessons: answers; steps: of a training, with `batch` answers each;
    calibration: answers that sets and offsets are found on; trials: of a Bayesian search."""

    lessons: int
    steps: int
    batch: int
    calibration: int
    trials: int


@dataclass(frozen=True)
class Recovery:
    """A LoRA to be learnt: rank, alpha, and which matrices it changes ("attention" or "all")."""

    rank: int
    alpha: float
    matrices: str


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

        def found(run: Run, say: Callable[[str, float], None]) -> tuple[Tensors, dict[str, Any]]:
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

        def found(run: Run, say: Callable[[str, float], None]) -> tuple[Tensors, dict[str, Any]]:
            return self._trained_routers(skipped, run, say)

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

        def found(run: Run, say: Callable[[str, float], None]) -> tuple[Tensors, dict[str, Any]]:
            return self._trained_lora(recovery, layers, run, say)

        told = {"lora": asdict(recovery), **without, **self._of("steps", "batch")}
        kept = self._learnt(f"LoRA of rank {recovery.rank}", told, found)
        return LoRA(recovery.alpha / recovery.rank, kept.tensors["learnt"])

    def _dropped(self, layers: int, count: int) -> list[int]:
        """The layers that greed leaves out, in its order; that of fewer is its beginning."""
        if count == 0:
            return []
        before = self._dropped(layers, count - 1)

        def found(run: Run, say: Callable[[str, float], None]) -> tuple[Tensors, dict[str, Any]]:
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

    def _trained_routers(
        self, skipped: float, run: Run, say: Callable[[str, float], None]
    ) -> tuple[Tensors, dict[str, Any]]:
        course, sizes = self._course, self._sizes
        target, layers = course.target, course.target.layers
        begun = Routers.begun(layers, target.width_of_states, 1.0 - skipped)
        weights = {name: value.to(course.device) for name, value in begun.weights.items()}
        routers = Routers.of(weights, 0.0)

        def loss(rows: Tensor, over: float) -> Tensor:
            prompts = course.prompts(rows)
            soft = Soft(routers, layers, prompts, None)
            if over >= 0.5:  # from here on it learns what decoding will do
                soft = Soft(routers, layers, prompts, level)
            apart = course.apart(target.model_of(gated(soft)), rows)
            need = torch.stack(soft.needed)
            level.copy_(torch.quantile(need.detach().flatten().float(), skipped))
            entropy = -(need * need.log() + (1 - need) * (1 - need).log()).mean()
            budget = (need.mean() - (1.0 - skipped)).square()
            return apart + _BUDGET * budget + _DECIDED * entropy

        level = torch.tensor(0.5, device=course.device)  # of need, below which that share lies

        train(
            weights, loss, lines=course.learnt, batch=sizes.batch, steps=sizes.steps,
            rate=_ROUTER_RATE, seed=_SEED, run=run, beside={"level": level},
            say=lambda step, steps, recent: say(
                f"step {step} of {steps}, loss {recent:.3f}", 0.9 * step / steps
            ),
        )  # fmt: skip
        say("the share that is left out", 0.95)
        routers, share = self._on_budget(routers, skipped)
        kept = {name: value.cpu() for name, value in routers.weights.items()}
        return kept, {"offset": routers.offset, "skipped": share}

    @torch.no_grad()
    def _on_budget(self, routers: Routers, skipped: float) -> tuple[Routers, float]:
        """Routers with the offset at which the wanted share is left out, or nearly; that share."""
        best, off, share = routers, 2.0, 0.0
        for _ in range(_SETTLED):
            needs, kept = self._decided(routers)
            found = 1.0 - float(kept.float().mean())
            if abs(found - skipped) < off:
                best, off, share = routers, abs(found - skipped), found
            order = needs.flatten().sort().values
            out = min(round(skipped * len(order)), len(order) - 1)
            # Halfway between the last that is left out and the first that runs.
            edge = order[out] if out == 0 else (order[out - 1] + order[out]) / 2
            routers = replace(routers, offset=float(edge) if skipped else float(order[0]) - 1.0)
        return best, share

    def _decided(self, routers: Routers) -> tuple[Tensor, Tensor]:
        """Logits of need and decisions, both [L - 2, n], on the prompts of the calibration."""
        course = self._course
        rows = course.learnt[: max(8, self._sizes.calibration)]
        needs, kept = [], []
        for part in torch.split(rows, 8 if course.device.type == "cpu" else 64):
            gate = Deciding(routers, course.target.layers, 0.5, course.prompts(part))
            course.states(course.target.model_of(gated(gate)), part)
            needs.append(torch.stack(gate.needs).cpu())
            kept.append(torch.stack(gate.kept[1:-1]).cpu())
        return torch.cat(needs, -1), torch.cat(kept, -1)

    def _trained_lora(
        self, recovery: Recovery, layers: Tensor | Routers, run: Run,
        say: Callable[[str, float], None],
    ) -> tuple[Tensors, dict[str, Any]]:  # fmt: skip
        course, sizes = self._course, self._sizes
        target = course.target
        begun = LoRA.begun(
            target.every_layer, recovery.rank, recovery.alpha, recovery.matrices, _SEED
        )
        lora = LoRA(
            begun.scale, {name: value.to(course.device) for name, value in begun.weights.items()}
        )

        def model(rows: Tensor) -> Any:
            gate = self._gate(layers, rows)
            return target.model_of(
                lambda every: [
                    Gated(lora.beside(layer, i), i, gate) for i, layer in enumerate(every)
                ]
            )

        def lost() -> float:
            parts = torch.split(course.held_out, sizes.batch)
            with torch.no_grad():
                losses = [float(course.apart(model(part), part)) * len(part) for part in parts]
            return sum(losses) / len(course.held_out)

        run.state.setdefault("before", lost())
        train(
            lora.weights, lambda rows, over: course.apart(model(rows), rows),
            lines=course.learnt, batch=sizes.batch, steps=sizes.steps, rate=_LORA_RATE,
            seed=_SEED, run=run,
            say=lambda step, steps, recent: say(
                f"step {step} of {steps}, {recent:.3f} nats", step / steps
            ),
        )  # fmt: skip
        weights = {name: value.cpu() for name, value in lora.weights.items()}
        return weights, {"before": run.state["before"], "after": lost()}

    def _gate(self, layers: Tensor | Routers, rows: Tensor) -> Choose:
        """What is left out while lines [b] are read."""
        course = self._course
        if isinstance(layers, Routers):
            layers = layers.on(course.device)
            return Deciding(layers, course.target.layers, 0.5, course.prompts(rows))
        table = layers[0]
        always, ever = table.all(0).tolist(), table.any(0).tolist()
        fed = course.fed(rows, len(table) - 1)
        runs = table.to(course.device)[fed]
        return lambda layer, _: (
            runs[..., layer : layer + 1]
            if (ever[layer] and not always[layer])
            else bool(ever[layer])
        )

    def _learnt(
        self,
        what: str,
        told: Mapping[str, Any],
        learn: Callable[[Run, Callable[[str, float], None]], tuple[Tensors, dict[str, Any]]],
    ) -> Artefact:
        """The artefact of what is told, learnt unless it is there."""
        everything = [_VERSION, dict(told), self._identity]
        key = xxhash.xxh3_128_hexdigest(json.dumps(everything, sort_keys=True).encode())
        if key not in self._known:
            kept = self._artefacts.load(key, "learnt")
            if kept is None:
                begun = self._folder / "unfinished" / key
                run = Run(begun, every_s=_SAVE_EVERY_S)
                with torch.inference_mode(False), torch.enable_grad():
                    tensors, facts = learn(
                        run, lambda phase, share: self.report(f"{what}: {phase}", share)
                    )
                self._artefacts.save(key, {"learnt": tensors}, {**facts, "told": dict(told)})
                shutil.rmtree(begun, ignore_errors=True)
                kept = Artefact({"learnt": tensors}, facts)
            self._known[key] = kept
        return self._known[key]
