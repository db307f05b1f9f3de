"""Coarse-to-fine prediction on a CUDA device: captured work is the work that was captured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from paretoken.evaluators.clusters.auxiliary import Auxiliary
from paretoken.evaluators.clusters.fine_pass import FinePass
from paretoken.evaluators.clusters.partition import Partition
from paretoken.evaluators.models.llamagen import TransformerConfig
from paretoken.evaluators.subwords.compute import route
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.evaluators.training.domains import Domain
from paretoken.evaluators.training.trainer import Recipe, Trainer
from paretoken.spaces.candidate import from_tree

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

CONFIG = TransformerConfig(
    dim=64, layers=2, heads=1, vocabulary=12, height=2, width=2, classes=2, dropout=0.0,
    class_dropout=0.1, multiple_of=32,
)  # fmt: skip
PARTITION = Partition.of(np.arange(12) % 5)


def auxiliary(config: TransformerConfig) -> Auxiliary:
    return Auxiliary(config, PARTITION, attention="full", masked=True, by_rank=False)


@pytest.mark.parametrize("build", [None, auxiliary], ids=["coarse", "fine"])
def test_captured_steps_train_as_steps_on_a_cpu_do(
    tmp_path: Path, images: Domain, build: Callable[[TransformerConfig], Any] | None
) -> None:
    recipe = Recipe(CONFIG, 8, "float32")
    found = {}
    for name in ("cpu", "cuda"):
        device = torch.device(name)
        knobs: dict[str, Any] = {} if build is None else {"build": build}
        trainer = Trainer(
            recipe,
            [images.to(device)],
            Artefacts(tmp_path, name),
            {},
            device,
            captures=True,
            **knobs,
        )
        key = trainer.train(route(40), 0, False, lambda step, of: None)
        kept = trainer.artefacts.load(key, "weights")
        assert kept is not None
        found[name] = kept.tensors["weights"]
    for name, weight in found["cpu"].items():
        # 40 steps of rates of 3e-3 move a weight by up to 0.1; Adam divides gradients that are
        # nearly nothing by themselves, so single weights may differ by a step or two.
        gap = (weight.double() - found["cuda"][name].double()).abs()
        assert float(gap.mean()) < 1e-3, name


@pytest.mark.parametrize("cfg", [1.0, 2.0])
def test_a_captured_pass_draws_what_an_eager_one_does(cfg: float) -> None:
    torch.manual_seed(0)
    model = auxiliary(replace(CONFIG, class_dropout=0.0))
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.3)
    model.eval().requires_grad_(False)
    sampling: Any = from_tree({"is": "samplings/standard", "cfg": cfg, "top_k": 2}, "samplings")
    coarse = torch.randint(5, (40, 4), generator=torch.Generator().manual_seed(1))
    classes = torch.arange(40) % 2
    drawn = [
        FinePass(
            model, sampling, batch=40, seed=4, device=torch.device(device), dtype=torch.float32,
            graphs=graphs,
        ).run(coarse, classes, 0)
        for device, graphs in (("cpu", False), ("cuda", False), ("cuda", True))
    ]  # fmt: skip
    assert torch.equal(drawn[1], drawn[2])
    assert float((drawn[0] != drawn[1]).double().mean()) < 0.02  # near-ties may fork
