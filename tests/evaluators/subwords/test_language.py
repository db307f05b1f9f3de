"""Arithmetic and bits of the small model, by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from paretoken.evaluators.models.llamagen import Transformer
from paretoken.evaluators.subwords.compute import operations, route, steps
from paretoken.evaluators.subwords.language import (
    Language,
    Sizes,
    bits_per_byte,
    full_rows,
    nats,
    padded_rows,
)
from paretoken.evaluators.subwords.split import Part, Split
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.spaces.errors import MeasurementFailed

SIZES = Sizes(dim=32, layers=2, context=8, batch=4, budget=1e8, precision="float32")


def part(tokens: int, size: int = 40, unknown: int = 0, hidden: int = 0, period: int = 5) -> Part:
    return Part(np.arange(tokens) % period, size, 4, unknown, hidden)


def fresh(vocabulary: int = 10) -> Transformer:
    model = Transformer(SIZES.recipe(vocabulary).model)
    torch.manual_seed(0)
    model.initialise()
    return model.eval()


def test_operations_by_hand() -> None:
    """Per layer 4 * 32^2 of attention and 3 * 32 * 96 of the feed-forward; the output 32 V."""
    matrices = 2 * (4 * 32 * 32 + 3 * 32 * 96)
    for vocabulary in (256, 4096):
        model = SIZES.recipe(vocabulary).model
        assert model.hidden == 96
        wanted = 6 * (matrices + 32 * vocabulary) + 12 * 2 * 32 * 8
        assert operations(model) == wanted
        inside = sum(
            p.numel()
            for name, p in Transformer(model).named_parameters()
            if p.ndim == 2 and "embedding" not in name
        )
        assert 6 * inside + 12 * 2 * 32 * 8 == wanted  # every matrix that is multiplied is there


def test_a_budget_is_kept_and_a_larger_vocabulary_takes_fewer_steps() -> None:
    taken = []
    for vocabulary in (256, 1024, 4096):
        model = SIZES.recipe(vocabulary).model
        found = steps(model, 4, 1e9)
        spent = found * 4 * 8 * operations(model)
        assert spent <= 1e9 < spent + 4 * 8 * operations(model)
        taken.append(found)
    assert taken == sorted(taken, reverse=True) and taken[0] > 4 * taken[2]
    with pytest.raises(MeasurementFailed, match="--option compute"):
        steps(SIZES.recipe(4096).model, 4, 1e7)


def test_the_rate_rises_and_falls() -> None:
    rate = route(100).rate
    assert len(rate) == 100 and rate.argmax() == 5 and rate[5] == np.float32(3e-3)
    assert rate[0] < rate[5] and rate[-1] < 0.11 * rate[5]
    assert (route(100).stage == 0).all() and (route(100).place == np.arange(100)).all()


def test_an_even_model_needs_the_logarithm_of_the_vocabulary() -> None:
    """Its output layer is zero at first, so that every one of 13 tokens costs log2 V bits."""
    of = part(13, size=40, unknown=2, hidden=3)
    rows, lengths = padded_rows(of.ids, 8)
    found = bits_per_byte(nats(fresh(), rows, lengths), of)
    # float32 logarithms: 1e-7 of each.
    assert found == pytest.approx((13 * math.log2(10) + 5 * math.log2(257)) / 40, rel=1e-6)


def test_nats_are_those_of_each_token_given_those_before_it() -> None:
    model = fresh()
    torch.nn.init.normal_(model.output.weight, std=0.5)
    of = part(21)
    rows, lengths = padded_rows(of.ids, 8)
    assert rows.shape == (3, 8) and lengths.tolist() == [8, 8, 5]
    total = 0.0
    with torch.no_grad():
        for row, real in zip(rows.long(), lengths.tolist(), strict=True):
            for t in range(real):
                prefix = row[: t + 1].unsqueeze(0)  # the last is what is to be said
                law = model(prefix, torch.zeros(1, dtype=torch.int64))[0, t].log_softmax(-1)
                total -= float(law[row[t]])
    found = nats(model, rows, lengths)
    # float32 sums in another order: 1e-6 of each of 21 terms near 3.
    assert found == pytest.approx(total, abs=1e-4)
    other = rows.clone()
    other[2, 5:] = 7  # what stands behind the end
    assert nats(model, other, lengths) == pytest.approx(found, abs=1e-4)
    other[2, 4] = 7  # the control: the last that counts
    assert abs(nats(model, other, lengths) - found) > 1e-2


def test_rows_lose_nothing_that_is_judged() -> None:
    ids = np.arange(20)
    assert full_rows(ids, 8).flatten().tolist() == list(range(16))
    rows, lengths = padded_rows(ids, 8)
    kept = [row[:n].tolist() for row, n in zip(rows, lengths.tolist(), strict=True)]
    assert [one for row in kept for one in row] == list(range(20))
    assert padded_rows(np.arange(16), 8)[1].tolist() == [8, 8]


def test_it_learns_and_what_was_trained_is_found_again(tmp_path: Path) -> None:
    of = Split(10, part(400, size=1000), part(43, size=100))
    artefacts, cpu = Artefacts(tmp_path, "trained"), torch.device("cpu")
    sizes = replace(SIZES, budget=2e9)
    language = Language(of, sizes, artefacts, cpu)
    key = language.train(0, lambda step, of: None)
    even = 43 * math.log2(10) / 100
    # Counting by one: in a row only the first token is open, one of 5 among 8 tokens.
    assert language.bits_per_byte(key) < 0.5 * even
    assert language.bytes_seen == pytest.approx(language.steps * 4 * 8 * 1000 / 400)
    again = Language(of, sizes, artefacts, cpu)
    assert again.train(0, lambda step, of: None) == key and again.trainer.counts.trained == 0
    assert again.train(1, lambda step, of: None) != key
    other = Split(11, of.train, of.held_out)  # one entry more is another model
    assert Language(other, sizes, artefacts, cpu).train(0, lambda step, of: None) != key
    artefacts.drop(key)
    with pytest.raises(MeasurementFailed, match="gone"):
        language.bits_per_byte(key)


def test_a_text_shorter_than_a_context_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MeasurementFailed, match="--option context"):
        Language(Split(10, part(7), part(7)), SIZES, Artefacts(tmp_path, "t"), torch.device("cpu"))
