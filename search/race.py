"""A race: many candidates are trained a little, and only the better ones in full.

Asynchronous successive halving (Li et al. 2018, arXiv:1810.05934) over optimizer steps. A rung is a
whole training with a share of the steps, one run: a schedule cut short before it falls would say
nothing about where it ends. It is a look at one number with one seed, so who is ahead is measured
in full afterwards like any other candidate; who is not is a record that says where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paretoken.cache.digest import candidate_id
from paretoken.cache.store import Store
from paretoken.search.algorithm import Algorithm
from paretoken.search.decisions import Decisions
from paretoken.search.running import Running
from paretoken.search.workers import Cluster
from paretoken.spaces.canonical import canonical_tree
from paretoken.spaces.errors import BadInput
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.records import Failure, StudyInfo, Trial

FACTOR = 3
# Shares of a candidate's steps at which it is looked at, in parts of the whole.
PARTS = (1, 3)
WHOLE = 9
OUTRACED = "outraced"


@dataclass(frozen=True)
class Raced:
    """Where an entrant stands: `parts` of WHOLE were the last that it was trained for.

    value: of the number that was raced by, there. ahead: whether it is to be measured in full.
    """

    number: int
    parts: int
    value: float
    ahead: bool


def check(info: StudyInfo) -> None:
    """Raise BadInput for a workload that trains nothing."""
    if KINDS["workloads"].load(info.workload).modality != "training":
        raise BadInput(
            f"--race is for workloads that train, and {info.workload} does not: leave it out, or "
            "judge by few samples first with --rungs."
        )


def shortened(tree: Mapping[str, Any], parts: int) -> dict[str, Any]:
    """A candidate's tree with that part of its steps."""
    return {**tree, "budget": tree["budget"] * parts / WHOLE}


def outraced(raced: Raced, by: str, of: Sequence[Raced]) -> Failure:
    """The record of an entrant that is not measured."""
    return Failure(
        OUTRACED,
        f"with {raced.parts}/{WHOLE} of its steps {by} was {raced.value:.4g} in one run, which was "
        f"not among the best 1/{FACTOR} seen by then ({len(of)} candidates raced, Ray Tune's ASHA)",
    )


def run(
    entrants: int,
    cluster: Cluster,
    info: StudyInfo,
    store: Store,
    study: Running,
    algorithm: Algorithm,
    decisions: Decisions,
) -> list[Trial]:
    """Race the first proposals of a study, as many as `entrants`; returns all its trials.

    Entrants are pending trials: after a kill the search goes on with them, raced again or in full.
    info: with the options that its workload is opened with. Those behind fail as `outraced`.
    """
    trials = store.trials(info.name)
    for number in range(len(trials), entrants + 1):
        numbers = algorithm.ask()
        if numbers is None:
            break
        store.propose(info.name, number, canonical_tree(decisions.tree(numbers)), numbers)
    trials = store.trials(info.name)
    known = {trial.candidate_id for trial in trials if trial.state != "pending"}
    waiting: dict[str, Trial] = {}
    for trial in trials:  # each candidate once, and none that is known already
        if trial.state == "pending" and trial.candidate_id not in known:
            waiting.setdefault(trial.candidate_id, trial)
    if len(waiting) < 2:
        return trials
    from paretoken.search.dispatch_race import race

    by = info.objectives[1]  # the first quality: a race has one winner
    say = study.saying(0)
    say(f"race: {len(waiting)} candidates, by {by.name}", 0.0)
    raced = race(
        cluster, info, {trial.number: dict(trial.tree) for trial in waiting.values()}, by.name,
        by.higher, study.seconds_left(), say,
    )  # fmt: skip
    behind = {one.number: one for one in raced if not one.ahead}
    lost = {trial.candidate_id: behind[trial.number]
            for trial in waiting.values() if trial.number in behind}  # fmt: skip
    for trial in trials:
        if trial.state == "pending" and trial.candidate_id in lost:
            failure = outraced(lost[trial.candidate_id], by.name, raced)
            store.fail(info.name, trial.number, failure)
            algorithm.tell(trial.numbers, None, OUTRACED)
            study.begin(candidate_id(dict(trial.tree)))
            study.ended(trial.number)
    return store.trials(info.name)
