"""The suite of image tokenizers: what a search and a model rely on, found out in a few steps.

Run on made-up pictures, before anything is learnt and after four steps of training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from paretoken.evaluators.image_tokenizers.coder import Coder
from paretoken.evaluators.image_tokenizers.family import SIDE, ImageTokenizer, Learner, Sizes
from paretoken.evaluators.workloads.fashion.data import pixels
from paretoken.spaces.canonical import canonical
from paretoken.spaces.conformance import Check

_SIZES = Sizes(width=16, blocks=1, batch=8)
_IMAGES, _STEPS = 24, 4


def suite(plugin: Any) -> Iterator[Check]:
    """The checks of an image tokenizer's class."""
    if not (isinstance(plugin, type) and issubclass(plugin, ImageTokenizer)):
        yield "it is a class of image tokenizers", lambda: f"it is {plugin!r}"
        return
    tried = _Tried(plugin())
    yield "it is documented", lambda: "" if (plugin.__doc__ or "").strip() else "no docstring"
    yield "its canonical form settles", tried.settles
    yield "settings of decoding are its own, and train nothing", tried.decoding
    yield "it trains, and its loss is a number", tried.trains
    yield "tokens are whole numbers in the range of their position", tried.ranges
    yield "encoding draws nothing", tried.encodes_alike
    yield "decoding draws by its seed alone", tried.decodes_alike
    yield "what lies behind the tokens kept is not read", tried.beginning
    yield "tokens that a model made up are decoded or said to be broken", tried.anything
    yield "its calls are counted", tried.calls


def pictures() -> Tensor:
    """uint8 [n, 1, 32, 32]: discs of different places, sizes and greys."""
    chance = torch.Generator().manual_seed(0)
    x, y, radius, grey = torch.rand(4, _IMAGES, 1, 1, generator=chance)
    across = torch.arange(SIDE) / SIDE
    inside = (across - x) ** 2 + (across.unsqueeze(1) - y) ** 2 < (0.1 + 0.3 * radius) ** 2
    found: Tensor = (inside * (60 + 195 * grey)).to(torch.uint8).unsqueeze(1)
    return found


@dataclass
class _Tried:
    tokenizer: ImageTokenizer
    _coder: Coder | None = None

    def settles(self) -> str:
        simple = canonical(self.tokenizer)
        return "" if canonical(simple) == simple else f"{simple!r} is simplified again"

    def decoding(self) -> str:
        unknown = set(self.tokenizer.decoding) - set(self.tokenizer.fields)
        if unknown:
            return f"{', '.join(sorted(unknown))} in decoding are no knobs"
        if set(self.tokenizer.modelling) - set(self.tokenizer.decoding):
            return "what changes tokens alone (modelling) has to be among decoding"
        told = set(self.tokenizer.trained()) & set(self.tokenizer.decoding)
        return f"{', '.join(sorted(told))} would train anew" if told else ""

    def trains(self) -> str:
        images = pictures()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            learner = self.tokenizer.learner(_SIZES)
            if learner is not None:
                problem = _few_steps(learner, images)
                if problem:
                    return problem
        self._coder = self.tokenizer.coder(learner, images)
        return ""

    @property
    def coder(self) -> Coder:
        if self._coder is None:
            raise RuntimeError("there is no coder, for training failed")
        return self._coder

    def ranges(self) -> str:
        ids, layout = self.coder.encode(pictures()), self.coder.layout
        if ids.dtype != torch.int64 or ids.shape != (_IMAGES, layout.length):
            return f"tokens are {ids.dtype} {list(ids.shape)} for a layout of {layout.length}"
        if not bool((ids >= 0).all() and (ids < torch.tensor(layout.sizes)).all()):
            return f"tokens from {int(ids.min())} to {int(ids.max())}"
        return "" if 0 < self.coder.kept <= layout.length else f"{self.coder.kept} are kept"

    def encodes_alike(self) -> str:
        one, other = (self.coder.encode(pictures()) for _ in range(2))
        return "" if torch.equal(one, other) else "two encodings differ"

    def decodes_alike(self) -> str:
        ids = self.coder.encode(pictures())
        one, other = (self.coder.decode(ids, 3).images for _ in range(2))
        if one.dtype != torch.uint8 or one.shape != (_IMAGES, 1, SIDE, SIDE):
            return f"images are {one.dtype} {list(one.shape)}"
        return "" if torch.equal(one, other) else "two decodings with one seed differ"

    def beginning(self) -> str:
        ids, kept = self.coder.encode(pictures()), self.coder.kept
        whole = self.coder.decode(ids, 3).images
        alike = torch.equal(whole, self.coder.decode(ids[:, :kept], 3).images)
        return "" if alike else f"images of the first {kept} tokens differ from those of all"

    def anything(self) -> str:
        sizes = torch.tensor(self.coder.layout.sizes)
        chance = torch.Generator().manual_seed(1)
        ids = (torch.rand(_IMAGES, len(sizes), generator=chance) * sizes).long()
        made = self.coder.decode(ids, 0)
        if made.broken.shape != (_IMAGES,) or made.broken.dtype != torch.bool:
            return f"broken is {made.broken.dtype} {list(made.broken.shape)}"
        return "" if len(made.images) == _IMAGES else f"{len(made.images)} images"

    def calls(self) -> str:
        calls = self.coder.calls
        return "" if isinstance(calls, int) and calls >= 0 else f"calls is {calls!r}"


def _few_steps(learner: Learner, images: Tensor) -> str:
    optimizer = torch.optim.AdamW(learner.parameters(), 1e-3)
    learner.train()
    for step in range(_STEPS):
        loss = learner.loss(pixels(images[torch.randint(_IMAGES, (_SIZES.batch,))]))
        if loss.ndim or not bool(loss.isfinite()):
            return f"the loss of step {step} is {loss.detach()!r}"
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    learner.eval()
    return ""
