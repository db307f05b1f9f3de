"""All that the page shows of a study, read from the store at one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paretoken.cache.store import Store
from paretoken.search.accounting import Account, account
from paretoken.search.report.alike import Alike, Level, alike, levels
from paretoken.search.report.groups import Group, groups, without_loss
from paretoken.search.report.importance import Importances, importances
from paretoken.search.report.results import Results, judge
from paretoken.search.report.samples import Sheet, sheets
from paretoken.spaces.records import Disagreement, Trial


@dataclass(frozen=True)
class View:
    """A study as the page tells it.

    results: of the device that is looked at. everyone: of all devices, each candidate once a
    device. trials: all of them, repeats included. revision: of the store, before it was read.
    """

    results: Results
    everyone: tuple[Trial, ...]
    trials: tuple[Trial, ...]
    groups: tuple[Group, ...]
    account: Account
    levels: tuple[Level, ...]
    alike: tuple[Alike, ...]
    disagreements: tuple[Disagreement, ...]
    importances: Importances | None
    sheets: dict[int, Sheet]
    revision: str

    @property
    def pending(self) -> int:
        """How many trials have not ended: measured now, or left by a killed search."""
        return sum(trial.state == "pending" for trial in self.trials)

    @property
    def plain(self) -> Trial | None:
        """Plain decoding, if it was measured."""
        return next((trial for trial in self.results.done if trial.number == 0), None)

    @property
    def best(self) -> Trial | None:
        """The fastest candidate that loses nothing; see `groups.without_loss`."""
        return without_loss(self.results)


def look(store: Store, study: str, objectives: str = "", device: str = "") -> View:
    """Read a study. objectives, device: as in `results.read`."""
    revision = store.revision(study)
    info, trials = store.study(study), store.trials(study)
    results = judge(info, trials, objectives, device)
    disagreements = store.disagreements(study)
    return View(
        results=results,
        everyone=_everyone(results, trials),
        trials=tuple(trials),
        groups=tuple(groups(info, trials, objectives)),
        account=account(trials, disagreements),
        levels=tuple(levels(trials)),
        alike=tuple(alike(store.merged(study), trials)),
        disagreements=tuple(disagreements),
        importances=importances(results),
        sheets=sheets(store, results),
        revision=revision,
    )


def _everyone(results: Results, trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """The trials of the results, and of those timed elsewhere each candidate once a device."""
    found = {trial.number: trial for trial in results.trials}
    known = {(t.candidate_id, t.environment.device) for t in results.trials if t.environment}
    for trial in trials:
        if trial.state == "done" and trial.environment is not None:
            place = (trial.candidate_id, trial.environment.device)
            if place not in known:
                known.add(place)
                found[trial.number] = trial
    return tuple(found[number] for number in sorted(found))
