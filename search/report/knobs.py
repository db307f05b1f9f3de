"""Settings as columns: each path of the settings' trees with the values that trials have there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paretoken.spaces.records import Trial

Plain = str | int | float | bool | None


@dataclass(frozen=True)
class Knob:
    """One path of the settings. levels: all its values, numbers ascending, then others by name."""

    path: str
    levels: tuple[Plain, ...]

    @property
    def numeric(self) -> bool:
        """Whether all levels are numbers."""
        return all(isinstance(v, int | float) and not isinstance(v, bool) for v in self.levels)

    @property
    def whole(self) -> bool:
        """Whether all levels are whole numbers."""
        return self.numeric and all(isinstance(value, int) for value in self.levels)

    @property
    def varies(self) -> bool:
        """Whether there are two levels or more."""
        return len(self.levels) > 1


def flat(tree: Mapping[str, Any], path: str = "") -> dict[str, Plain]:
    """A candidate's settings by path: a part's is its plug-in's name, a list is its JSON.

    {"decoder.drafter": "jacobi", "decoder.drafter.window": 16, …}
    """
    found: dict[str, Plain] = {}
    for key, value in tree.items():
        where = f"{path}.{key}" if path else key
        if key == "is":
            found[path] = str(value).rpartition("/")[2]
        elif isinstance(value, Mapping):
            found |= flat(value, where)
        elif value is None or isinstance(value, str | int | float):
            found[where] = value
        else:
            found[where] = json.dumps(value)
    return found


def knobs(trials: Iterable[Trial]) -> list[Knob]:
    """Every path that one of the trials has, by name; what varies and what does not."""
    levels: dict[str, dict[tuple[str, Plain], Plain]] = {}
    for trial in trials:
        for path, value in flat(trial.tree).items():
            levels.setdefault(path, {})[type(value).__name__, value] = value
    return [Knob(path, _sorted(list(levels[path].values()))) for path in sorted(levels)]


def short(paths: Sequence[str]) -> dict[str, str]:
    """Each path by the shortest ending that is no other's: "window" for "decoder.window"."""
    found = {}
    for path in paths:
        names = path.split(".")
        endings = (".".join(names[-length:]) for length in range(1, len(names) + 1))
        found[path] = next(
            ending
            for ending in endings
            if ending == path
            or not any(o != path and (o == ending or o.endswith(f".{ending}")) for o in paths)
        )
    return found


def _sorted(values: list[Plain]) -> tuple[Plain, ...]:
    def order(value: Plain) -> tuple[bool, float, str]:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return (not number, float(value) if number else 0.0, str(value))  # type: ignore[arg-type]

    return tuple(sorted(values, key=order))
