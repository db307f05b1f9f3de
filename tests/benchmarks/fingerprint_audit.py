"""How many candidates of a space are equal at each level of the fingerprint, and how many wrongly.

    python tests/benchmarks/fingerprint_audit.py --candidates 300 --images 8

Every candidate is drawn at random, given its fingerprint, and then decoded in full with the same
random numbers as all others: equal work must give equal tokens in equal rounds. A hit is a
candidate whose key an earlier one had; it is wrong if the two transcripts differ. Lossless
candidates share a law without sharing tokens: their hits cannot be audited so, but each of them is
lossless by computation, and the engine's tests compare such decoders with the exact law.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from paretoken.cache.digest import candidate_id
from paretoken.cache.fingerprint import fingerprint, transcript
from paretoken.search.algorithms.random import plugin as random_search
from paretoken.search.decisions import Decisions
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.space import load, parse_setting


@dataclass(frozen=True)
class Seen:
    """One proposal: its writing, its keys, and what it did."""

    written: str
    settings: str
    quality: tuple[str, str]
    work: tuple[str, str]
    lossless: bool
    tokens: str
    transcript: str


def main(
    candidates: Annotated[int, typer.Option(help="Proposals.")] = 300,
    images: Annotated[int, typer.Option(help="Images that each of them decodes.")] = 8,
    space: Annotated[str, typer.Option(help="Where they are drawn from.")] = "image-decoding",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Narrow the space: PATH=VALUES.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    seed: int = 0,
) -> None:
    """Print one table: classes, hits and wrong hits of every level."""
    workload: Any = KINDS["workloads"].load("fashion").open(device=device, samples=max(40, images))
    drawn = load(space)
    for setting in settings or ():
        drawn = drawn.narrow(*parse_setting(setting))
    decisions = Decisions(drawn.fix("runtime.batch", 1))
    algorithm = random_search(decisions, workload.objectives, seed)
    recording = workload.record()
    seen: list[Seen] = []
    law_s = run_s = 0.0
    for _ in track(range(candidates), "decoding", console=Console(stderr=True)):
        tree = decisions.tree(algorithm.ask())
        candidate = canonical(from_tree(tree))
        begun = time.perf_counter()
        behaviour = workload.behaviour(candidate, recording)
        what = fingerprint(behaviour, recording)
        law_s += time.perf_counter() - begun
        begun = time.perf_counter()
        sampled = workload.sample(candidate, images, 0, lambda phase, share: None)
        run_s += time.perf_counter() - begun
        tokens = transcript(sampled.tokens)
        written, settings = (candidate_id(to_tree(one)) for one in (from_tree(tree), candidate))
        whole = transcript(sampled.tokens, *sampled.trace)
        lossless = behaviour.lossless
        seen.append(Seen(written, settings, what.quality, what.work, lossless, tokens, whole))
    lossy = [one for one in seen if not one.lossless]
    table = Table("level", "answers", "proposals", "classes", "hits", "wrong hits")
    rows: list[tuple[str, str, Sequence[Seen], list[Hashable], str]] = [
        ("as written", "all", seen, [s.written for s in seen], "transcript"),
        ("canonical", "all", seen, [s.settings for s in seen], "transcript"),
        ("law: work", "speed", seen, _grid_keys([s.work for s in seen]), "transcript"),
        ("law: quality, lossy", "quality", lossy, _grid_keys([s.quality for s in lossy]), "tokens"),
        ("transcript", "metric", seen, [s.tokens for s in seen], "tokens"),
    ]
    for level, answers, some, keys, truth in rows:
        classes, hits, wrong = _count(keys, [getattr(one, truth) for one in some])
        table.add_row(level, answers, str(len(some)), str(classes), str(hits), str(wrong))
    lossless = [one for one in seen if one.lossless]
    laws = len(set(_grid_keys([one.quality for one in lossless])))
    table.add_row(
        "law: quality, lossless", "quality", str(len(lossless)), str(laws),
        str(len(lossless) - laws), "-",
    )  # fmt: skip
    out = Console(width=110)
    out.print(table)
    out.print(
        f"{candidates} proposals of {space}, {images} images each; law level {law_s:.1f} s, "
        f"decoding {run_s:.1f} s, {torch.get_num_threads()} threads"
    )


def _grid_keys(pairs: Sequence[tuple[str, str]]) -> list[Hashable]:
    """One key for each pair of digests: equal where either grid agrees with an earlier one."""
    known: dict[str, str] = {}
    keys: list[Hashable] = []
    for one, other in pairs:
        key = known.get(one) or known.get(other) or one
        known.setdefault(one, key)
        known.setdefault(other, key)
        keys.append(key)
    return keys


def _count(keys: Sequence[Hashable], truths: Sequence[str]) -> tuple[int, int, int]:
    first: dict[Hashable, str] = {}
    hits = wrong = 0
    for key, truth in zip(keys, truths, strict=True):
        if key in first:
            hits += 1
            wrong += first[key] != truth
        else:
            first[key] = truth
    return len(first), hits, wrong


if __name__ == "__main__":
    typer.run(main)
