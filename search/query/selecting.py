"""From what the user wrote to a condition on a study's trials, and what to say when none fits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from paretoken.cache.condition import (
    Compare,
    Condition,
    Every,
    Missing,
    Not,
    Number,
    Operand,
    Setting,
    Some,
    every,
)
from paretoken.cache.filtering import UNKNOWN_GAP
from paretoken.cache.store import Store
from paretoken.search.query.budget import budget
from paretoken.search.query.grammar import parse
from paretoken.search.query.naming import Names, bind
from paretoken.search.query.tokens import Source
from paretoken.spaces.errors import BadInput, ParetokenError
from paretoken.spaces.records import Trial

_Gaps = Iterator[tuple[float, float]]


class NothingMatches(ParetokenError, LookupError):
    """The condition is well formed, but no finished trial meets it."""


@dataclass(frozen=True)
class Filter:
    """Whom the user wants to look at: see the package. budgets: each as `--budget`."""

    where: str = ""
    budgets: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """The condition as it was written."""
        return " and ".join(repr(text) for text in (self.where.strip(), *self.budgets) if text)

    def condition(self, store: Store, study: str, device: str) -> Condition | None:
        """The same for the database. device: as in `Store.best`."""
        return condition(store, study, self.where, self.budgets, device)

    def note(self, count: int | None = None) -> str:
        """Who is compared."""
        if count == 1:
            return f"only one candidate has {self.said}: it is compared with no other"
        some = "only candidates" if count is None else f"only the {count:,} candidates"
        return f"{some} with {self.said} are compared, and with each other only"


EVERYBODY = Filter()


def condition(
    store: Store, study: str, where: str = "", budgets: Sequence[str] = (), device: str = ""
) -> Condition | None:
    """What trials have to fit; None for all. device: another kind than plain decoding's, or "".

    Raises BadInput, with the column, for what cannot be read or is not known.
    """
    # A sentence that cannot be read is refused before anything is looked up.
    root = parse(Source(where)) if where.strip() else None
    if root is None and not budgets:
        return None
    names = Names(store.numbers(study), lambda: store.settings(study))
    if not names.numbers:
        raise NothingMatches(
            f"nothing to choose from: {store.study(study).baseline}, number 0, is not finished yet."
        )
    wanted = None if root is None else bind(Source(where), root, names)
    if budgets and device:
        raise BadInput(
            f"--budget compares with number 0, which was not timed on {device!r}: leave out "
            "--device, or give the numbers themselves with --where."
        )
    plain = next(iter(store.trials(study, {0})), None) if budgets else None
    quantities = plain.quantities if plain else {}
    return every(wanted, *(budget(text, names, quantities) for text in budgets))


def nothing_fits(
    store: Store, study: str, wanted: Condition | None, said: str, device: str = ""
) -> NothingMatches:
    """The error where no trial fits, telling how near the nearest came. said: the condition."""
    size = len(store.matching(study, None, device))
    near = store.nearest(study, wanted, device) if size and wanted is not None else None
    if wanted is None or near is None:
        return NothingMatches("nothing to choose from: the study has no finished trial yet.")
    (trial,) = (t for t in store.trials(study, {0, near.number}) if t.number == near.number)
    _, misses = _shortfall(wanted, iter(near.gaps), trial, wanted=True)
    return NothingMatches(
        f"none of the {size} finished candidates meets {said}; the nearest is number "
        f"{near.number}: {', '.join(misses)}."
    )


def _shortfall(
    node: Condition, gaps: _Gaps, trial: Trial, *, wanted: bool
) -> tuple[float, list[str]]:
    """The gap of a condition, put together as `filtering.shortfall` does, and what is missed."""
    match node:
        case Compare():
            gap = next(gaps)[not wanted]
            return gap, [_missed(node, trial, gap, wanted)] if gap else []
        case Not(part):
            return _shortfall(part, gaps, trial, wanted=not wanted)
        case Every(parts) | Some(parts):
            each = [_shortfall(part, gaps, trial, wanted=wanted) for part in parts]
            if isinstance(node, Every) == wanted:
                return sum(gap for gap, _ in each), [text for _, texts in each for text in texts]
            return min(each, key=lambda one: one[0])


def _missed(leaf: Compare, trial: Trial, gap: float, wanted: bool) -> str:
    if gap >= UNKNOWN_GAP:
        unknown = [s for s in (leaf.left, leaf.right) if isinstance(s, Number | Setting)]
        absent = [side for side in unknown if _value(side, trial) is None] or unknown[:1]
        return f"{absent[0] if absent else leaf.left} is not known"
    negation = "" if wanted else "not "
    return f"{_told(leaf.left, trial)} (wanted {negation}{leaf.sign} {_told(leaf.right, trial)})"


def _told(side: Operand, trial: Trial) -> str:
    """A value in words, a name with its value: "fid = 63.1"."""
    if isinstance(side, Number | Setting):
        found = _value(side, trial)
        return str(side) if found is None else f"{side} = {_plain(found)}"
    return side.value if isinstance(side, Missing) else _plain(side)


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _value(side: Number | Setting, trial: Trial) -> Any:
    if isinstance(side, Number):
        found = trial.quantities.get(side.name)
        return found.value if found and math.isfinite(found.value) else None
    node: Any = trial.tree
    for key in side.path:
        node = node.get(key) if isinstance(node, dict) else None
    if isinstance(node, dict):
        node = node.get("is")
        return None if node is None else str(node).rpartition("/")[2]
    return node
