"""How numbers and settings are written for people, the same on the terminal and on the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from paretoken.spaces.records import Quantity, Trial
from paretoken.spaces.settings import summary

# Short headings for the quantities everybody meets; others go by their own name.
HEADINGS = {
    "speedup": "speed-up",
    "images_per_s": "images/s",
    "tokens_per_s": "tokens/s",
    "suggestions_per_s": "suggestions/s",
    "tokens_per_forward": "tokens/forward",
    "nll": "NLL",
    "target_forwards": "forwards",
    "acceptance_rate": "accepted",
    "step_compression": "compression",
    "fid": "FID",
    "kid": "KID",
    "isc": "ISC",
}
_WORK = (
    "target_forwards", "fed_tokens", "acceptance_rate", "step_compression", "tokens_per_forward",
)  # fmt: skip
_FIRST = ("speedup", "images_per_s", "target_forwards", "tokens_per_forward", "acceptance_rate")
_ALSO = (
    "fid", "kid", "agreement", "repetition", "task_score", "precision_at_k", "self_bleu",
)  # fmt: skip


def number(value: float, spread: float = 0.0) -> str:
    """The value with the digits its spread supports, or four of its own where there is none.

    Of the spread one digit is written, two where it begins with 1 (Particle Data Group's habit).
    """
    if not math.isfinite(value):
        return str(value)
    if spread > 0 and math.isfinite(spread):
        power = math.floor(math.log10(spread))
        digits = min(7, max(0, -power + (spread < 2 * 10**power)))
        return f"{value:.{digits}f} ± {spread:.{digits}f}"
    if float(value).is_integer() and abs(value) < 1e9:
        return str(int(value))
    return _digits(value, 4)


def _digits(value: float, count: int) -> str:
    """The value with so many significant digits, never in scientific notation."""
    power = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{min(7, max(0, count - 1 - power))}f}"


def quantity(trial: Trial, name: str, *, spread: bool = True) -> str:
    """The trial's number of that name; a dash where it has none. Work is told without spread."""
    found: Quantity | None = trial.quantities.get(name)
    if found is None:
        return "-"
    if name in _WORK:
        return _digits(found.value, 3)
    return number(found.value, found.spread) if spread else number(found.value)


def at_last_rung(trial: Trial) -> Trial:
    """A stopped trial, to be shown with the quality of its last rung; see `stopped`."""
    return replace(trial, quantities={**trial.quantities, **trial.rungs[-1].quantities})


def stopped(trial: Trial) -> str:
    """Where a trial was stopped: its numbers compare with none of other numbers of samples."""
    return f"stopped at N = {trial.rungs[-1].samples}"


def heading(name: str) -> str:
    """The column heading of a quantity."""
    return HEADINGS.get(name, name)


def columns(trials: Sequence[Trial], objectives: Sequence[str]) -> list[str]:
    """The quantities worth a column, in order: speed, work, then quality; those measured at all."""
    speeds = [name for name in objectives if name.endswith("_per_s")]
    wanted = [_FIRST[0], *speeds, *_FIRST[1 if not speeds else 2 :], *objectives, *_ALSO]
    known = {name for trial in trials for name in trial.quantities}
    return [name for name in dict.fromkeys(wanted) if name in known]


def reused(trial: Trial) -> str:
    """Which aspects were answered from the store instead of being measured: "quality", …"""
    answered = (aspect for aspect, how in sorted(trial.origin.items()) if how != "measured")
    return " + ".join(answered)


def confirmed(trial: Trial) -> bool:
    """Whether all of its numbers rest on observations made after it was chosen for the front."""
    return bool(trial.fresh) and all(trial.fresh.values())


def brief(trials: Sequence[Trial]) -> tuple[list[str], str]:
    """One line for each trial, without what is the same in all of them; and what that is."""
    leaves: dict[tuple[str, str], set[str]] = {}
    for trial in trials:
        for key, value in _leaves(trial.tree):
            leaves.setdefault(key, set()).add(repr(value))
    alike = {key for key, values in leaves.items() if len(values) == 1 and len(trials) > 1}
    lines = [summary(_without(trial.tree, alike)) or "(as all)" for trial in trials]
    shared = {
        path.split(".", 1)[-1]: value
        for trial in trials
        for (path, owner), value in _leaves(trial.tree)
        if (path, owner) in alike
    }
    return lines, ", ".join(f"{path}={value}" for path, value in sorted(shared.items()))


def _leaves(tree: Mapping[str, Any], path: str = "") -> Iterable[tuple[tuple[str, str], Any]]:
    """Each plain value with its path and the tag of the component that owns it."""
    for key, value in tree.items():
        where = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            yield from _leaves(value, where)
        elif key != "is":
            yield (where, str(tree.get("is", ""))), value


def _without(
    tree: Mapping[str, Any], dropped: set[tuple[str, str]], path: str = ""
) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in tree.items():
        where = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            kept[key] = _without(value, dropped, where)
        elif (where, str(tree.get("is", ""))) not in dropped:
            kept[key] = value
    return kept
