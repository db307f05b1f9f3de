"""How the front of a study grew, from a corner that every study has."""

from __future__ import annotations

from dataclasses import dataclass

from paretoken.cache.history import Moment
from paretoken.cache.store import Store
from paretoken.spaces.errors import BadInput


@dataclass(frozen=True)
class Growth:
    """The hypervolume after each finished trial. reference: its corner, by objective."""

    reference: dict[str, float]
    moments: tuple[Moment, ...]

    def steps(self) -> list[Moment]:
        """Only the trials after which the volume was another."""
        before = [None, *(moment.volume for moment in self.moments)]
        return [at for at, last in zip(self.moments, before, strict=False) if at.volume != last]


def growth(store: Store, study: str) -> Growth:
    """What the front dominates, counted from no speed at all and number 0's loss and as much again.

    The volume is that of the study's first two objectives. Raises BadInput before number 0 is
    finished.
    """
    info = store.study(study)
    plain = next(iter(store.trials(study, {0})), None)
    if plain is None or plain.state != "done":
        raise BadInput(
            f"number 0 of study {study!r}, {info.baseline}, is not finished: there is "
            "nothing to refer to yet; search first."
        )
    values = {one.name: plain.quantities[one.name].value for one in info.objectives[:2]}
    corner = {
        one.name: 0.0 if one.higher else values[one.name] + abs(values[one.name])
        for one in info.objectives[:2]
    }
    return Growth(corner, tuple(store.history(study, corner)))
