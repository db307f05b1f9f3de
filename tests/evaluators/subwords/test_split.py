"""Counts of a split by hand; equal behaviour has equal digests; what is lost is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers

from paretoken.evaluators.subwords.split import Split, split
from paretoken.spaces.errors import MeasurementFailed


def tokenizer(vocabulary: dict[str, int], merges: Any = ()) -> Tokenizer:
    model = models.BPE(
        vocabulary, list(merges), unk_token="<unk>" if "<unk>" in vocabulary else None
    )
    made = Tokenizer(model)
    made.decoder = decoders.Fuse()
    return made


AB = {"<unk>": 0, "a": 1, "b": 2, " ": 3, "ab": 4}


def test_counts_by_hand() -> None:
    found = split(tokenizer(AB, [("a", "b")]), ["ab a"], ["ab ab b"])
    assert found.vocabulary == 5
    # "ab", " ", "a", then "b": numbered as they are met, over both halves.
    assert found.train.ids.tolist() == [0, 1, 2]
    assert found.held_out.ids.tolist() == [0, 1, 0, 1, 3]
    held_out = found.held_out
    assert (held_out.bytes, held_out.words, held_out.unknown, held_out.hidden) == (7, 3, 0, 0)
    assert held_out.spelt_bits == 0.0
    entropy = 2 * (2 / 5) * math.log2(5 / 2) + (1 / 5) * math.log2(5)
    assert held_out.order0_bits == pytest.approx(5 * entropy, abs=1e-12)


def test_what_is_unknown_is_spelt() -> None:
    """An é of two bytes and a character of four: 6 bytes and 2 ends, each one of 257 symbols."""
    found = split(tokenizer(AB, [("a", "b")]), ["ab"], ["aéb\U0001f600"]).held_out
    assert (found.unknown, found.hidden, found.bytes) == (2, 6, 8)
    assert found.spelt_bits == pytest.approx(8 * math.log2(257), abs=1e-12)
    assert len(found.ids) == 4
    # The control: knowing the two characters costs nothing beside the tokens.
    knows = AB | {"é": 5, "\U0001f600": 6}
    assert split(tokenizer(knows), ["ab"], ["aéb\U0001f600"]).held_out.spelt_bits == 0.0


def test_other_numbers_and_names_of_entries_are_the_same_behaviour() -> None:
    texts = (["ab a"], ["ab ab b"])
    usual = split(tokenizer(AB, [("a", "b")]), *texts)
    other = split(tokenizer({"ab": 0, " ": 1, "b": 2, "a": 3, "<unk>": 4}, [("a", "b")]), *texts)
    assert other.digest == usual.digest
    assert np.array_equal(other.held_out.ids, usual.held_out.ids)


@pytest.mark.parametrize(
    "other",
    [
        split(tokenizer(AB), ["ab a"], ["ab ab b"]),  # cuts otherwise
        split(tokenizer(AB | {"c": 5}, [("a", "b")]), ["ab a"], ["ab ab b"]),  # one entry more
        split(tokenizer(AB, [("a", "b")]), ["ab a"], ["ab ab a"]),  # another text
        split(tokenizer(AB, [("a", "b")]), ["ab b"], ["ab ab b"]),
    ],
)
def test_other_behaviour_has_another_digest(other: Split) -> None:
    assert other.digest != split(tokenizer(AB, [("a", "b")]), ["ab a"], ["ab ab b"]).digest


def test_an_unknown_token_is_not_a_known_one() -> None:
    """Equal numbers throughout, but of one the text has to be spelt."""
    knows = split(tokenizer({"<unk>": 0, "a": 1, "é": 2}), ["a"], ["aé"])
    guesses = split(tokenizer({"<unk>": 0, "a": 1, "b": 2}), ["a"], ["aé"])
    assert np.array_equal(knows.held_out.ids, guesses.held_out.ids)
    assert knows.vocabulary == guesses.vocabulary and knows.digest != guesses.digest


def test_a_text_that_is_not_restored_fails() -> None:
    made = tokenizer(AB, [("a", "b")])
    made.normalizer = normalizers.Lowercase()
    with pytest.raises(MeasurementFailed, match="'Ab' became 'ab'") as failed:
        split(made, ["ab"], ["Ab"])
    assert failed.value.reason == "lossy"
    with pytest.raises(MeasurementFailed, match="lossy"):  # also where only training text is lost
        split(made, ["Ab"], ["ab"])
    assert split(made, ["ab"], ["ab"]).vocabulary == 5
    made = tokenizer({"a": 0, "b": 1})  # without an unknown token what it does not know is dropped
    with pytest.raises(MeasurementFailed, match="lossy"):
        split(made, ["a"], ["acb"])
