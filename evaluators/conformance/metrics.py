"""The suite of metrics: one finite number for each sample, which no other sample changes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from paretoken.evaluators.metrics.by_sample import ImageMetric, Metric, Said, TextMetric
from paretoken.evaluators.text_prompts import Prompt
from paretoken.spaces.conformance import Check

_ASKED = Prompt("p", "rewrite", "Say it again.", "The cat sat on the mat.", "the mat")
# What decoders come up with: the same, nearly the same, a loop, nothing at all, other alphabets.
_TEXTS = (
    "The cat sat on the mat.",
    "the cat, it sat on a mat",
    "cat " * 40,
    "",
    " \n",
    "Кот сидел на коврике. 猫は座った 🐈",
)


def suite(plugin: Any) -> Iterator[Check]:
    """The checks of a metric."""
    if not isinstance(plugin, TextMetric | ImageMetric):
        yield "it is a metric of text or of images", lambda: f"it is {plugin!r}"
        return
    samples = _texts() if isinstance(plugin, TextMetric) else _images()
    yield "its objective has a name and a unit", lambda: _named(plugin)
    yield "each sample has a finite number", lambda: _finite(plugin, samples)
    yield "the same samples have the same numbers", lambda: _same(plugin, samples, samples)
    yield "no sample changes another's number", lambda: _alone(plugin, samples)


def _texts() -> list[Said]:
    return [Said(_ASKED, text, _TEXTS[0]) for text in _TEXTS]


def _images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (4, 3, 32, 32), generator=generator, dtype=torch.uint8)
    noise[0] = 0  # black
    noise[1] = 255
    return noise


def _named(metric: Metric) -> str:
    objective = metric.objective
    if not objective.name.isidentifier():
        return f"{objective.name!r} cannot be written in --where: use letters, digits and _"
    return "" if objective.doc else f"{objective.name} does not say what it is (doc)"


def _values(metric: Any, samples: Any) -> list[float]:
    return [float(value) for value in metric.values(samples)]


def _finite(metric: Any, samples: Any) -> str:
    found = _values(metric, samples)
    if len(found) != len(samples):
        return f"{len(found)} numbers for {len(samples)} samples"
    odd = [value for value in found if not math.isfinite(value)]
    return f"{odd[0]} among {found}" if odd else ""


def _same(metric: Any, samples: Any, again: Any) -> str:
    one, other = _values(metric, samples), _values(metric, again)
    return "" if one == other else f"{one}, then {other}"


def _alone(metric: Any, samples: Any) -> str:
    together = _values(metric, samples)
    for i, value in enumerate(together):
        (alone,) = _values(metric, samples[i : i + 1])
        # Sums over an image may run in another order beside others.
        if not math.isclose(alone, value, rel_tol=1e-9, abs_tol=1e-12):
            return f"sample {i} is {value} among others and {alone} alone"
    return ""
