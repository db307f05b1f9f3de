"""Rules that decide by shared noise: in the shipped suite, which notices a wrong one.

`SharedNoise` is no plug-in: the drafter's coupling implies it. Plug-ins are tested in
`test_plugins`.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from paretoken.evaluators.conformance import by_noise
from paretoken.evaluators.conformance.enumerable import LEVEL
from paretoken.evaluators.engine.proposal import Proposal
from paretoken.evaluators.engine.verifier import SharedNoise
from paretoken.spaces.conformance import NotConforming, check


def test_shared_noise_conforms() -> None:
    check("verifiers", SharedNoise)


def test_the_suite_notices_a_rule_that_keeps_too_much() -> None:
    class KeepsSome(SharedNoise):
        """Some drafts stand by luck."""

        def select(self, laws: Tensor, proposal: Proposal, *rest: Any) -> Any:
            verdict = super().select(laws, proposal, *rest)
            lucky = torch.arange(len(laws)) % 10 == 0
            accepted = torch.where(lucky, 1, verdict.accepted)
            return type(verdict)(verdict.path, accepted, None, verdict.fresh)

    drafts = by_noise.DRAFTS["always the same draft"]
    assert by_noise.p_value(by_noise.emitted(KeepsSome(), drafts)) < LEVEL
    with pytest.raises(NotConforming, match="always the same draft"):
        check("verifiers", KeepsSome)
