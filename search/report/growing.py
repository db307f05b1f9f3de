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
    """What the front dominates, counted from no speed at all and twice plain decoding's loss.

    Raises BadInput before plain decoding is finished.
    """
    info = store.study(study)
    plain = next(iter(store.trials(study, {0})), None)
    if plain is None or plain.state != "done":
        raise BadInput(f"study {study!r} has no plain decoding to refer to yet: search first.")
    corner = {
        objective.name: 0.0 if objective.higher else 2 * plain.quantities[objective.name].value
        for objective in info.objectives
    }
    return Growth(corner, tuple(store.history(study, corner)))
