"""A small text with everything in it that tokenizers lose, and a workload whose models are tiny."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from paretoken.evaluators.subword_workload import SubwordWorkload
from paretoken.evaluators.subwords.corpus import Corpus
from paretoken.evaluators.subwords.language import Sizes
from paretoken.evaluators.training.artefacts import Artefacts

pytest.importorskip("tokenizers")
pytest.importorskip("sentencepiece")

_STEMS = ("token", "walk", "talk", "model", "small", "byte", "word", "merge", "point", "front")
_ENDS = ("", "s", "ed", "ing", "er", "ers")


def text(seed: int, words: int = 60) -> str:
    """Words of stems and endings, figures, headings, indented lines and two kinds of line ends."""
    chance = random.Random(seed)
    found = [chance.choice(_STEMS) + chance.choice(_ENDS) for _ in range(words)]
    found[5] = str(chance.randrange(10_000))
    found[9] = "##" + found[9]
    return (
        " ".join(found[:20]) + ".\n\n  " + " ".join(found[20:40]) + "\r\n\t" + " ".join(found[40:])
    )


@pytest.fixture
def corpus() -> Corpus:
    return Corpus(tuple(text(seed) + "\n" for seed in range(40)))


SIZES = Sizes(dim=32, layers=1, context=16, batch=4, budget=4e8, precision="float32")


@pytest.fixture
def workload(corpus: Corpus, tmp_path: Path) -> SubwordWorkload:
    return SubwordWorkload(
        corpus, SIZES, samples=2, artefacts=Artefacts(tmp_path, "tokenizers"),
        models=Artefacts(tmp_path, "trained"), device=torch.device("cpu"),
    )  # fmt: skip
