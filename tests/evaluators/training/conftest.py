"""A domain of a few bytes and a model of a few thousand weights: training takes milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from paretoken.evaluators.continual_workload import ContinualWorkload
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.evaluators.training.domains import Domain, Format
from paretoken.evaluators.training.trainer import Recipe, Trainer
from paretoken.spaces.workload import Report

CPU = torch.device("cpu")
FORMAT = Format(vocabulary=8, height=2, width=4, classes=2)


def domain(name: str, step: int) -> Domain:
    """Rows that count upwards by `step`, from anywhere: learnt in a few steps."""
    start = torch.arange(64).unsqueeze(1) % 8
    rows = ((start + step * torch.arange(8)) % 8).to(torch.int16)
    classes = torch.zeros(64, dtype=torch.int64)
    return Domain(name, rows[:48], classes[:48], rows[48:], classes[48:])


class TwoCounts:
    """Counting by one, then by three."""

    identity: Mapping[str, Any] = {"data": "counts"}
    format = FORMAT
    names = ("by one", "by three")

    def load(self, report: Report) -> tuple[Domain, ...]:
        return domain("by one", 1), domain("by three", 3)


RECIPE = Recipe(FORMAT.model(dim=32, layers=1), batch=4, precision="float32")


@pytest.fixture
def artefacts(tmp_path: Path) -> Artefacts:
    return Artefacts(tmp_path / "artefacts", "trained")


@pytest.fixture
def trainer(artefacts: Artefacts) -> Trainer:
    domains = TwoCounts().load(lambda phase, share: None)
    return Trainer(RECIPE, domains, artefacts, {"of": "tests"}, CPU)


@pytest.fixture
def workload(artefacts: Artefacts) -> ContinualWorkload:
    return ContinualWorkload(
        TwoCounts(), RECIPE, stages=(40, 40), samples=3, artefacts=artefacts, device=CPU
    )
