"""Teaching a model to go without layers: routers, and LoRA for what they or a table leave out.

Both learn to stay near the whole model's laws on its own answers. Routers learn with layers mixed
in by how much they are needed, and for the second half with decisions as decoding makes them, the
least needed of a batch being left out.
Source: Jain et al., "FiRST" (Findings of EMNLP 2025, arXiv:2410.12513), whose two stages these are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from paretoken.evaluators.models.gated_layer import Choose, Gated, gated
from paretoken.evaluators.models.lora import LoRA
from paretoken.evaluators.resumable import Run
from paretoken.evaluators.shortening.course import Course
from paretoken.evaluators.shortening.routers import Deciding, Routers, Soft
from paretoken.evaluators.shortening.training import train
from paretoken.evaluators.training.artefacts import Tensors

# Routers: what an inner layer too many or too few, as a share, squared, weighs against a nat; and
# what indecision does, the paper's lambda. Rates of learning, of routers and of LoRA.
_BUDGET, _DECIDED = 100.0, 0.01
_ROUTER_RATE, _LORA_RATE = 0.02, 2e-3
_SETTLED = 4  # passes in which the offset of routers comes to rest: decisions depend on each other
_SEED = 0

Say = Callable[[str, float], None]  # what happens, and the share of it that is done


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


def trained_routers(
    course: Course, sizes: Sizes, skipped: float, run: Run, say: Say
) -> tuple[Tensors, dict[str, Any]]:
    """Routers that leave out a share of the inner layers, and what is to be known of them."""
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
    routers, share = _on_budget(course, sizes, routers, skipped)
    kept = {name: value.cpu() for name, value in routers.weights.items()}
    (_, runs), hard = decided(course, routers, course.held_out), 0.0
    parts = torch.split(course.held_out, sizes.batch)
    for part in parts:
        gate = Deciding(routers, layers, 0.5, course.prompts(part))
        with torch.no_grad():
            lost = course.apart(target.model_of(gated(gate)), part)
        hard += float(lost) * len(part) / len(course.held_out)
    facts = {
        "offset": routers.offset,
        "skipped": share,
        "held_out_skipped": 1.0 - float(runs.float().mean()),
        "held_out_nats": hard,
    }
    return kept, facts


@torch.no_grad()
def _on_budget(
    course: Course, sizes: Sizes, routers: Routers, skipped: float
) -> tuple[Routers, float]:
    """Routers with the offset at which the wanted share is left out, or nearly; that share."""
    best, off, share = routers, 2.0, 0.0
    for _ in range(_SETTLED):
        needs, kept = decided(course, routers, course.learnt[: max(8, sizes.calibration)])
        found = 1.0 - float(kept.float().mean())
        if abs(found - skipped) < off:
            best, off, share = routers, abs(found - skipped), found
        order = needs.flatten().sort().values
        out = min(round(skipped * len(order)), len(order) - 1)
        # Halfway between the last that is left out and the first that runs.
        edge = order[out] if out == 0 else (order[out - 1] + order[out]) / 2
        routers = replace(routers, offset=float(edge))
    return best, share


@torch.no_grad()
def decided(course: Course, routers: Routers, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of need and decisions, both [L - 2, n], on the prompts of lines `rows` [n]."""
    needs, kept = [], []
    for part in torch.split(rows, 8 if course.device.type == "cpu" else 64):
        gate = Deciding(routers, course.target.layers, 0.5, course.prompts(part))
        course.states(course.target.model_of(gated(gate)), part)
        needs.append(torch.stack(gate.needs).cpu())
        kept.append(torch.stack(gate.kept[1:-1]).cpu())
    return torch.cat(needs, -1), torch.cat(kept, -1)


def trained_lora(
    course: Course,
    sizes: Sizes,
    recovery: Recovery,
    layers: Tensor | Routers,
    run: Run,
    say: Say,
) -> tuple[Tensors, dict[str, Any]]:
    """LoRA that makes up for what a table [1, 1 + N, L] or routers leave out, and what the model
    loses on answers that were held out, before and after, in nats a token."""
    target = course.target
    begun = LoRA.begun(target.every_layer, recovery.rank, recovery.alpha, recovery.matrices, _SEED)
    lora = LoRA(
        begun.scale, {name: value.to(course.device) for name, value in begun.weights.items()}
    )

    def model(rows: Tensor) -> Any:
        gate = _gate(course, layers, rows)
        return target.model_of(
            lambda every: [Gated(lora.beside(layer, i), i, gate) for i, layer in enumerate(every)]
        )

    def lost() -> float:
        parts = torch.split(course.held_out, sizes.batch)
        with torch.no_grad():
            losses = [float(course.apart(model(part), part)) * len(part) for part in parts]
        return sum(losses) / len(course.held_out)

    if "before" not in run.state:
        run.state["before"] = lost()
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


def _gate(course: Course, layers: Tensor | Routers, rows: Tensor) -> Choose:
    """What is left out while lines [b] are read."""
    if isinstance(layers, Routers):
        layers = layers.on(course.device)
        return Deciding(layers, course.target.layers, 0.5, course.prompts(rows))
    table = layers[0]
    always, ever = table.all(0).tolist(), table.any(0).tolist()
    fed = course.fed(rows, len(table) - 1)
    runs = table.to(course.device)[fed]
    return lambda layer, _: (
        runs[..., layer : layer + 1] if (ever[layer] and not always[layer]) else bool(ever[layer])
    )
