"""Timing: how far a median of repeats can be trusted."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import torch

from paretoken.evaluators.engine.decode import Trace
from paretoken.evaluators.image_speed import time_images
from paretoken.evaluators.timing import Timed, mean_and_error, repeat


def test_repeats_stop_when_there_is_enough() -> None:
    asked: list[int] = []

    def work(i: int) -> float:
        asked.append(i)
        return 1.0

    assert len(repeat(work, warm_up=2, least=3, most=9, enough_s=5.0).seconds) == 5
    assert asked == [0, 1, 0, 1, 2, 3, 4]
    assert len(repeat(work, warm_up=0, least=3, most=9, enough_s=0.0).seconds) == 3
    assert len(repeat(work, warm_up=0, least=3, most=9, enough_s=99.0).seconds) == 9


def test_the_spread_is_that_of_medians() -> None:
    chance = np.random.default_rng(0)
    samples = chance.normal(1.0, 0.1, (4000, 15))
    medians = [Timed((tuple(sample),)).median for sample in samples]
    spreads = [Timed((tuple(sample),)).spread for sample in samples]
    # The formula holds for many repeats; at 15 medians scatter by 0.1 * 1.21 / sqrt(15) and the
    # quartiles of statistics.quantiles lie a little outside: together within 10 %.
    assert statistics.fmean(spreads) == pytest.approx(statistics.stdev(medians), rel=0.1)


def test_a_stalled_repeat_moves_neither_median_nor_spread_far() -> None:
    quiet = [1.0 + 0.01 * i for i in range(15)]
    stalled = [*quiet[:-1], 6.0]
    assert Timed((tuple(stalled),)).median == Timed((tuple(quiet),)).median
    assert Timed((tuple(stalled),)).spread == pytest.approx(Timed((tuple(quiet),)).spread, rel=0.2)
    assert Timed(((1.0, 1.0, 6.0),)).spread > 1.0  # of three nobody can say which one stalled


def test_moments_begin_anew_and_count_on() -> None:
    told: list[str] = []

    def work(i: int) -> float:
        told.append(str(i))
        return 1.0

    timed = repeat(
        work, warm_up=1, least=2, most=2, enough_s=0.0, moments=2, anew=lambda: told.append("anew")
    )
    assert told == ["anew", "0", "0", "1", "anew", "2", "2", "3"]
    assert timed.moments == ((1.0, 1.0), (1.0, 1.0))


def test_moments_that_differ_widen_the_spread() -> None:
    chance = np.random.default_rng(0)
    moment = chance.normal(1.0, 0.02, (4000, 3, 1))
    samples = moment + chance.normal(0.0, 0.001, (4000, 3, 5))
    timed = [Timed(tuple(tuple(group) for group in sample)) for sample in samples]
    # What the medians truly scatter by: the median of three moments, 0.67 of one moment's 0.02.
    truly = statistics.stdev(one.median for one in timed)
    assert truly == pytest.approx(0.67 * 0.02, rel=0.05)
    # sqrt(pi / 2) / sqrt(3) is 0.72; the sd of three values is 0.886 of the true one on average.
    assert statistics.fmean(one.spread for one in timed) == pytest.approx(0.64 * 0.02, rel=0.05)
    # The repeats of one moment alone know nothing of it.
    assert statistics.fmean(Timed(one.moments[:1]).spread for one in timed) < 0.1 * truly


def test_on_a_gpu_the_spread_counts_other_processes() -> None:
    timed = Timed(((1.9, 2.0, 2.1),))
    own = timed.spread / 2.0
    assert timed.relative_spread("cpu") == own
    assert timed.relative_spread("cuda") ** 2 - own**2 == pytest.approx(0.0093**2)


def test_one_value_has_no_spread() -> None:
    assert math.isinf(Timed(((1.0,),)).spread)
    assert mean_and_error([2.0]) == (2.0, math.inf)


def test_what_is_captured_while_images_are_drawn_is_told_too() -> None:
    class Groups:
        """Captures for a second when a class is first drawn, as groups of classes do."""

        def __init__(self) -> None:
            self.drawn: set[int] = set()

        @property
        def capture_seconds(self) -> float:
            return float(len(self.drawn))

        def run(self, classes: torch.Tensor, first_id: int = 0) -> tuple[torch.Tensor, Trace]:
            self.drawn |= set(classes.tolist())
            one = torch.ones(len(classes), dtype=torch.int64)
            clock = one.double()
            trace = Trace(one, one, one, one, 1.0, self.capture_seconds, clock, clock, clock)
            return torch.zeros(len(classes), 4, dtype=torch.int64), trace

    built: list[Groups] = []

    def build() -> Groups:
        built.append(Groups())
        return built[-1]

    found = time_images(
        build, batch=1, length=4, classes=10, device="cuda", pixels=lambda tokens: None,
        report=lambda phase, share: None,
    )  # fmt: skip
    assert len(built) > 1
    told = found.detail["capture_seconds"]
    assert told == sum(len(one.drawn) for one in built) >= 2 * len(built)
