"""Trying one candidate: measured, stopped at a rung, or failed; stored either way, and told."""

from __future__ import annotations

from paretoken.cache.digest import candidate_id
from paretoken.cache.store import Store
from paretoken.search.asking import Found
from paretoken.search.failures import LETHAL, Failed, NodeLost, failure_of
from paretoken.search.measuring import Measurer
from paretoken.search.rungs import Climb
from paretoken.search.running import Running
from paretoken.spaces.errors import MeasurementFailed, ParetokenError
from paretoken.spaces.records import Failure, Trial
from paretoken.spaces.settings import Tree
from paretoken.spaces.workload import Report

_MOST_ATTEMPTS = 3  # of one trial, where the machines it is measured on go away


class Trying:
    """Tries candidates of one study; several threads may call it at once."""

    def __init__(self, store: Store, study: Running, measurer: Measurer) -> None:
        self._store, self._study, self._measurer = store, study, measurer
        self._name, self._climb = study.info.name, Climb(store, study.info)

    def known(self, trial: Trial) -> None:
        """A finished trial of an earlier call: what killed its worker kills no other one."""
        self._study.known(trial)
        if trial.failure is not None:
            self._bar(trial.number, trial.candidate_id, trial.failure)

    def __call__(self, number: int, tree: Tree, resumed: bool = False) -> Trial:
        """Measure a proposed candidate; resumed: it was begun before.

        Raises BadInput and Unreadable, which are no fault of the candidate, and MeasurementFailed
        for number 0, to which everything is compared.
        """
        candidate = candidate_id(tree)
        say = self._study.saying(number)
        try:
            found = self._measured(number, tree, resumed, say)
            if found is None:
                self._store.stop(self._name, number)
            else:
                self._store.finish(
                    self._name, number, found["quality"].id, found["speed"].id,
                    {aspect: how.origin for aspect, how in found.items()},
                )  # fmt: skip
        except Exception as error:  # anything may go wrong inside somebody's plug-in
            if isinstance(error, ParetokenError) and not isinstance(error, MeasurementFailed):
                raise
            failure = failure_of(error)
            self._store.fail(self._name, number, failure)
            self._bar(number, candidate, failure)
            if number == 0:
                raise MeasurementFailed(
                    failure.reason,
                    f"{self._study.info.baseline} could not be measured, so nothing can be "
                    f"compared: {failure.detail}",
                ) from error
        return self._study.ended(number)

    def _measured(
        self, number: int, tree: Tree, resumed: bool, say: Report
    ) -> dict[str, Found] | None:
        """What both aspects are, by aspect; None where the trial is stopped at a rung."""
        for attempt in range(1, _MOST_ATTEMPTS + 1):
            try:
                asked = self._measurer.ask(number, tree, resumed or attempt > 1, say)
                if not self._climb(number, asked):
                    return None
                quality = asked.find("quality", self._measurer.samples)
                return {"quality": quality, "speed": asked.find("speed")}
            except NodeLost as error:
                lost = error.failure
                say(f"its machine is lost ({attempt} of {_MOST_ATTEMPTS} attempts)", 0.0)
        detail = f"on {_MOST_ATTEMPTS} machines, one after the other: {lost.detail}"
        raise Failed(Failure(lost.reason, detail, lost.traceback))

    def _bar(self, number: int, candidate: str, failure: Failure) -> None:
        if failure.reason in LETHAL:
            again = f"not tried again, for it ended so as trial {number}: {failure.detail}"
            self._measurer.bar(candidate, Failure(failure.reason, again, failure.traceback))
