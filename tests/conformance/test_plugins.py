"""Every plug-in that ships passes the suite of its kind, and wrong ones of every sort do not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from random import SystemRandom
from typing import Any

import pytest
import torch
from torch import Tensor

from paretoken.evaluators.components.drafters.prompt_lookup import PromptLookup
from paretoken.evaluators.components.verifiers.amplified import Amplified
from paretoken.evaluators.components.verifiers.exact import Exact
from paretoken.evaluators.engine.drafter import DraftMemory, Shape
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.proposal import Proposal, Verdict
from paretoken.evaluators.metrics.by_sample import Said, TextMetric
from paretoken.search.algorithms.random import RandomSearch
from paretoken.search.cli.main import main
from paretoken.search.decisions import Numbers
from paretoken.search.exporters import Documents
from paretoken.search.exporters.vllm import Vllm
from paretoken.search.exporting.asked import Asked
from paretoken.spaces.component import Component
from paretoken.spaces.conformance import NotConforming, check, kinds
from paretoken.spaces.errors import BadInput, UnknownName
from paretoken.spaces.objectives import Objective
from paretoken.spaces.plugins import KINDS


def _all() -> Iterator[tuple[str, str]]:
    """Workloads are opened by tests of their own."""
    for kind in ("verifiers", "drafters", "metrics", "exporters", "algorithms"):
        for name in KINDS[kind].names():
            yield kind, name


@pytest.mark.parametrize(("kind", "name"), list(_all()))
def test_what_ships_conforms(kind: str, name: str) -> None:
    check(kind, name)


def test_kinds_without_a_suite_are_told() -> None:
    found = {"algorithms", "drafters", "exporters", "image_tokenizers", "metrics", "verifiers"}
    assert set(kinds()) == {*found, "workloads"}
    with pytest.raises(UnknownName, match="no conformance suite is called 'presets'"):
        check("presets", "published")


# ------------------------------------------------------------- rules that test one draft at a time


class Beyond(Exact):
    """An acceptance above 1, which no coin can tell from 1 but the formula would."""

    def acceptance(self, *args: Any, **more: Any) -> Tensor:
        return 2.0 * super().acceptance(*args, **more)


class Forbidden(Exact):
    """Accepts a little of everything, what the target forbids too."""

    def acceptance(self, *args: Any, **more: Any) -> Tensor:
        return super().acceptance(*args, **more).clamp(min=0.1)


class Gregarious(Exact):
    """Looks at the other rows of the batch."""

    def ratio(self, p: Tensor, q: Tensor, tokens: Tensor, slot: Tensor, geometry: Geometry) -> Any:
        return super().ratio(p, q, tokens, slot, geometry) / p.shape[0]


class Oversimple(Amplified):
    """Says that it is the exact rule, which it is not."""

    def simplified(self) -> Component:
        return Exact()


class Twofaced(Exact):
    """Tells one law, and verifies by another."""

    def select(self, laws: Tensor, proposal: Proposal, *rest: Any) -> Verdict:
        verdict = super().select(laws, proposal, *rest)
        lucky = torch.arange(len(laws)) % 10 == 0
        whole = proposal.tokens.shape[1]
        return Verdict(verdict.path, torch.where(lucky, whole, verdict.accepted), verdict.law)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Beyond, "acceptance is a probability"),
        (Forbidden, "the target forbids"),
        (Gregarious, "rows and tokens stand alone"),
        (Oversimple, "its simpler writing"),
        (Twofaced, "the formula says"),
    ],
)
def test_wrong_rules_are_noticed(rule: type[Exact], said: str) -> None:
    with pytest.raises(NotConforming, match=said):
        check("verifiers", rule)


# ----------------------------------------------------------------------------------------- drafters


class Changed:
    """A memory whose drafts are changed on their way."""

    def __init__(self, memory: DraftMemory, change: Callable[[Proposal], Proposal]) -> None:
        self._memory, self._change = memory, change
        self.capturable, self.reset, self.observe = False, memory.reset, memory.observe

    def propose(self, drafts: int) -> Proposal:
        return self._change(self._memory.propose(drafts))


class Overmodest(PromptLookup):
    """Says of what it copies that it was drawn."""

    def memory(self, shape: Shape) -> DraftMemory:
        return Changed(super().memory(shape), lambda p: replace(p, laws=p.laws * 0 + 1 / 3))


class Gossiping(PromptLookup):
    """Drafts for each row what it copied for another."""

    def memory(self, shape: Shape) -> DraftMemory:
        def rolled(p: Proposal) -> Proposal:
            return replace(p, tokens=p.tokens.roll(1, 0), laws=p.laws.roll(1, 0))

        return Changed(super().memory(shape), rolled)


class Foreign(PromptLookup):
    """Drafts words of another language."""

    def memory(self, shape: Shape) -> DraftMemory:
        return Changed(super().memory(shape), lambda p: replace(p, tokens=p.tokens + 3))


class Unforthcoming(PromptLookup):
    """Does not say what it lacks."""

    def memory(self, shape: Shape) -> DraftMemory:
        raise BadInput("")


@pytest.mark.parametrize(
    ("drafter", "said"),
    [
        (Overmodest, "answers follow the target's law"),
        (Gossiping, "whoever is answered beside it"),
        (Foreign, "of 3"),
        (Unforthcoming, "does not say what it lacks"),
    ],
)
def test_wrong_drafters_are_noticed(drafter: type[PromptLookup], said: str) -> None:
    with pytest.raises(NotConforming, match=said):
        check("drafters", drafter)


# ---------------------------------------------------------------------------- metrics and exporters


class Length(TextMetric):
    """How long answers are, in characters."""

    objective = Objective("characters", "characters", True, "how long answers are")

    def values(self, answers: Sequence[Said]) -> Sequence[float]:
        return [float(len(answer.text)) for answer in answers]


class Relative(Length):
    """Depends on who else is there."""

    def values(self, answers: Sequence[Said]) -> Sequence[float]:
        found = super().values(answers)
        return [value / (1 + max(found)) for value in found]


class Division(Length):
    """Fails on an empty answer."""

    def values(self, answers: Sequence[Said]) -> Sequence[float]:
        return [1 / value for value in super().values(answers)]


class Unnamed(Length):
    """Cannot be asked for."""

    objective = Objective("how long?", "characters", True, "how long answers are")


class Forgetful(Length):
    """Leaves some out."""

    def values(self, answers: Sequence[Said]) -> Sequence[float]:
        return [value for value in super().values(answers) if value]


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (Relative, "among others"),
        (Division, "ZeroDivisionError"),
        (Unnamed, "cannot be written in --where"),
        (Forgetful, "numbers for"),
    ],
)
def test_wrong_metrics_are_noticed(metric: type[TextMetric], said: str) -> None:
    check("metrics", Length())
    with pytest.raises(NotConforming, match=said):
        check("metrics", metric())


class Misspelt(Vllm):
    """Writes a field that its schema does not know."""

    def express(self, asked: Asked) -> Documents:
        documents = super().express(asked)
        documents["vllm.yaml"]["dtipe"] = documents["vllm.yaml"].pop("dtype")
        return documents


class Mute(Vllm):
    """Refuses without a reason."""

    def express(self, asked: Asked) -> Documents:
        found = super().express(asked)
        for i, one in enumerate(asked.refusals):
            asked.refusals[i] = type(one)(one.code, one.knob, one.value, "")
        return found


class Placeless(Vllm):
    """Does not say what is to be done with its files."""

    def use(self, asked: Asked, documents: Documents) -> str:
        return "vllm serve MODEL"


# A class of another module finds its schema where that module is.
for _wrong in (Misspelt, Mute, Placeless):
    _wrong.__module__ = Vllm.__module__


@pytest.mark.parametrize(
    ("exporter", "said"),
    [
        (Misspelt, "its own schema refuses"),
        (Mute, "without code, knob or reason"),
        (Placeless, "FOLDER"),
    ],
)
def test_wrong_exporters_are_noticed(exporter: type[Vllm], said: str) -> None:
    with pytest.raises(NotConforming, match=said):
        check("exporters", exporter())


# -------------------------------------------------------------------------------------- algorithms


class Unrepeatable(RandomSearch):
    """Takes its chance where it finds it."""

    def propose(self, n: int) -> Numbers:
        return self.decisions.random(SystemRandom())


class Deaf(RandomSearch):
    """Does not listen to its seed."""

    def chance(self, n: int, purpose: str = "") -> random.Random:
        return random.Random(f"{n}/{purpose}")


class Amnesiac(RandomSearch):
    """Counts its proposals itself, and is not told of those before it was stopped."""

    made = 0

    def propose(self, n: int) -> Numbers | None:
        self.made += 1
        return super().propose(self.made)


class Outside(RandomSearch):
    """Proposes a choice that there is not."""

    def propose(self, n: int) -> Numbers:
        return (99.0, *self.decisions.random(self.chance(n))[1:])


class Stubborn(RandomSearch):
    """Proposes one half of what there is, again and again."""

    def propose(self, n: int) -> Numbers:
        return self.decisions.nth(n % max(1, int(min(self.decisions.count, 1e6)) // 2))


@pytest.mark.parametrize(
    ("algorithm", "said"),
    [
        (Unrepeatable, "equal seeds propose alike"),
        (Deaf, "another seed proposes something else"),
        (Amnesiac, "restored it goes on"),
        (Outside, "it proposes what is in the space"),
        (Stubborn, "are not proposed in"),
    ],
)
def test_wrong_algorithms_are_noticed(algorithm: type[RandomSearch], said: str) -> None:
    with pytest.raises(NotConforming, match=said):
        check("algorithms", algorithm)


# ----------------------------------------------------------------------------------- the command


def test_the_command_tells_each_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "metrics", "--check", "compression"]) == 0
    told = capsys.readouterr().out
    assert told.count("ok ") == 4 and "metrics/compression: 4 of 4 checks passed" in told
    assert main(["plugins", "--check", "compression"]) == 2
    assert main(["plugins", "metrics", "--check", "compresion"]) == 2
    assert "Did you mean 'compression'" in capsys.readouterr().err
    assert main(["plugins", "residuals", "--check", "exact"]) == 2
