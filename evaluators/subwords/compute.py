"""Compute: a budget of arithmetic, the same for every tokenizer, in place of a number of steps.

A large vocabulary makes fewer tokens of a text and each of them dearer, for the model scores every
entry at every token. So what is equal for all is the arithmetic of training: who makes it dearer
sees fewer tokens. Counted as is usual (Kaplan et al. 2020, arXiv:2001.08361; Chowdhery et al. 2022,
arXiv:2204.02311): 6 operations a token for each weight of a matrix that is multiplied, the output
layer included, and 12 * layers * dim * context for attention. Looking up embeddings is free.
"""

from __future__ import annotations

import numpy as np

from paretoken.evaluators.models.llamagen import TransformerConfig
from paretoken.evaluators.training.curves import Phase, curve, rates
from paretoken.evaluators.training.route import Route
from paretoken.spaces.errors import MeasurementFailed

# A rate for models of this size, warmed up for a twentieth, then a cosine to a tenth.
_PEAK, _WARM_UP, _FLOOR = 3e-3, 0.05, 0.1
# Fewer steps say nothing about a tokenizer.
_LEAST = 10


def operations(model: TransformerConfig) -> float:
    """Floating-point operations of training on one token."""
    block = 4 * model.dim * model.dim + 3 * model.dim * model.hidden
    weights = model.layers * block + model.dim * model.vocabulary
    return 6.0 * weights + 12.0 * model.layers * model.dim * model.length


def steps(model: TransformerConfig, batch: int, budget: float) -> int:
    """Optimizer steps that a budget of operations pays for; raises MeasurementFailed."""
    found = int(budget / (operations(model) * batch * model.length))
    if found < _LEAST:
        raise MeasurementFailed(
            "unsupported",
            f"{budget / 1e9:g} GFLOPs pay for {found} steps of {batch} x {model.length} tokens of "
            f"a model with {model.vocabulary} entries, and fewer than {_LEAST} say nothing: raise "
            "--option compute, or take a smaller vocabulary.",
        )
    return found


def route(steps: int) -> Route:
    """The rates of training for so many steps."""
    rising = round(_WARM_UP * steps)
    falls = Phase("cosine", steps - rising, _PEAK, _FLOOR * _PEAK, steps - rising)
    rate = rates((*curve("linear", rising, _PEAK / max(rising, 1), _PEAK), falls))
    return Route(
        np.zeros(steps, np.int32), rate.astype(np.float32), np.arange(steps, dtype=np.int32), steps
    )
