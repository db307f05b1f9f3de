"""Coder: a tokenizer that is ready for use; and the rate of its tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from paretoken.evaluators.image_tokenizers.layout import Layout


@dataclass(frozen=True)
class Decoded:
    """images: uint8 [n, 1, H, W]. broken: bool [n], which could not be decoded and are grey."""

    images: Tensor
    broken: Tensor


class Coder(ABC):
    """Images to tokens and back.

    layout: of all tokens that a model learns. kept: how many of the first of them an image is
    decoded from, which is how many are generated. calls: of a network, one after the other, to
    decode. facts: what else is worth knowing, by name.
    """

    layout: Layout
    kept: int
    calls: int

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Tokens int64 [n, T] of images uint8 [n, 1, H, W]; T is the layout's length."""

    @abstractmethod
    def decode(self, ids: Tensor, seed: int) -> Decoded:
        """Images of tokens [n, at least kept]; what lies behind is not read.

        seed: of a decoder that draws; the n-th image is drawn alike whatever the tokenizer.
        """

    def facts(self, images: Tensor) -> dict[str, float]:
        """Shares and counts of images uint8 [n, 1, H, W] that only this family knows."""
        return {}


@dataclass(frozen=True)
class Rate:
    """What tokens cost, on average over images. tokens: one after another. bits: each as if it
    were independent of all others, in a code made for other images; bits_error: the standard error
    over images. raw_bits: each as if all were equally probable. usage: share of entries that occur.
    perplexity: 2 to the entropy of a vocabulary, the mean over them.
    """

    tokens: float
    bits: float
    bits_error: float
    raw_bits: float
    usage: float
    perplexity: float


def tokens_of(layout: Layout, ids: Tensor, kept: int) -> float:
    """How many of the first `kept` positions of ids [n, T] are written, on average."""
    if not layout.ends:
        return float(kept)
    return float(layout.counted(ids[:, :kept]).sum()) / len(ids)


def rate(layout: Layout, ids: Tensor, kept: int, learnt: Tensor) -> Rate:
    """The rate of the first `kept` positions of ids [n, T].

    Their code has the frequencies of other images' tokens, learnt [m, T], with half a token more of
    every entry (Krichevsky and Trofimov, 1981): in their own, tokens that occur n times in all of
    them would cost log2 n bits at most, however large the vocabulary is.
    """
    ids, learnt = ids[:, :kept], learnt[:, :kept]
    counted, counts_too = layout.counted(ids), layout.counted(learnt)
    offsets = layout.starts(ids.device)[:kept]
    bits = torch.zeros(len(ids), dtype=torch.float64, device=ids.device)  # of each image
    perplexity = 0.0
    used = entries = 0
    found = [(offset, size) for offset, size in layout.groups() if bool((offsets == offset).any())]
    for offset, size in found:
        here = counted & (offsets == offset)
        seen = learnt[counts_too & (offsets == offset)]
        known = torch.bincount(seen, minlength=size).double() + 0.5
        told = -(known / known.sum()).log2()
        bits += (told[ids.where(here, 0)] * here).sum(1)
        counts = torch.bincount(ids[here], minlength=size).double()
        entropy = -(torch.special.xlogy(counts, counts / counts.sum()).sum() / counts.sum())
        perplexity += float(entropy.exp()) / len(found)
        used += int((counts > 0).sum())
        entries += size
    tokens = tokens_of(layout, ids, kept)
    raw = tokens * layout.raw_bits(1) if layout.ends else layout.raw_bits(kept)
    error = float(bits.std()) / len(bits) ** 0.5
    return Rate(tokens, float(bits.mean()), error, raw, used / entries, perplexity)
