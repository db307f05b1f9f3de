"""Layouts: what a position may hold, what is paid for, and the rate of tokens of a known law."""

from __future__ import annotations

import math

import pytest
import torch

from paretoken.evaluators.image_tokenizers.coder import rate
from paretoken.evaluators.image_tokenizers.layout import Layout

CPU = torch.device("cpu")


def test_channels_and_stages_have_entries_of_their_own() -> None:
    channels = Layout.channels(4, 3, 2, 2)
    assert channels.length == 12 and channels.entries == 12 and channels.width == 6
    assert channels.offsets[:6] == (0, 4, 8, 0, 4, 8)
    barred = channels.barred(CPU)
    assert barred is not None
    assert (barred[1] == 0).nonzero().flatten().tolist() == [4, 5, 6, 7]
    stages = Layout.stages(8, [(2, 2), (2, 2)], shared=False)
    assert stages.offsets == (0,) * 4 + (8,) * 4 and (stages.height, stages.width) == (4, 2)
    scales = Layout.stages(8, [(1, 1), (2, 2)], shared=True)
    assert scales.entries == 8 and scales.barred(CPU) is None
    assert (scales.height, scales.width) == (1, 5)
    assert scales.raw_bits(2) == 6.0


def test_the_end_is_paid_for_and_what_follows_is_not() -> None:
    layout = Layout.shared(5, 1, 4, ends=True)
    ids = torch.tensor([[0, 4, 4, 4], [4, 4, 4, 4], [1, 2, 3, 0]])
    assert layout.counted(ids).sum(1).tolist() == [2, 1, 4]
    found = rate(layout, ids, 4, ids)
    assert found.tokens == pytest.approx(7 / 3)
    assert found.raw_bits == pytest.approx(7 / 3 * math.log2(5))


def test_bits_are_those_of_a_code_for_other_images_in_each_vocabulary() -> None:
    layout = Layout.stages(4, [(1, 2), (1, 2)], shared=False)
    ids = torch.tensor([[0, 1, 2, 2], [2, 3, 2, 2]])
    learnt = torch.tensor([[0, 1, 2, 2], [2, 3, 2, 2], [3, 2, 2, 0], [1, 0, 2, 2]])
    # Of the first vocabulary all four were seen twice; of the second 7 times the 2, with a half
    # more of each entry: 7.5 of 10.
    found = rate(layout, ids, 4, learnt)
    assert found.bits == pytest.approx(2 * 2 - 2 * math.log2(7.5 / 10)) and found.tokens == 4
    assert found.perplexity == pytest.approx((4 + 1) / 2) and found.usage == 5 / 8
    assert found.bits_error == 0.0  # whichever they are, all of a vocabulary cost the same
    first = rate(layout, ids, 2, learnt)
    assert first.bits == pytest.approx(4.0) and first.usage == 1.0 and first.raw_bits == 4.0


def test_few_images_are_not_cheap_because_they_are_few() -> None:
    """Two images of tokens that nobody saw cost what their vocabulary does, not a bit each."""
    layout = Layout.shared(4096, 1, 1)
    ids, learnt = torch.tensor([[5], [9]]), torch.zeros(0, 1, dtype=torch.int64)
    assert rate(layout, ids, 1, learnt).bits == pytest.approx(12.0)


def test_bits_have_the_error_of_their_mean_over_images() -> None:
    layout = Layout.shared(2, 1, 2)
    ids = torch.tensor([[0, 0], [0, 0], [0, 0], [0, 1]])
    often, rare = -math.log2(7.5 / 9), -math.log2(1.5 / 9)  # 0 at seven of eight places
    of_each = torch.tensor([2 * often] * 3 + [often + rare], dtype=torch.float64)
    found = rate(layout, ids, 2, ids)
    assert found.bits == pytest.approx(float(of_each.mean()))
    assert found.bits_error == pytest.approx(float(of_each.std()) / 2)
