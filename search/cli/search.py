"""`paretoken search`: measure candidates until a limit, keeping each as it is finished."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from paretoken.search.cli.cluster import (
    GpusPerWorker,
    Limit,
    MemoryPerWorker,
    Ray,
    RayWheel,
    Workers,
    cluster_of,
    same_workers,
)
from paretoken.search.cli.options import DEFAULT_STORE, AsJson, Settings, Store, pairs
from paretoken.spaces.errors import ParetokenError

if TYPE_CHECKING:
    from paretoken.cache.store import Store as OpenStore
    from paretoken.search.loop import Outcome, Plan

_LIMITS, _MEASURING, _SPACE = "How long", "How it is measured", "What may vary"
_REUSE = "What is measured again"
_DEFAULT_TRIALS = 30


def run(
    workload: Annotated[str, typer.Argument(help="Model, data and objectives; see 'workloads'.")],
    study: Annotated[
        str, typer.Option("--study", metavar="NAME", help="Name under which results are kept.")
    ],
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials",
            min=1,
            help=f"Stop after this many candidates, plain decoding included. "
            f"[default: {_DEFAULT_TRIALS}, unless --minutes is given]",
            show_default=False,
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            min=0.01,
            help="Stop after this many minutes. With --trials, whichever comes first. "
            "It cuts candidates, never the number of samples.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the study of that name with its own space; what was measured is kept.",
            rich_help_panel=_LIMITS,
        ),
    ] = False,
    space: Annotated[
        str,
        typer.Option(
            "--space",
            metavar="PRESET|FILE.py:NAME",
            help="The search space. [default: the workload's own]",
            show_default=False,
            rich_help_panel=_SPACE,
        ),
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUES",
            help="Narrow the space: decoder.drafter.window=8,16 or "
            "decoder.verifier=exact,grouped; repeatable.",
            rich_help_panel=_SPACE,
        ),
    ] = None,
    algorithm: Annotated[
        str,
        typer.Option(
            "--algorithm",
            metavar="NAME",
            help="What proposes candidates: random, grid, evolution, nsga2, tpe, …",
            rich_help_panel=_SPACE,
        ),
    ] = "nsga2",
    seed: Annotated[
        int, typer.Option("--seed", help="Seed of the algorithm and of the samples.", min=0)
    ] = 0,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            min=2,
            metavar="N",
            help="Images or prompts for each quality measurement, or runs with their own seeds "
            "where a model is trained. Compare equal N only: FID falls with N.",
            rich_help_panel=_MEASURING,
        ),
    ] = None,
    rungs: Annotated[
        str,
        typer.Option(
            "--rungs",
            metavar="N,N",
            help="Judge each candidate by the first number of samples, and go on to the next one "
            "only with what no other candidate surely beats in everything at equal N. The last "
            "number is --samples: --rungs 125,500,1000 --samples 1000.",
            rich_help_panel=_MEASURING,
        ),
    ] = "",
    race: Annotated[
        int,
        typer.Option(
            "--race",
            min=0,
            metavar="N",
            help="Where a model is trained: give the first N candidates 1/9 and 1/3 of their steps "
            "first, in Ray Tune, and train in full only those that its ASHA does not stop.",
            rich_help_panel=_MEASURING,
        ),
    ] = 0,
    prompts: Annotated[
        str,
        typer.Option(
            "--prompts",
            metavar="FILE",
            help="What a language model is asked, a JSON object a line. [default: those that ship]",
            show_default=False,
            rich_help_panel=_MEASURING,
        ),
    ] = "",
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            min=1,
            metavar="N",
            help="Batch size at which speed is measured, or a model is trained. [default: 1, or "
            "the workload's own]",
            show_default=False,
            rich_help_panel=_MEASURING,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="cpu|cuda",
            help="Where the model runs. [default: cuda if there is one]",
            show_default=False,
            rich_help_panel=_MEASURING,
        ),
    ] = "",
    observations: Annotated[
        int,
        typer.Option(
            "--observations",
            min=1,
            metavar="N",
            help="Measure candidates of equal behaviour until there are N observations, and take "
            "the mean; from then on the store answers.",
            rich_help_panel=_REUSE,
        ),
    ] = 2,
    audit: Annotated[
        float,
        typer.Option(
            "--audit",
            min=0.0,
            max=1.0,
            metavar="SHARE",
            help="Of the answers from the store, measure this share all the same.",
            rich_help_panel=_REUSE,
        ),
    ] = 0.05,
    no_reuse: Annotated[
        bool,
        typer.Option(
            "--no-reuse",
            help="Measure every proposal, equal or not: to see what reuse saves.",
            rich_help_panel=_REUSE,
        ),
    ] = False,
    no_confirm: Annotated[
        bool,
        typer.Option(
            "--no-confirm",
            help="Do not measure the front afresh at the end.",
            rich_help_panel=_REUSE,
        ),
    ] = False,
    ray: Ray = "",
    workers: Workers = None,
    gpus_per_worker: GpusPerWorker = None,
    limit: Limit = None,
    memory_per_worker: MemoryPerWorker = None,
    ray_wheel: RayWheel = "",
    option: Settings = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Search for the front of speed against quality, measuring every candidate.

    Plain decoding is measured first; everything else is compared with it. What behaves like
    something measured before is not measured again. At the end the front is measured afresh. Each
    finished measurement is kept at once: stop with Ctrl-C whenever you like, continue with
    --resume. With --rungs the candidates that few samples show to be beaten get no more.

    \b
      paretoken search fashion --study first --space fashion-small --minutes 5
      paretoken search fashion --study lossless --set decoder.verifier=exact --trials 20
      paretoken search llamagen --study big --device cuda --option gpt=c2i_B_256.pt \\
          --option vq=vq_ds16_c2i.pt --samples 5000 --trials 60
      paretoken search text --study words --space text-small --prompts mine.jsonl
      paretoken search fashion --study first --resume --trials 60
      paretoken search fashion --study rungs --rungs 125,250,1000 --samples 1000 --minutes 10
      paretoken search fashion --study wide --ray local --workers 2 --trials 60
      paretoken search continual --study rates --space schedules-compared --algorithm grid
      paretoken search continual --study wide --algorithm random --race 20 --trials 21
      paretoken search tokenizer --study pictures --space tokenizers-compared --algorithm grid
    """
    from paretoken.cache.store import Store as OpenStore
    from paretoken.search import rung_account
    from paretoken.search.accounting import account, disagreed, told
    from paretoken.search.cli.front import as_document, print_results
    from paretoken.search.cli.live import watching
    from paretoken.search.cli.tables import console
    from paretoken.search.loop import Plan, search
    from paretoken.search.measuring import Reuse
    from paretoken.search.report.results import read
    from paretoken.search.rungs import parse

    options = pairs(option)
    given = {
        "samples": samples,
        "prompts": prompts or None,
        "batch": batch,
        "device": device or None,
    }
    options |= {name: value for name, value in given.items() if value is not None}
    if trials is None and minutes is None:
        trials = _DEFAULT_TRIALS
    plan = Plan(
        study=study,
        workload=workload,
        space=space or None,
        settings=tuple(settings or ()),
        algorithm=algorithm,
        trials=trials,
        minutes=minutes,
        seed=seed,
        options=options,
        resume=resume,
        reuse=Reuse(observations, audit, share=not no_reuse),
        confirm=not no_confirm,
        rungs=parse(rungs),
        race=race,
        cluster=cluster_of(ray, workers, gpus_per_worker, limit, memory_per_worker, ray_wheel),
    )
    out = console(error=as_json)
    with OpenStore.open(store, create=True) as opened:
        try:
            found_so_far = partial(read, opened, study, front_only=True)
            with watching(out, partial(opened.study, study), found_so_far) as watcher:
                outcome = search(plan, opened, watcher)
        except KeyboardInterrupt:
            _say_what_is_kept(opened, plan, _option(store))
            raise typer.Exit(130) from None
        results = read(opened, study)
        disagreements = opened.disagreements(study)
        tried, info = opened.trials(study), results.info
    found = account(tried, disagreements)
    climbed = rung_account.account(info, tried) if info.rungs else None
    if as_json:
        of_rungs = {"rungs": asdict(climbed)} if climbed else {}
        told_all = as_document(results, account=asdict(found) | _costs(outcome) | of_rungs)
        print(json.dumps(told_all, indent=2, allow_nan=False))
        return
    print_results(results, out)
    out.print(f"\n{told(found)} {_costs_told(outcome)}", markup=False, soft_wrap=True)
    if climbed:
        out.print(rung_account.told(climbed), markup=False, soft_wrap=True)
    for one in disagreements:
        out.print(disagreed(one), markup=False, soft_wrap=True)
    name, where_it_is = shlex.quote(study), _option(store)
    faster = any("speedup" in trial.quantities for trial in results.done)
    wish = "--where 'speedup >= 2' --out tuned.json" if faster else "--out tuned.json"
    out.print(
        f"\nnext:  paretoken report {name} --out report.html{where_it_is}\n"
        f"       paretoken export {name} {wish}{where_it_is}",
        markup=False,
        soft_wrap=True,
    )


def _costs(outcome: Outcome) -> dict[str, float]:
    return {
        "recording_seconds": outcome.recording_seconds,
        "law_seconds": outcome.law_seconds,
        "measured_seconds": outcome.measured_seconds,
        "unconfirmed": outcome.unconfirmed,
        "near_ties": outcome.near_ties,
    }


def _costs_told(outcome: Outcome) -> str:
    """What finding out about equal behaviour took, and what is left to confirm."""
    law, measured, once = outcome.law_seconds, outcome.measured_seconds, outcome.recording_seconds
    share = f", {100 * law / measured:.1f} % of measuring" if measured else ""
    recorded = f"; rows of the model {once:.1f} s, once for this store" if once else ""
    ties = f" {outcome.near_ties} of them were known by one grid only." if outcome.near_ties else ""
    left = ""
    if outcome.unconfirmed:
        left = f" {outcome.unconfirmed} points of the front are left to measure afresh (--resume)."
    return f"Law fingerprints took {law:.1f} s{share}{recorded}.{ties}{left}"


def _say_what_is_kept(opened: OpenStore, plan: Plan, where: str) -> None:
    """After Ctrl-C: how much there is, and the command that goes on."""
    try:
        done = sum(trial.state in ("done", "stopped") for trial in opened.trials(plan.study))
    except ParetokenError:  # stopped before the study was stored
        done = 0
    limits = f" --trials {plan.trials}" if plan.trials else ""
    limits += f" --minutes {plan.minutes:g}" if plan.minutes else ""
    limits += f" --race {plan.race}" if plan.race else ""
    limits += same_workers(plan.cluster) if plan.cluster else ""
    print(
        f"stopped: {done} finished candidates are kept. Continue with:\n"
        f"  paretoken search {plan.workload} --study {shlex.quote(plan.study)} --resume"
        f"{limits}{where}",
        file=sys.stderr,
    )


def _option(store: str) -> str:
    """The --store that a suggested command needs: none for the default, never a password."""
    from paretoken.cache.address import Address

    return "" if store == DEFAULT_STORE else f" --store {shlex.quote(Address.parse(store).shown)}"
