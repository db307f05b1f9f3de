"""A study as Optuna's storage, opened by Optuna itself and by its dashboard."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from paretoken.cache.store import Store
from paretoken.search.report.knobs import flat
from paretoken.search.report.results import read

Cli = Callable[..., Any]
STORAGE = "sqlite:///optuna.db"


@pytest.fixture
def study(cli: Cli, url: str) -> optuna.Study:
    ran = cli("export-study", "demo", "--out", "optuna.db")
    assert ran.code == 0 and "8 trials, 3 on the front" in ran.out
    return optuna.load_study(study_name="demo", storage=STORAGE)


def test_the_best_trials_are_the_front(study: optuna.Study, store: Store) -> None:
    found = {trial.user_attrs["number"] for trial in study.best_trials}
    assert found == set(read(store, "demo").front) == {1, 3, 4}
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["images_per_s", "fid"]


def test_trials_are_the_store_s(study: optuna.Study, store: Store) -> None:
    for found, trial in zip(study.trials, store.trials("demo"), strict=True):
        settings = flat(trial.tree)
        assert all(settings[path] == value for path, value in found.params.items())
        assert found.user_attrs["candidate"] == trial.candidate_id
        if trial.state == "done":
            assert found.state is TrialState.COMPLETE
            assert found.values == [trial.quantities[n].value for n in ("images_per_s", "fid")]
            assert found.user_attrs["numbers"]["kid"] == trial.quantities["kid"].value
            assert found.user_attrs["spreads"]["fid"] == trial.quantities["fid"].spread
        assert found.datetime_start <= found.datetime_complete
    settings = study.user_attrs["settings all share"]
    assert settings["sampling.temperature"] == 1.0 and "decoder.verifier" not in settings


def test_a_failure_is_one_there_too(study: optuna.Study) -> None:
    (failed,) = study.get_trials(states=(TrialState.FAIL,))
    assert failed.user_attrs["failure"] == "nan: the logits of <row> 3 are NaN"
    assert failed.params["decoder.verifier"] == "amplified" and failed.values is None


def test_times_are_those_of_the_measurements(study: optuna.Study) -> None:
    """A quality took 3 s and a speed 2 s; where the quality was known it is only the speed's."""
    took = [trial.duration.total_seconds() for trial in study.trials]
    assert took == pytest.approx([5, 2, 2, 5, 5, 5, 0, 5])


def test_optuna_goes_on_with_it(study: optuna.Study) -> None:
    """Distributions are whole: its importances work, and a sampler proposes from them."""
    shares = optuna.importance.get_param_importances(study)
    assert set(shares) >= {"decoder.drafter.window", "decoder.verifier"}
    window = study.trials[1].distributions["decoder.drafter.window"]
    assert 4 <= study.ask({"decoder.drafter.window": window}).params["decoder.drafter.window"] <= 32


def test_the_dashboard_opens_it(study: optuna.Study) -> None:
    """The answers that its page is drawn from."""
    dashboard = pytest.importorskip("optuna_dashboard", reason="needs pip install optuna-dashboard")
    app = dashboard.wsgi(optuna.storages.RDBStorage(STORAGE))

    def get(path: str) -> Any:
        status: list[str] = []
        environ = {
            "REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": "", "SERVER_NAME": "x",
            "SERVER_PORT": "80", "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO(),
            "wsgi.url_scheme": "http",
        }  # fmt: skip
        body = b"".join(app(environ, lambda code, headers, *_: status.append(code)))
        assert status[0].startswith("200"), (status, body)
        return json.loads(body)

    (listed,) = get("/api/studies")["study_summaries"]
    assert listed["study_name"] == "demo"
    found = get(f"/api/studies/{listed['study_id']}")
    assert len(found["trials"]) == 8
    best = {trial["number"] for trial in found["best_trials"]}
    assert best == {trial.number for trial in study.best_trials}


def test_what_is_there_is_overwritten_only_where_asked(cli: Cli, url: str) -> None:
    Path("optuna.db").write_text("mine")
    ran = cli("export-study", "demo")
    assert ran.code == 2 and "--force" in ran.err
    assert Path("optuna.db").read_text() == "mine"
    assert cli("export-study", "nobody", "--force").code == 2
    assert Path("optuna.db").read_text() == "mine"
    ran = cli("export-study", "demo", "--force", "--json")
    assert json.loads(ran.out) == {"out": "optuna.db", "study": "demo", "trials": 8}
    assert optuna.load_study(study_name="demo", storage=STORAGE).trials
    assert [path.name for path in Path().glob(".*.partial")] == []
    ran = cli("export-study", "demo", "--out", "nowhere/x.db")
    assert ran.code == 2 and "cannot write nowhere/x.db" in ran.err
