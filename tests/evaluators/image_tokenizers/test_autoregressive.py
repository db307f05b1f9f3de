"""The model draws from the law that it tells bits by, position for position."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor

from paretoken.evaluators.image_tokenizers.autoregressive import Budget, Model
from paretoken.evaluators.image_tokenizers.layout import Layout
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.spaces.errors import MeasurementFailed

DRAWN = 6000
LAYOUTS = {
    "one vocabulary": Layout.shared(3, 1, 3),
    "channels": Layout((2, 3, 2), (0, 2, 5), 1, 3),
    "an end": Layout.shared(3, 1, 3, ends=True),
}


def model(layout: Layout, folder: Path, operations: float = 60e6) -> Model:
    """Trained a little, so that its law is uneven."""
    chance = torch.Generator().manual_seed(0)
    sizes = torch.tensor(layout.sizes)
    # Skewed and dependent: a token repeats the one before where it can.
    ids = (torch.rand(200, 3, generator=chance) ** 2 * sizes).long()
    ids[:, 1] = torch.where(torch.rand(200, generator=chance) < 0.5, ids[:, 0], ids[:, 1])
    ids = torch.minimum(ids, sizes - 1)
    if layout.ends:
        over = (ids == layout.end).long().cumsum(1) > 0
        ids = torch.where(over, layout.end, ids)
    budget = Budget(dim=32, layers=1, batch=4, operations=operations, precision="float32")
    classes = torch.zeros(200, dtype=torch.int64)
    return Model(layout, ids, classes, budget, Artefacts(folder, "x"))


def everything(layout: Layout) -> Tensor:
    """All sequences; those that end have the end behind it too."""
    found = torch.tensor(list(itertools.product(*map(range, layout.sizes))))
    if layout.ends:
        over = (found == layout.end).long().cumsum(1) > 0
        found = torch.where(over, layout.end, found).unique(dim=0)
    return found


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_drawn_has_the_law_of_the_bits(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    found = model(layout, tmp_path)
    found.train(0, lambda step, of: None)
    sequences = everything(layout)
    bits = found.bits(sequences, torch.zeros(len(sequences), dtype=torch.int64), 3)
    law = torch.exp2(-bits)
    # In float32; a law that left out the bar of a position would miss by far more.
    assert float(law.sum()) == pytest.approx(1.0, abs=1e-5)
    assert float(law.max() / law.min()) > 2.0
    classes = torch.zeros(DRAWN, dtype=torch.int64)
    drawn = found.drawn(classes, 3, 11, 2500, lambda done, of: None)
    where = (drawn.unsqueeze(1) == sequences).all(2)
    assert bool(where.any(1).all())  # nothing else is ever drawn
    counts = where.double().sum(0)

    def chi_square(expected: Tensor) -> float:
        return float(((counts - expected) ** 2 / expected).sum())

    # 26 degrees of freedom at most: 54.1 has p = 0.001; fewer make the bound looser.
    assert chi_square(DRAWN * law) < 54.1
    assert chi_square(DRAWN * law.roll(1)) > 54.1  # the control
    assert torch.equal(drawn, found.drawn(classes, 3, 11, 2500, lambda done, of: None))
    # An image takes the same chances however many of its tokens are drawn, and beside whom.
    beginning = found.drawn(classes, 2, 11, DRAWN, lambda done, of: None)
    assert torch.equal(beginning, drawn[:, :2])


def test_an_even_law_costs_what_it_has_entries(tmp_path: Path) -> None:
    layout = LAYOUTS["channels"]
    found = model(layout, tmp_path)
    found.train(0, lambda step, of: None)
    assert found._model is not None
    torch.nn.init.zeros_(found._model.output.weight)
    sequences = everything(layout)
    bits = found.bits(sequences, torch.zeros(len(sequences), dtype=torch.int64), 3)
    assert torch.allclose(bits, torch.full_like(bits, layout.raw_bits(3)), atol=1e-5)
    first = found.bits(sequences, torch.zeros(len(sequences), dtype=torch.int64), 1)
    assert torch.allclose(first, torch.ones_like(first), atol=1e-5)


def test_a_budget_that_trains_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MeasurementFailed, match="--option compute"):
        model(LAYOUTS["one vocabulary"], tmp_path, operations=1e6)
    # However much arithmetic there is, images are not gone through for ever.
    assert model(LAYOUTS["one vocabulary"], tmp_path, operations=1e15).steps == 40 * 200 // 4
