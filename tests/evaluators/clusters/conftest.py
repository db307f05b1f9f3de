"""Images of a few codes that follow a rule, and stages that train in milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from paretoken.evaluators.clusters.stages import Sizes, Stages
from paretoken.evaluators.components.candidates.coarse_to_fine import CoarseToFine
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.evaluators.training.domains import Domain, Format
from paretoken.spaces.candidate import from_tree

CODES = 12
FORMAT = Format(vocabulary=CODES, height=2, width=2, classes=2)
SIZES = Sizes(dim=32, layers=1, batch=8, compute=6e8, precision="float32")


@pytest.fixture
def candidate_of() -> Callable[..., CoarseToFine]:
    def make(name: str = "kmeans", clusters: int = 4, **knobs: Any) -> CoarseToFine:
        tree = {"is": f"clusterings/{name}", "clusters": clusters}
        found = from_tree({"is": "candidates/coarse_to_fine", "clustering": tree, **knobs})
        assert isinstance(found, CoarseToFine)
        return found

    return make


@pytest.fixture
def images() -> Domain:
    """Codes that follow one another by a rule with some noise; the class shifts them."""
    dice = torch.Generator().manual_seed(0)
    classes = torch.arange(96) % 2
    start = torch.randint(CODES, (96, 1), generator=dice)
    noise = torch.randint(2, (96, 4), generator=dice)
    rows = (start + 5 * torch.arange(4) + noise + 3 * classes.unsqueeze(1)) % CODES
    rows = rows.to(torch.int16)
    return Domain("rows", rows[:72], classes[:72], rows[72:], classes[72:])


@pytest.fixture
def artefacts(tmp_path: Path) -> Artefacts:
    return Artefacts(tmp_path / "artefacts", "trained")


@pytest.fixture
def stages_in(images: Domain) -> Callable[..., Stages]:
    def make(artefacts: Artefacts, sizes: Sizes = SIZES) -> Stages:
        return Stages(images, FORMAT, sizes, artefacts, {"of": "tests"}, torch.device("cpu"))

    return make
