"""Making: a tokenizer out of its settings, trained unless it was before, and watched meanwhile.

A codebook of which next to nothing is used is given up early: training rarely mends it, and what it
would be worth says nothing of its settings.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

import torch
from loguru import logger
from torch import Tensor

from paretoken.evaluators.image_tokenizers.autoregressive import digest
from paretoken.evaluators.image_tokenizers.codec import library
from paretoken.evaluators.image_tokenizers.coder import Coder
from paretoken.evaluators.image_tokenizers.family import ImageTokenizer, Learner, Sizes
from paretoken.evaluators.image_tokenizers.fitting import Fit, Recipe, Say
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.evaluators.training.trainer import GRID, Counts
from paretoken.evaluators.workloads.fashion.data import pixels
from paretoken.spaces.errors import MeasurementFailed

_VERSION = "paretoken image tokenizer 1"
_PEAK = 2e-3
_COLLAPSED = 0.05  # perplexity, as a share of what there is to choose from
_LOOKED_AT = 0.2  # share of training after which a codebook is looked at
_PROBED = 256  # images that it is looked at with
STATISTICS = 10_000  # images at most that a tokenizer's statistics are taken of


def libraries() -> list[str]:
    """What other versions of may train and code differently."""
    return [version("vector-quantize-pytorch"), *library()]


def own_libraries(tokenizer: ImageTokenizer) -> dict[str, str]:
    """Versions of what that family needs beside them; of what is not installed there is none."""
    found = {}
    for name in tokenizer.libraries:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


class Maker:
    """images: uint8 [n, 1, 32, 32] to train on, on the device. digest: of all data. steps: of a
    training with the whole budget."""

    def __init__(
        self, images: Tensor, of: str, sizes: Sizes, steps: int, artefacts: Artefacts
    ) -> None:
        self._images, self._of, self._sizes, self._steps = images, of, sizes, steps
        self._artefacts, self._device = artefacts, images.device
        self._ready: tuple[str, Learner] | None = None
        # It warns of k-means on fewer vectors than codes, which re-seeding puts right.
        logger.disable("vector_quantize_pytorch")

    def coder(
        self, tokenizer: ImageTokenizer, budget: float, seed: int, counts: Counts, say: Say
    ) -> Coder:
        """The tokenizer, trained with a share of the steps; counts: of steps, added to.

        Raises MeasurementFailed: "collapsed" or "diverged".
        """
        return self._coder(tokenizer, self.learner(tokenizer, budget, seed, counts, say))

    def untrained(self, tokenizer: ImageTokenizer) -> Coder:
        """The tokenizer with a network as it is before training: it takes the same time."""
        return self._coder(tokenizer, self._fresh(tokenizer, 0))

    def key(self, tokenizer: ImageTokenizer, budget: float, seed: int) -> str:
        """The key of what is trained: settings of decoding are not in it."""
        return digest(
            _VERSION, libraries(), self._of, asdict(self._sizes), asdict(self._recipe(budget)),
            tokenizer.tag(), tokenizer.trained(), seed,
        )  # fmt: skip

    def _coder(self, tokenizer: ImageTokenizer, learner: Learner | None) -> Coder:
        return tokenizer.coder(learner, self._images[:STATISTICS])

    def _fresh(self, tokenizer: ImageTokenizer, seed: int) -> Learner | None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            learner = tokenizer.learner(self._sizes)
        return None if learner is None else learner.to(self._device).eval()

    @property
    def precision(self) -> str:
        """That tokenizers are trained in, a name in torch."""
        return "bfloat16" if self._device.type == "cuda" else "float32"

    def _recipe(self, budget: float) -> Recipe:
        steps = max(1, round(budget * self._steps))
        return Recipe(steps, self._sizes.batch, _PEAK, self.precision)

    def learner(
        self, tokenizer: ImageTokenizer, budget: float, seed: int, counts: Counts, say: Say
    ) -> Learner | None:
        """The trained network, None where nothing is trained; see `coder`."""
        recipe, key = self._recipe(budget), self.key(tokenizer, budget, seed)
        if self._ready is not None and self._ready[0] == key:
            counts.spared += recipe.steps
            return self._ready[1]
        learner = self._fresh(tokenizer, seed)
        if learner is None:
            return None
        Fit(
            learner, lambda picked: learner.loss(pixels(self._images[picked])), len(self._images),
            recipe, self._device, counts=counts,
            watch=lambda step: self._watch(learner, step, recipe.steps),
        ).train(key, self._artefacts, seed, say)  # fmt: skip
        self._ready = key, learner.eval()
        return learner

    def _watch(self, learner: Learner, step: int, steps: int) -> None:
        """Raise MeasurementFailed for a codebook that has collapsed, early and at the end."""
        early = int(_LOOKED_AT * steps) // GRID * GRID
        if not learner.guarded or step not in (early, steps):
            return
        learner.eval()
        with torch.inference_mode():
            chosen = learner.chosen(pixels(self._images[:_PROBED]))
        share = torch.bincount(chosen, minlength=learner.guarded).double() / len(chosen)
        perplexity = float(torch.exp(-(share * share.clamp_min(1e-300).log()).sum()))
        least = _COLLAPSED * min(learner.guarded, len(chosen))
        if perplexity < least:
            raise MeasurementFailed(
                "collapsed",
                f"after {step} of {steps} steps {len(chosen)} tokens have a perplexity of "
                f"{perplexity:.1f}, less than {least:.1f}, a twentieth of what there is to choose "
                "from: take a smaller codebook.",
            )
