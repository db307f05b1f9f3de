"""A study as an Optuna storage: an SQLite file that Optuna and optuna-dashboard open.

Every candidate of the study's device becomes one trial, under the number it has here wherever no
repeat came before it; `user_attrs` say the rest. Written beside its place first, then put there
whole.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import event

from paretoken.cache.store import Store
from paretoken.search.optuna_trials import directions, distributions, frozen
from paretoken.search.report.groups import batch
from paretoken.search.report.knobs import knobs
from paretoken.search.report.results import Results, plain
from paretoken.search.report.wording import reused, stopped
from paretoken.spaces.errors import BadInput
from paretoken.spaces.records import Trial
from paretoken.spaces.settings import summary

Report = Callable[[int, int], None]


def write_storage(
    path: Path, store: Store, results: Results, report: Report = lambda done, of: None
) -> int:
    """Write the study of `results` into a new SQLite file; returns how many trials it has.

    report: told after each trial how many of how many are written. Pending trials are left out.
    Raises BadInput where nothing can be written.
    """
    import optuna

    info, trials = results.info, [t for t in results.trials if t.state != "pending"]
    ended, space = store.end_times(info.name), distributions(trials)
    beside = path.with_name(f".{path.name}.partial")
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        beside.unlink(missing_ok=True)
        beside.touch()
        storage = optuna.storages.RDBStorage(f"sqlite:///{beside.absolute()}")
        # A file that is thrown away unless it becomes whole need not survive a power cut half-way.
        event.listen(storage.engine, "connect", _careless)
        storage.engine.dispose()
        study = optuna.create_study(
            storage=storage, study_name=info.name, directions=directions(results.objectives)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([objective.name for objective in results.objectives])
        for key, value in _of_study(results).items():
            study.set_user_attr(key, value)
        for number, trial in enumerate(trials):
            then = datetime.fromisoformat(ended.get(trial.number, info.created))
            study.add_trial(
                frozen(
                    trial,
                    space,
                    results.objectives,
                    number=number,
                    ended=then.astimezone().replace(tzinfo=None),  # Optuna's are local and naive
                    attributes=_of_trial(trial, results, store),
                )
            )
            report(number + 1, len(trials))
        storage.engine.dispose()
        beside.replace(path)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror or error}.") from error
    finally:
        optuna.logging.set_verbosity(verbosity)
        beside.unlink(missing_ok=True)
    return len(trials)


def _careless(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = MEMORY")


def _of_study(results: Results) -> dict[str, Any]:
    info = results.info
    constant = {knob.path: knob.levels[0] for knob in knobs(results.trials) if not knob.varies}
    return {
        "workload": info.workload,
        "algorithm": info.algorithm,
        "seed": info.seed,
        "options": dict(info.options),
        "device": results.device,
        "settings all share": constant,
        "written by": "paretoken",
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _of_trial(trial: Trial, results: Results, store: Store) -> Mapping[str, Any]:
    """Few attributes with much in them: to write one takes Optuna a millisecond and a half."""
    known = [keys for _, keys in store.fingerprints(trial.candidate_id)]
    objectives = {objective.name for objective in results.objectives}
    found = {
        "number": trial.number,
        "candidate": trial.candidate_id,
        "settings": summary(trial.tree),
        "front": trial.number in results.front,
        "reused": reused(trial),
        "batch": batch(trial),
        "quality class": ", ".join(sorted({keys.quality for keys in known})),
        "speed class": ", ".join(sorted({keys.work for keys in known})),
        "spreads": {name: plain(q)["spread"] for name, q in sorted(trial.quantities.items())},
        "numbers": {
            name: plain(quantity)["value"]
            for name, quantity in sorted(trial.quantities.items())
            if name not in objectives
        },
    }
    if trial.failure is not None:
        found["failure"] = f"{trial.failure.reason}: {trial.failure.detail}"
    if trial.state == "stopped":
        found["failure"] = stopped(trial)
    return {key: value for key, value in found.items() if value not in (None, "", {})}
