"""What a study found: its trials, judged against each other. Reads the store, builds nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from paretoken.cache.condition import Condition
from paretoken.cache.front import indistinguishable, pareto_front
from paretoken.cache.store import Store
from paretoken.search.query.selecting import EVERYBODY, Filter, nothing_fits
from paretoken.search.report.devices import chosen, devices_of, others_told, timed_on
from paretoken.search.report.wording import brief, columns, confirmed, heading, quantity
from paretoken.spaces.errors import UnknownName
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Quantity, StudyInfo, Trial
from paretoken.spaces.settings import summary

LARGE = 5000  # trials: beyond, a table of the front does not wait until all of them are read


@dataclass(frozen=True)
class Results:
    """A study and its front.

    objectives: those of the front, the speed first. trials: by number, each candidate once: an
    algorithm may propose one again, and is then answered from the store. front, close: numbers
    of the trials on the front and of those indistinguishable from it, fastest first.
    note: what was left out of the comparison and why; empty if nothing was. size: trials of the
    study where only its front was read, else 0. device: the kind on which all was timed.
    """

    info: StudyInfo
    objectives: tuple[Objective, ...]
    trials: tuple[Trial, ...]
    front: tuple[int, ...]
    close: tuple[int, ...]
    note: str = ""
    size: int = 0
    device: str = ""

    @property
    def done(self) -> tuple[Trial, ...]:
        """The finished trials, by number."""
        return tuple(trial for trial in self.trials if trial.state == "done")

    @property
    def failed(self) -> tuple[Trial, ...]:
        """The failed trials, by number."""
        return tuple(trial for trial in self.trials if trial.state == "failed")

    @property
    def stopped(self) -> tuple[Trial, ...]:
        """The trials stopped at a rung, by number: they have no quality that the front compares."""
        return tuple(trial for trial in self.trials if trial.state == "stopped")

    def fastest_first(self, numbers: Sequence[int] | None = None) -> list[Trial]:
        """The finished trials (of these numbers), by the first objective."""
        wanted = None if numbers is None else set(numbers)
        chosen = [t for t in self.done if wanted is None or t.number in wanted]
        return sorted(chosen, key=lambda trial: loss(trial, self.objectives[0]))


def read(
    store: Store,
    study: str,
    objectives: str = "",
    *,
    front_only: bool = False,
    device: str = "",
    wanted: Filter = EVERYBODY,
) -> Results:
    """The results of a stored study. objectives: "fid,images_per_s", say; "" for its own.

    front_only: of a large study, no more than its front and plain decoding are read. device: a
    part of the name of the kind that is compared; "" for the one that most were timed on. wanted:
    only the candidates that fit are judged, and compared with each other only; raises
    NothingMatches where none does.
    """
    info = store.study(study)
    size = store.size(study) if front_only else 0
    devices = store.devices(study)
    here = chosen(devices, device)
    elsewhere = other_device(store, study, here)
    condition = wanted.condition(store, study, elsewhere)
    if size > LARGE and not objectives.strip() and not elsewhere:
        return _of_front(info, store, size, devices, wanted, condition)
    if condition is None:
        return judge(info, store.trials(study), objectives, device)
    fitting = store.matching(study, condition, elsewhere)
    if not fitting:
        raise nothing_fits(store, study, condition, wanted.said, elsewhere)
    trials = [t for t in store.trials(study, {0, *fitting}) if t.number in set(fitting)]
    found = judge(info, trials, objectives, here)
    return replace(found, note="\n".join(filter(None, [wanted.note(len(fitting)), found.note])))


def _of_front(
    info: StudyInfo,
    store: Store,
    size: int,
    devices: Mapping[str, int],
    wanted: Filter,
    condition: Condition | None,
) -> Results:
    front = store.front(info.name, condition)
    if condition is not None and not front:
        raise nothing_fits(store, info.name, condition, wanted.said)
    trials = {trial.number: trial for trial in (*store.trials(info.name, {0}), *front)}
    device = first_device(store, info.name)
    only = f"of more than {LARGE:,} trials only the front is read: what noise does not tell from "
    notes = [f"{only}it, --all shows", others_told(devices, device)]
    if condition is not None:
        notes.insert(0, wanted.note())
    objectives = speed_first(info.objectives)
    return Results(
        info,
        objectives,
        tuple(trials[number] for number in sorted(trials)),
        tuple(t.number for t in sorted(front, key=lambda t: loss(t, objectives[0]))),
        (),
        "\n".join(filter(None, notes)),
        size,
        device,
    )


def first_device(store: Store, study: str) -> str:
    """Where plain decoding was timed: the store keeps the front of that kind."""
    place = next((trial.environment for trial in store.trials(study, {0})), None)
    return place.device if place is not None else ""


def other_device(store: Store, study: str, device: str) -> str:
    """The device, if it is not the one that plain decoding was timed on; else ""."""
    return "" if device == first_device(store, study) else device


def judge(
    info: StudyInfo, trials: Sequence[Trial], objectives: str = "", device: str = ""
) -> Results:
    """The trials judged by the study's objectives, or by those named; see `Results` and `read`."""
    wanted = _named(objectives, trials) if objectives.strip() else speed_first(info.objectives)
    names = [objective.name for objective in wanted]
    devices = devices_of(trials)
    here = chosen(devices, device)
    trials = _once(timed_on(trials, here))
    measured = [
        trial
        for trial in trials
        if trial.state == "done" and all(math.isfinite(value(trial, name)) for name in names)
    ]
    alike, note = _comparable(measured, names)
    front = pareto_front(alike, wanted)
    close = indistinguishable(alike, wanted, front)
    return Results(
        info,
        wanted,
        tuple(trials),
        tuple(trial.number for trial in front),
        tuple(trial.number for trial in close),
        "\n".join(filter(None, [note, others_told(devices, here)])),
        device=here,
    )


def _once(trials: Sequence[Trial]) -> Sequence[Trial]:
    """The first trial of every candidate, but a finished one before those stopped at a rung."""
    first: dict[str, Trial] = {}
    for trial in sorted(trials, key=lambda trial: trial.state == "stopped"):
        first.setdefault(trial.candidate_id, trial)
    return sorted(first.values(), key=lambda trial: trial.number)


def told(trial: Trial, results: Results) -> str:
    """A trial's main numbers in one line."""
    names = columns([trial], [objective.name for objective in results.objectives])
    return ", ".join(f"{heading(name)} {quantity(trial, name)}" for name in names)


def as_json(trial: Trial, results: Results) -> dict[str, Any]:
    """A trial as plain JSON: what `--json` prints and what the report embeds."""
    return {
        "number": trial.number,
        "candidate": trial.candidate_id,
        "state": trial.state,
        "summary": summary(trial.tree),
        "settings": dict(trial.tree),
        "quantities": {name: plain(q) for name, q in sorted(trial.quantities.items())},
        "rungs": [
            {
                "samples": rung.samples,
                "quantities": {name: plain(q) for name, q in sorted(rung.quantities.items())},
                "origin": rung.origin,
            }
            for rung in trial.rungs
        ],
        "origin": dict(trial.origin),
        "confirmed": confirmed(trial),
        "front": trial.number in results.front,
        "indistinguishable": trial.number in results.close,
        "failure": None
        if trial.failure is None
        else {"reason": trial.failure.reason, "detail": trial.failure.detail},
        "device": trial.environment.device if trial.environment else None,
        "software": trial.environment.software if trial.environment else None,
    }


def plain(found: Quantity) -> dict[str, Any]:
    """A quantity as plain JSON; what is not finite becomes null."""
    return {
        "value": found.value if math.isfinite(found.value) else None,
        "spread": found.spread if math.isfinite(found.spread) else None,
        "samples": found.samples,
        "unit": found.unit,
        "higher": found.higher,
        "comparable": found.comparable,
        "detail": dict(found.detail),
    }


def summaries(results: Results, trials: Sequence[Trial]) -> tuple[list[str], str]:
    """`brief` settings of trials; number 0 is called what it always is: plain decoding."""
    lines, shared = brief(trials)
    named = [
        "plain decoding" if trial.number == 0 else line
        for trial, line in zip(trials, lines, strict=True)
    ]
    return named, shared


def speed_first(objectives: tuple[Objective, ...]) -> tuple[Objective, ...]:
    """The first speed leads: it orders tables, and it is what `best` maximises by default."""
    speeds = [o for o in objectives if o.name.endswith("_per_s") or o.name == "speedup"]
    speeds += [o for o in objectives if o.higher]
    first = speeds[0] if speeds else objectives[0]
    return (first, *(o for o in objectives if o is not first))


def _named(text: str, trials: Sequence[Trial]) -> tuple[Objective, ...]:
    """The objectives of a list of quantity names, each with the direction it was measured with."""
    known = {name: q for trial in trials for name, q in trial.quantities.items()}
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in known:
            raise UnknownName("measured quantity", name, known)
    return speed_first(tuple(Objective(n, known[n].unit, known[n].higher, "") for n in names))


def _comparable(trials: list[Trial], names: list[str]) -> tuple[list[Trial], str]:
    """Those measured under the conditions that most share, plain decoding's first; and a note."""

    def conditions(trial: Trial) -> tuple[str, ...]:
        return tuple(trial.quantities[name].comparable for name in names)

    if not trials:
        return [], ""
    plain_ones = [trial for trial in trials if trial.number == 0]
    most_common = Counter(map(conditions, trials)).most_common(1)[0][0]
    wanted = conditions(plain_ones[0]) if plain_ones else most_common
    alike = [trial for trial in trials if conditions(trial) == wanted]
    left_out = len(trials) - len(alike)
    if not left_out:
        return alike, ""
    return alike, (
        f"{left_out} of {len(trials)} finished candidates are not compared: they were measured "
        "under other conditions (device, software, number of samples, extractor or reference)."
    )


def value(trial: Trial, name: str) -> float:
    """The trial's number of that name, NaN where it has none."""
    found = trial.quantities.get(name)
    return math.nan if found is None else found.value


def loss(trial: Trial, objective: Objective) -> float:
    """The trial's number of the objective, smaller being better; infinite where it has none."""
    found = value(trial, objective.name)
    return objective.loss(found) if math.isfinite(found) else math.inf
