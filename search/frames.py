"""What a study found as pandas frames: one row a trial, a moment, a difference or a measurement."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from paretoken.cache.history import Moment
from paretoken.search.report.results import Results
from paretoken.search.report.wording import confirmed
from paretoken.spaces.records import Measurement, Trial

if TYPE_CHECKING:
    from pandas import DataFrame

    from paretoken.search.report.comparing import Comparison


def trials_frame(results: Results, trials: Sequence[Trial]) -> DataFrame:
    """One row a trial, in the order given.

    Columns: number, candidate, state, front, indistinguishable, confirmed; each quantity by name,
    its standard deviation as NAME_spread and NAME_samples; settings by path, a component by its
    name; where the numbers are from, device and software, and why a trial failed. What a trial has
    not got is missing.
    """
    names = sorted({name for trial in trials for name in trial.quantities})
    rows = []
    for trial in trials:
        row: dict[str, Any] = {
            "number": trial.number,
            "candidate": trial.candidate_id,
            "state": trial.state,
            "front": trial.number in results.front,
            "indistinguishable": trial.number in results.close,
            "confirmed": confirmed(trial),
        }
        for name in names:
            found = trial.quantities.get(name)
            row[name] = found.value if found else math.nan
            row[f"{name}_spread"] = found.spread if found else math.nan
            row[f"{name}_samples"] = found.samples if found else None
        row |= settings_of(trial.tree)
        row |= {f"{aspect}_from": trial.origin.get(aspect) for aspect in ("quality", "speed")}
        row["device"] = trial.environment.device if trial.environment else None
        row["software"] = trial.environment.software if trial.environment else None
        row["failure"] = trial.failure.reason if trial.failure else None
        rows.append(row)
    first = ["number", "candidate", "state", "front", "indistinguishable", "confirmed"]
    parts = (name + end for name in names for end in ("", "_spread", "_samples"))
    last = ["quality_from", "speed_from", "device", "software", "failure"]
    settings = sorted({key for row in rows for key in row} - {*first, *parts, *last})
    parts = (name + end for name in names for end in ("", "_spread", "_samples"))
    return _frame(rows, [*first, *parts, *settings, *last])


def settings_of(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Settings by path, as `--where` names them: a component by its name without the kind."""
    values: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{above}{key}"
        if isinstance(value, Mapping):
            if "is" in value:
                values[path] = str(value["is"]).rpartition("/")[2]
            values |= settings_of(value, f"{path}.")
        elif key != "is":
            values[path] = json.dumps(value) if isinstance(value, list) else value
    return values


def history_frame(moments: Iterable[Moment]) -> DataFrame:
    """One row a finished trial; columns as the fields of `Moment`."""
    names = list(Moment.__dataclass_fields__)
    return _frame([asdict(moment) for moment in moments], names)


def comparison_frame(found: Comparison) -> DataFrame:
    """One row a quantity: both values with their spreads, the difference B - A, its interval."""
    columns = ["quantity", "unit", "a", "a_spread", "b", "b_spread", "difference", "low", "high"]
    rows = [
        {
            "quantity": one.name,
            "unit": one.unit,
            "a": one.a.value if one.a else math.nan,
            "a_spread": one.a.spread if one.a else math.nan,
            "b": one.b.value if one.b else math.nan,
            "b_spread": one.b.spread if one.b else math.nan,
            "difference": math.nan if one.change is None else one.change,
            "low": math.nan if one.low is None else one.low,
            "high": math.nan if one.high is None else one.high,
            "how": one.how,
            "better": one.better,
        }
        for one in found.differences
    ]
    return _frame(rows, [*columns, "how", "better"])


def measurements_frame(candidate: str, measurements: Iterable[Measurement]) -> DataFrame:
    """One row a number of a measurement of a candidate."""
    rows = [
        {
            "candidate": candidate,
            "measurement": at,
            "aspect": found.aspect,
            "quantity": one.name,
            "value": one.value,
            "spread": one.spread,
            "samples": one.samples,
            "unit": one.unit,
            "seed": found.seed,
            "seconds": found.seconds,
            "fresh": found.fresh,
            "device": found.environment.device,
            "software": found.environment.software,
        }
        for at, found in enumerate(measurements)
        for one in found.quantities
    ]
    columns = ["candidate", "measurement", "aspect", "quantity", "value", "spread", "samples"]
    return _frame(rows, [*columns, "unit", "seed", "seconds", "fresh", "device", "software"])


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _frame(rows: list[dict[str, Any]], columns: list[str]) -> DataFrame:
    """A frame whose columns each hold one type, so that every format takes them.

    Empty text is missing, as CSV has no other word for it.
    """
    from pandas import DataFrame, Series  # half a second

    made = {}
    for column in columns:
        values = [None if row.get(column) == "" else row.get(column) for row in rows]
        kinds = {type(value) for value in values if value is not None}
        if len(kinds) > 1 and not kinds <= {int, float}:
            kinds, values = {str}, [_text(value) for value in values]
        whole = Series(values, dtype="float64" if kinds & {float} else None)
        made[column] = whole if kinds & {float} else whole.convert_dtypes()
    return DataFrame(made, columns=columns)
