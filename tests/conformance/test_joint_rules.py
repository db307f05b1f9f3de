"""The suite that a joint rule must pass before it is believed to be lossless.

A rule that draws on more than one slot at a time has no law that could be computed on recorded
rows. Its class names in `passed` the digest of the source that passed here: whoever changes the
rule runs this suite, and writes down the new digest it prints if all else is green.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.laws import draw_with_noise
from paretoken.evaluators.engine.proposal import Proposal
from paretoken.evaluators.engine.verifier import Chance, PerToken, SharedNoise, Verifier
from paretoken.evaluators.law import source_digest
from paretoken.spaces.plugins import KINDS

VOCABULARY, ROWS = 4, 100_000
LEVEL = 1e-5  # a right rule fails one in 100,000 choices of the seed, which is fixed


def joint_rules() -> Iterator[type[Verifier]]:
    """Those that decide by noise; those that toss coins are in `test_rules_of_chance`."""
    yield SharedNoise
    for name in KINDS["verifiers"].names():
        rule = KINDS["verifiers"].load(name)
        if not issubclass(rule, PerToken) and not rule.renews_chance:
            yield rule


def noise(seed: int, *size: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return -(-torch.rand(*size, generator=generator, dtype=torch.float64).log()).log()


def emitted(rule: Any, proposal_of: Callable[[Tensor], Tensor]) -> Tensor:
    """The first two tokens [ROWS, 2] that a rule lets through, drafts coming of `proposal_of`.

    The target's law of the second token depends on the first, as a model's does; where the draft
    was refused, the second is drawn in a round of its own.
    """
    first = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    second = torch.tensor(
        [[0.1, 0.2, 0.3, 0.4], [0.25] * 4, [0.7, 0.1, 0.1, 0.1], [0.0, 0.5, 0.5, 0.0]],
        dtype=torch.float64,
    )
    gumbel = noise(0, ROWS, 2, VOCABULARY)
    draft = proposal_of(gumbel[:, 0])
    laws = torch.stack([first.expand(ROWS, -1), second[draft]], dim=1)
    proposal = Proposal(
        draft.unsqueeze(1),
        torch.full((ROWS, 1, VOCABULARY), 1 / VOCABULARY, dtype=torch.float64),
        torch.ones(ROWS, 1, dtype=torch.bool),
        (-1,),
    )
    geometry = Geometry(torch.eye(VOCABULARY), torch.eye(VOCABULARY))
    chance = Chance(torch.zeros(ROWS, 1), gumbel, torch.arange(2).expand(ROWS, -1))
    verdict = rule.select(laws, proposal, None, chance, geometry)
    kept = verdict.accepted == 1
    token = (
        verdict.fresh.gather(1, verdict.accepted.unsqueeze(1)).squeeze(1)
        if verdict.law is None
        else verdict.law.argmax(-1)
    )
    one = torch.where(kept, draft, token)
    following = draw_with_noise(second[one], gumbel[:, 1])
    return torch.stack([one, torch.where(kept, token, following)], dim=1)


def p_value(tokens: Tensor) -> float:
    first = [0.4, 0.3, 0.2, 0.1]
    second = [[0.1, 0.2, 0.3, 0.4], [0.25] * 4, [0.7, 0.1, 0.1, 0.1], [0.0, 0.5, 0.5, 0.0]]
    seen = torch.bincount(tokens[:, 0] * VOCABULARY + tokens[:, 1], minlength=VOCABULARY**2)
    statistic, cells = 0.0, 0
    for i, j in itertools.product(range(VOCABULARY), repeat=2):
        expected = ROWS * first[i] * second[i][j]
        if expected == 0:
            assert seen[i * VOCABULARY + j] == 0  # forbidden tokens never appear
            continue
        statistic += (float(seen[i * VOCABULARY + j]) - expected) ** 2 / expected
        cells += 1
    return float(chi2.sf(statistic, cells - 1))


DRAFTS: dict[str, Callable[[Tensor], Tensor]] = {
    "drafts of the same noise": lambda gumbel: gumbel.argmax(-1),
    "drafts of other noise": lambda gumbel: noise(1, ROWS, VOCABULARY).argmax(-1),
    "always the same draft": lambda gumbel: torch.full((ROWS,), 2),
    "the likeliest refused": lambda gumbel: gumbel.argmin(-1),
}


@pytest.mark.parametrize("rule", list(joint_rules()), ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("drafts", DRAFTS)
def test_the_emitted_law_is_the_targets(rule: type[Verifier], drafts: str) -> None:
    assert p_value(emitted(rule(), DRAFTS[drafts])) > LEVEL


@pytest.mark.parametrize("rule", list(joint_rules()), ids=lambda rule: rule.__name__)
def test_the_source_is_the_one_that_passed(rule: type[Verifier]) -> None:
    assert rule.passed == source_digest(rule), f"write passed = {source_digest(rule)!r}"


def test_the_suite_notices_a_rule_that_keeps_too_much() -> None:
    class KeepsSome(SharedNoise):
        def select(self, laws: Tensor, proposal: Proposal, *rest: Any) -> Any:
            verdict = super().select(laws, proposal, *rest)
            lucky = torch.arange(len(laws)) % 10 == 0
            accepted = torch.where(lucky, 1, verdict.accepted)
            return type(verdict)(verdict.path, accepted, None, verdict.fresh)

    found = p_value(emitted(KeepsSome(), DRAFTS["always the same draft"]))
    assert found < LEVEL
