"""Sets of layers to go without, the same for every prompt: by a rule, or calibrated.

`greedy` drops the layer without which the model's laws on its own answers change least, then the
one that is missed least besides, and so on. `bayesian` draws whole sets of the wanted size by a
tree of Parzen estimators, beginning with those of the rules. The first and the last layer stay.
Source: Zhang et al., "Draft & Verify" (ACL 2024, arXiv:2309.08168), whose search is over halves of
layers and their number, for speed; here the number is a knob, and what is lost is minimised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna

BY_RULE = ("evenly", "middle")
CALIBRATED = ("greedy", "bayesian")

# What a model loses that runs these layers; smaller is better.
Loss = Callable[[Sequence[bool]], float]


def set_of(target: Any, skipped: float, rule: str) -> tuple[bool, ...]:
    """Whether each layer of a target runs, where that share of the inner ones is left out."""
    layers = int(target.layers)
    count = round(skipped * max(0, layers - 2))
    if rule in BY_RULE or not count:
        return by_rule(layers, count, rule)
    found: tuple[bool, ...] = target.school().skip_set(rule, layers, count)
    return found


def by_rule(layers: int, count: int, rule: str) -> tuple[bool, ...]:
    """Whether each layer runs, `count` of the inner ones being left out: every so many-th
    ("evenly") or a block of them ("middle")."""
    inner = max(0, layers - 2)
    if rule == "middle":
        first = 1 + (inner - count) // 2
        out = set(range(first, first + count))
    else:  # the centres of `count` equal stretches
        out = {1 + (2 * i + 1) * inner // (2 * count) for i in range(count)}
    return tuple(i not in out for i in range(layers))


def next_dropped(layers: int, dropped: Sequence[int], loss: Loss) -> tuple[int, float]:
    """The inner layer that is missed least besides those dropped already, and what is lost then."""
    found = []
    for candidate in range(1, layers - 1):
        if candidate not in dropped:
            runs = [i not in dropped and i != candidate for i in range(layers)]
            found.append((loss(runs), candidate))
    lost, layer = min(found)
    return layer, lost


def bayesian(
    layers: int,
    count: int,
    loss: Loss,
    *,
    trials: int,
    seed: int,
    known: Mapping[str, float],
    tell: Callable[[str, float, int], None],
) -> tuple[tuple[bool, ...], float]:
    """The best set that was found, and what is lost with it.

    known: what was lost by sets tried before a run was stopped, by their zeros and ones;
    tell(set, lost, trials done) hears of every one that was tried.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(4, trials // 5))
    study = optuna.create_study(sampler=sampler)
    names = [f"{i}" for i in range(1, layers - 1)]
    for rule in BY_RULE:
        runs = by_rule(layers, count, rule)
        study.enqueue_trial({name: 0.25 if runs[int(name)] else 0.75 for name in names})
    losses = dict(known)

    def one(trial: optuna.Trial) -> float:
        wish = {int(name): trial.suggest_float(name, 0.0, 1.0) for name in names}
        out = sorted(wish, key=lambda i: (-wish[i], i))[:count]
        runs = [i not in out for i in range(layers)]
        written = "".join("01"[run] for run in runs)
        if written not in losses:
            losses[written] = loss(runs)
        tell(written, losses[written], trial.number + 1)
        return losses[written]

    study.optimize(one, n_trials=trials)
    best = min(losses, key=lambda written: (losses[written], written))
    return tuple(bit == "1" for bit in best), losses[best]
