"""A few drawn pictures, and families small enough for seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from paretoken.evaluators.image_tokenizers import pictures
from paretoken.evaluators.image_tokenizers.family import ImageTokenizer, Learner, Sizes
from paretoken.evaluators.image_tokenizers.pictures import Pictures
from paretoken.evaluators.workloads.fashion.data import pixels
from paretoken.spaces.candidate import from_tree

pytest.importorskip("vector_quantize_pytorch")

SIZES = Sizes(width=16, blocks=1, batch=8)
# Every family once, small; of what decodes in steps or from a beginning, the whole.
FAMILIES: dict[str, dict[str, Any]] = {
    "vq": {"codebook": 64},
    "fsq": {"levels": "8,6,5"},
    "lfq": {"bits": 6},
    "residual": {"codebook": 64, "stages": 3},
    "tokenbridge": {"channels": 4, "bits": 3},
    "flextok": {"registers": 16, "levels": "8,6,5", "steps": 3},
    "one_dimensional": {"registers": 16, "levels": "8,6,5"},
    "multi_scale": {"scales": "1,2,4", "codebook": 64},
    "jpeg": {"vocabulary": 300},
}


Family = Callable[..., ImageTokenizer]
Learnt = Callable[..., Learner | None]


@pytest.fixture(params=sorted(FAMILIES))
def name(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    return str(request.param)


@pytest.fixture
def family() -> Family:
    """A family with the small settings of this file and others in their place."""

    def made(name: str, **knobs: Any) -> ImageTokenizer:
        tree = {"is": f"image_tokenizers/{name}", **FAMILIES[name], **knobs}
        found = from_tree(tree, "image_tokenizers")
        assert isinstance(found, ImageTokenizer)
        return found

    return made


@pytest.fixture
def learnt() -> Learnt:
    """A learner after a few steps on images uint8 [n, 1, 32, 32]."""

    def trained(tokenizer: ImageTokenizer, images: Tensor, steps: int = 4) -> Learner | None:
        torch.manual_seed(0)
        learner = tokenizer.learner(SIZES)
        if learner is None:
            return None
        optimizer = torch.optim.AdamW(learner.parameters(), 2e-3)
        learner.train()
        for _ in range(steps):
            loss = learner.loss(pixels(images[torch.randint(len(images), (SIZES.batch,))]))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        return learner.eval()

    return trained


@pytest.fixture(scope="session")
def some(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """80 drawn pictures to train on, 40 to judge by."""
    folder = tmp_path_factory.mktemp("pictures")
    return pictures.drawn(80, 40, folder, torch.device("cpu"), lambda phase, share: None)
