"""Joint rules that toss coins: that the suite notices a wrong one, and what blocks promise."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from paretoken.evaluators.components.verifiers.block import Block
from paretoken.evaluators.components.verifiers.exact import Exact
from paretoken.evaluators.conformance.enumerable import (
    LEVEL,
    ROWS,
    Model,
    emitted,
    p_value,
)
from paretoken.evaluators.engine.proposal import Proposal
from paretoken.evaluators.engine.verifier import Chance
from paretoken.spaces.conformance import NotConforming, check

CHAIN = (-1, 0)


def test_the_suite_notices_a_rule_that_keeps_too_much() -> None:
    class Greedy(Block):
        """Blocks whose coins are loaded."""

        def select(self, laws: Tensor, proposal: Proposal, *rest: Any) -> Any:
            residual, chance, geometry = rest
            generous = Chance(chance.accept * 0.9)
            return super().select(laws, proposal, residual, generous, geometry)

    target = Model(0)
    line, _, _ = emitted(Greedy(), target, Model(100), CHAIN)
    assert p_value(line, target) < LEVEL
    with pytest.raises(NotConforming, match="another law than the target's"):
        check("verifiers", Greedy)


@pytest.mark.parametrize("seed", range(4))
def test_blocks_keep_no_fewer_drafts_than_tokens_one_by_one(seed: int) -> None:
    target, draft = Model(seed), Model(100 + seed)
    block, single = (
        float(emitted(rule(), target, draft, CHAIN)[1].accepted.double().mean())
        for rule in (Block, Exact)
    )
    # The standard error of a mean of 0, 1 and 2 over ROWS is below 0.0025; five of the difference.
    assert block > single - 5 * 2**0.5 * 1.0 / ROWS**0.5
