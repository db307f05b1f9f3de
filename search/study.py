"""A stored study as an object, and what it found as pandas frames.

    study = search("fashion", "first", space="fashion-small", samples=250, trials=5)
    study.front()                                    # a frame, fastest first
    study.best(budget="fid<=+2%")                    # a row of it
    study.export("tuned.json", where="speedup >= 1.2")

    with Study.open("sqlite:///paretoken.db", "first") as study: ...

Conditions, budgets and errors are those of the command line (`paretoken.search.query`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from paretoken.cache.store import Store
from paretoken.search import frames
from paretoken.search.query.selecting import Filter
from paretoken.search.report import choice
from paretoken.search.report.comparing import compare
from paretoken.search.report.growing import growth
from paretoken.search.report.results import Results, read
from paretoken.spaces.records import StudyInfo

if TYPE_CHECKING:
    from pandas import DataFrame, Series
DEFAULT_STORE = "sqlite:///paretoken.db"
Budgets = str | Sequence[str]


class Study:
    """A stored study; close it, or use it in a `with`.

    Every call reads what the store holds at that moment, so a study may be watched while it is
    searched. where: a condition; budget: one bound or several on the change from plain decoding;
    device: a part of the name of the kind that is compared, by default the one most was timed on.
    Each raises BadInput for what cannot be, NothingMatches where no candidate fits.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store, self.name = store, name
        store.study(name)  # raises UnknownName now, not at the first question

    @classmethod
    def open(cls, url: str = DEFAULT_STORE, name: str = "") -> Study:
        """The study of that name in the store at `url`; no name is needed for the only one.

        Raises Unreadable where there is no store, UnknownName where there is no such study.
        """
        store = Store.open(url, create=False)
        try:
            known = [info.name for info, _ in store.studies()]
            return cls(store, name or (known[0] if len(known) == 1 else ""))
        except BaseException:
            store.close()
            raise

    def __enter__(self) -> Study:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()

    @property
    def info(self) -> StudyInfo:
        """What the study was started with."""
        return self._store.study(self.name)

    def trials(self, where: str = "", budget: Budgets = (), device: str = "") -> DataFrame:
        """All trials by number, failed and stopped ones too, or the finished ones that fit.

        Columns: see `frames.trials_frame`.
        """
        results = self._read(where, budget, device)
        return frames.trials_frame(results, results.trials)

    def front(
        self, where: str = "", budget: Budgets = (), objectives: str = "", device: str = ""
    ) -> DataFrame:
        """The front (of those that fit), fastest first. objectives: "fid,images_per_s", say."""
        results = self._read(where, budget, device, objectives, front_only=True)
        return frames.trials_frame(results, results.fastest_first(results.front))

    def best(
        self,
        where: str = "",
        *,
        maximize: str = "",
        minimize: str = "",
        budget: Budgets = (),
        knee: bool = False,
        device: str = "",
    ) -> Series[Any]:
        """The one candidate to take, a row of `front`: by default the fastest that fits."""
        wish = choice.Wish(_filter(where, budget), maximize, minimize, knee)
        trial, results = choice.best(self._store, self.name, wish, device)
        return frames.trials_frame(results, [trial]).iloc[0]

    def history(self) -> DataFrame:
        """The hypervolume after each finished trial, over evaluations and seconds.

        Its reference point is in the frame's `attrs`.
        """
        grown = growth(self._store, self.name)
        frame = frames.history_frame(grown.moments)
        frame.attrs["reference"] = grown.reference
        return frame

    def compare(self, a: int | str, b: int | str) -> DataFrame:
        """Every quantity of two finished trials, by number or candidate id, with b - a.

        In the frame's `attrs`: "settings" that differ, and whether they are "alike" in behaviour.
        """
        found = compare(self._store, self.name, str(a), str(b))
        frame = frames.comparison_frame(found)
        frame.attrs.update(settings=dict(found.settings), alike=dict(found.alike))
        return frame

    def export(
        self,
        out: str | Path | None = None,
        *,
        to: str = "json",
        candidate: str = "",
        where: str = "",
        maximize: str = "",
        minimize: str = "",
        budget: Budgets = (),
        knee: bool = False,
        by_batch: bool = False,
        allow_unverified: bool = False,
        check: bool = False,
        force: bool = False,
        device: str = "",
    ) -> Path:
        """Write one candidate's settings for an engine; returns the file or folder.

        Raises Refused, with every reason, where the engine cannot express it.
        """
        from paretoken.search.exporting.handing_out import HandingOut, check_choice

        check_choice(candidate, (where, budget, maximize, minimize, knee))
        if candidate:
            results = read(self._store, self.name, device=device)
            trial = choice.by_id(results, candidate)
        else:
            wish = choice.Wish(_filter(where, budget), maximize, minimize, knee)
            trial, results = choice.best(self._store, self.name, wish, device)
            if by_batch and results.size:  # the table is made of all that was measured
                results = read(self._store, self.name, device=device)
        handing = HandingOut(self._store, results, to, by_batch, allow_unverified)
        artefact = handing.express(trial)
        if check:
            handing.check(artefact)
        return handing.write(artefact, trial, None if out is None else Path(out), force)

    def _read(
        self,
        where: str,
        budget: Budgets,
        device: str,
        objectives: str = "",
        *,
        front_only: bool = False,
    ) -> Results:
        return read(
            self._store, self.name, objectives, front_only=front_only, device=device,
            wanted=_filter(where, budget),
        )  # fmt: skip


def front(study: str, *, store: str = DEFAULT_STORE, **asked: Any) -> DataFrame:
    """The front of a stored study; asked: as in `Study.front`."""
    with Study.open(store, study) as opened:
        return opened.front(**asked)


def best(study: str, *, store: str = DEFAULT_STORE, **asked: Any) -> Series[Any]:
    """The best candidate of a stored study; asked: as in `Study.best`."""
    with Study.open(store, study) as opened:
        return opened.best(**asked)


def export(
    study: str, out: str | Path | None = None, *, store: str = DEFAULT_STORE, **asked: Any
) -> Path:
    """Write a candidate of a stored study for an engine; asked: as in `Study.export`."""
    with Study.open(store, study) as opened:
        return opened.export(out, **asked)


def _filter(where: str, budget: Budgets) -> Filter:
    return Filter(where, (budget,) if isinstance(budget, str) and budget else tuple(budget))
