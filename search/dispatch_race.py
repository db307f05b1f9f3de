"""The race on Ray: Tune trains entrants side by side, and its ASHA stops those that are behind.

Tune sees one number only, so it races, and no more: proposals, fronts and the store are ours. Its
checkpoints are the artefacts: an entrant that is begun again goes on from the last of them.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from paretoken.search.dispatch_cluster import connect, machines, shares
from paretoken.search.evaluator import Local
from paretoken.search.race import FACTOR, PARTS, WHOLE, Raced, shortened
from paretoken.search.workers import Cluster
from paretoken.spaces.records import StudyInfo
from paretoken.spaces.settings import Tree
from paretoken.spaces.workload import Report

_opened: dict[str, Local] = {}  # of a worker's process, which Tune uses again


def race(
    cluster: Cluster,
    info: StudyInfo,
    entrants: Mapping[int, Tree],
    by: str,
    higher: bool,
    seconds: float,
    say: Report,
) -> list[Raced]:
    """Race candidates, given by number, by one measured quantity.

    seconds: after so many nobody is trained any more. Whoever then is not behind is ahead, and so
    is whoever fails: measured in full, it fails with its reason. say: told where each stands.
    """
    # Tune would take Ctrl-C for itself; and of its progress nobody is told twice.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    class Telling(tune.Callback):
        """Says where each entrant stands; the copy that Tune keeps of its settings is silent."""

        def __reduce__(self) -> tuple[type, tuple[()]]:
            return tune.Callback, ()

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: Mapping[str, Any],
            **more: Any,
        ) -> None:  # fmt: skip
            ended = sum(one.is_finished() for one in trials)
            stands = f"{result['parts']}/{WHOLE} of its steps: {by} {result['value']:.4g}"
            say(f"race: #{trial.config['number']} with {stands}", ended / len(entrants))

    ours = connect(cluster)
    try:
        share = shares(cluster, machines(), info.options.get("device"))[0]
        device = "cuda" if share.gpus else "cpu"
        options = {**info.options, "device": device}
        about = (info.workload, options, share.cpus, by, info.seed)
        with tempfile.TemporaryDirectory() as folder:
            tuner = tune.Tuner(
                tune.with_resources(
                    tune.with_parameters(_train, about=about, entrants=dict(entrants)),
                    {"cpu": share.cpus, "gpu": share.gpus},
                ),
                param_space={"number": tune.grid_search(list(entrants))},
                tune_config=tune.TuneConfig(
                    metric="value",
                    mode="max" if higher else "min",
                    scheduler=ASHAScheduler(
                        time_attr="parts", max_t=WHOLE, grace_period=PARTS[0],
                        reduction_factor=FACTOR,
                    ),
                    reuse_actors=True,
                    time_budget_s=None if seconds == float("inf") else max(1.0, seconds),
                ),
                run_config=tune.RunConfig(
                    name="race", storage_path=folder, verbose=0, callbacks=[Telling()]
                ),
            )  # fmt: skip
            begun = time.monotonic()
            results = tuner.fit()
            stopped = time.monotonic() - begun >= seconds  # not by being behind
            return [_told(results[i], stopped) for i in range(len(results))]
    finally:
        if ours:
            ray.shutdown()


def _told(result: Any, stopped: bool) -> Raced:
    metrics = result.metrics or {}
    parts, value = int(metrics.get("parts", 0)), float(metrics.get("value", 0.0))
    behind = 0 < parts < WHOLE and result.error is None and not stopped
    return Raced(int((result.config or {})["number"]), parts, value, not behind)


def _train(config: Mapping[str, Any], about: Any, entrants: Mapping[int, Tree]) -> None:
    """One entrant, rung after rung; Tune ends it where it is behind."""
    from ray import tune

    workload, options, threads, by, seed = about
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if workload not in _opened:
        _opened[workload] = Local.open(workload, options)
    evaluator = _opened[workload]
    value = 0.0
    for parts in PARTS:
        tree = shortened(entrants[config["number"]], parts)
        evaluator.sample(tree, evaluator.race_samples, seed, {}, _quiet)
        observed = evaluator.judge(_quiet)
        (value,) = (one.value for one in observed.quantities if one.name == by)
        tune.report({"parts": parts, "value": value})
    tune.report({"parts": WHOLE, "value": value})  # who gets here is ahead


def _quiet(phase: str, share: float) -> None:
    """Tune asks nobody how far it is."""
