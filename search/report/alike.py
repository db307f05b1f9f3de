"""What behaves alike: the classes that functional hashing merged, and what that saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paretoken.cache.overview import Merged
from paretoken.spaces.records import Trial

_ANSWERS = ("canonical", "law")  # levels that answer instead of a measurement


@dataclass(frozen=True)
class Alike:
    """Different settings of one study that do the same.

    aspect: "quality" or "speed". members: trials of different candidates, the first proposed first.
    proposals: trials of the class, repeats included. observations: that its numbers rest on.
    seconds: what its answers would have cost. split: whether a disagreement made it.
    """

    aspect: str
    members: tuple[Trial, ...]
    proposals: int
    observations: int
    seconds: float
    split: bool


def alike(classes: Sequence[Merged], trials: Sequence[Trial]) -> list[Alike]:
    """The classes with two candidates or more, the largest first."""
    numbered: Mapping[int, Trial] = {trial.number: trial for trial in trials}
    found = []
    for one in classes:
        members = [numbered[number] for number in one.numbers if number in numbered]
        first: dict[str, Trial] = {}
        for trial in members:
            first.setdefault(trial.candidate_id, trial)
        if len(first) < 2:
            continue
        answered = sum(trial.origin.get(one.aspect) in _ANSWERS for trial in members)
        found.append(
            Alike(
                one.aspect,
                tuple(first.values()),
                len(members),
                one.count,
                answered * one.seconds,
                one.split > 0,
            )
        )
    return sorted(found, key=lambda each: (-len(each.members), each.aspect))


@dataclass(frozen=True)
class Level:
    """How many qualities and speeds one level of the fingerprint answered; see `accounting`."""

    name: str
    does: str
    quality: int
    speed: int


def levels(trials: Sequence[Trial]) -> list[Level]:
    """Where the numbers of the finished trials came from, the cheapest answer first."""
    told = (
        ("canonical", "settings that say the same, merged before anything ran"),
        ("law", "equal laws of the emitted tokens, found before generating"),
        ("transcript", "equal tokens, found after generating: the metric was spared"),
        ("measured", "measured for itself"),
    )
    done = [trial for trial in trials if trial.state == "done"]

    def count(aspect: str, level: str) -> int:
        return sum(trial.origin.get(aspect) == level for trial in done)

    return [Level(name, does, count("quality", name), count("speed", name)) for name, does in told]
