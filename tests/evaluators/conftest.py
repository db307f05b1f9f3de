"""An enumerable target: every law is known exactly, so decoders can be tested against it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from paretoken.evaluators.engine.decode import Decoding, Trace
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.spaces.candidate import from_tree

# Tensors of a few elements: more threads only wait for each other, most of all on a busy machine.
torch.set_num_threads(1)


class ToyTarget:
    """A random law for every prefix and class: V ** N sequences, all enumerable.

    Rows of float64 logits; a cache of fed tokens stands for keys and values, so that an engine that
    rolls back wrongly reads wrong prefixes.
    """

    modality = "image"
    capturable = True

    def __init__(self, vocabulary: int, length: int, width: int = 2, spread: float = 1.5) -> None:
        self.vocabulary, self.length, self.width = vocabulary, length, width
        self.device = torch.device("cpu")
        self.classes = 2
        self.ends: tuple[int, ...] = ()
        generator = torch.Generator().manual_seed(vocabulary * 1000 + length)
        prefixes = vocabulary ** (length - 1)
        shape = (self.classes, length, prefixes, vocabulary)
        self.logits = spread * torch.randn(shape, generator=generator, dtype=torch.float64)

    def begin(self, classes: Tensor, rows: Tensor, cache: Tensor) -> Tensor:
        return self.vocabulary + classes

    def allocate(self, batch: int, guided: bool) -> Tensor:
        return torch.zeros(batch, 1 + self.length + 64, dtype=torch.int64)

    def forward(
        self, tokens: Tensor, positions: Tensor, cache: Tensor, guided: bool
    ) -> tuple[Tensor, Tensor | None]:
        place = positions.unsqueeze(1) + torch.arange(tokens.shape[1])
        cache.scatter_(1, place, tokens)
        index = torch.zeros_like(tokens)
        for depth in range(1, self.length):
            digit = cache[:, depth].unsqueeze(1).clamp(max=self.vocabulary - 1)
            index = torch.where(depth <= place, index * self.vocabulary + digit, index)
        own = (cache[:, 0] - self.vocabulary).unsqueeze(1).expand_as(place)
        conditional = self.logits[own, place.clamp(max=self.length - 1), index]
        unconditional = self.logits[1 - own, place.clamp(max=self.length - 1), index]
        return conditional, unconditional if guided else None

    def law(self, of_class: int = 0) -> dict[tuple[int, ...], float]:
        """The exact probability of every sequence under plain sampling at temperature 1."""
        found = {}
        for sequence in itertools.product(range(self.vocabulary), repeat=self.length):
            probability, index = 1.0, 0
            for depth, token in enumerate(sequence):
                probability *= float(self.logits[of_class, depth, index].softmax(-1)[token])
                index = index * self.vocabulary + token
            found[sequence] = probability
        return found


def toy_geometry(vocabulary: int) -> Geometry:
    """Tokens at unequal distances on a line, so that neighbours are unambiguous."""
    places = torch.arange(vocabulary).double().pow(1.3).unsqueeze(1)
    return Geometry(places, torch.cat([places, 2.0 - places], dim=1))


def decode(
    target: Any,
    decoder: Mapping[str, Any],
    samples: int,
    *,
    batch: int,
    seed: int = 0,
    sampling: Mapping[str, Any] | None = None,
) -> tuple[Tensor, Trace]:
    """Decode `samples` samples of class 0 with settings given as trees, in float64."""
    tree: dict[str, Any] = {"decoder": {"is": "decoders/speculative", **decoder}}
    if sampling:
        tree["sampling"] = {"is": "samplings/standard", **sampling}
    candidate = from_tree(tree)
    decoding = Decoding(
        target,
        candidate.decoder,
        candidate.sampling,
        toy_geometry(target.vocabulary),
        batch=batch,
        seed=seed,
        dtype=torch.float64,
    )
    return decoding.run(torch.zeros(samples, dtype=torch.int64))


def p_value(tokens: Tensor, law: Mapping[tuple[int, ...], float]) -> float:
    """Pearson's chi-square p-value of samples [n, N] against an exact law.

    Cells expected fewer than 5 times are pooled, as the approximation asks for.
    """
    samples = len(tokens)
    seen: dict[tuple[int, ...], int] = dict.fromkeys(law, 0)
    for sequence in map(tuple, tokens.tolist()):
        seen[sequence] += 1
    statistic, cells, rare_expected, rare_seen = 0.0, 0, 0.0, 0
    for sequence, probability in law.items():
        expected = samples * probability
        if expected < 5:
            rare_expected += expected
            rare_seen += seen[sequence]
        else:
            statistic += (seen[sequence] - expected) ** 2 / expected
            cells += 1
    if rare_expected > 0:
        statistic += (rare_seen - rare_expected) ** 2 / rare_expected
        cells += 1
    return float(chi2.sf(statistic, cells - 1))


@pytest.fixture
def toy() -> ToyTarget:
    return ToyTarget(vocabulary=3, length=4)


@pytest.fixture
def run() -> Any:
    return decode


@pytest.fixture
def chi_square() -> Any:
    return p_value


@pytest.fixture
def toy_of() -> type[ToyTarget]:
    return ToyTarget
