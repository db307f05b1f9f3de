"""The quality of sets: equal suggestions show, and are refused; numbers add up."""

from __future__ import annotations

import pytest

from paretoken.evaluators.metrics.suggestions import (
    SuggestionSet,
    check_different,
    different,
    quality,
    self_bleu,
)
from paretoken.evaluators.metrics.text import Answer
from paretoken.spaces.errors import MeasurementFailed


def answer(nll: float, tokens: int = 4, right: bool | None = None, plain: bool = False) -> Answer:
    return Answer("chat", tokens, nll, 1.0, 1, plain, 1.0, 0.0, right)


def sets(*texts: tuple[str, ...]) -> list[SuggestionSet]:
    return [SuggestionSet(tuple(answer(1.0) for _ in some), some) for some in texts]


def test_what_is_said_twice_counts_once() -> None:
    assert different(["a b", "a  b ", "c"]) == 0.5
    assert different(["a", "a", "a"]) == 0.0
    assert different(["a", "b", "c"]) == different(["a"]) == 1.0


def test_self_bleu_is_one_for_equal_texts_and_none_for_texts_without_a_common_word() -> None:
    same = "the cat sat down"
    assert self_bleu([same, same, same]) == pytest.approx(1.0)
    assert self_bleu([same, "dogs run over hills"]) == self_bleu([same]) == 0.0
    # By hand: 3 of 4 words, (2 + 1) of (3 + 1) pairs, (1 + 1) of (2 + 1) triples, equal lengths.
    by_hand = (3 / 4 * 3 / 4 * 2 / 3) ** (1 / 3)
    assert self_bleu([same, "the cat sat up"]) == pytest.approx(by_hand)
    assert self_bleu([same, "the cat sat up"]) < self_bleu([same, "the cat sat down now"])


def test_sets_that_are_no_choice_are_refused() -> None:
    check_different(sets(("a", "b", "a"), ("a", "b", "c")))
    with pytest.raises(MeasurementFailed, match=r"degenerate.*25 %"):
        check_different(sets(("a", "a", "a"), ("a", "b", "a")))
    check_different(sets(("a",), ("a",)))  # a single suggestion is as different as can be


def test_quality_is_that_of_the_set() -> None:
    first = SuggestionSet(
        (answer(8.0, right=False), answer(4.0, right=True, plain=True)), ("a b", "a c")
    )
    second = SuggestionSet((answer(2.0, 2, right=False), answer(6.0, 2, right=False)), ("x", "y"))
    third = SuggestionSet((answer(4.0), answer(8.0)), ("u", "v"))
    found = {one.name: one for one in quality([first, second, third], "here")}
    assert found["nll"].value == pytest.approx(32 / 20)  # over all tokens
    assert found["best_nll"].value == pytest.approx((4 / 4 + 2 / 2 + 4 / 4) / 3)
    assert (found["precision_at_k"].value, found["precision_at_k"].samples) == (0.5, 2)
    assert found["has_plain"].value == pytest.approx(1 / 3)
    assert found["different"].value == 1.0 and found["suggestion_tokens"].value == 10 / 3
    assert found["nll"].comparable != quality([first], "there")[0].comparable
    assert "precision_at_k" not in {one.name for one in quality([third], "here")}
