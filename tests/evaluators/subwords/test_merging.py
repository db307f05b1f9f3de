"""Merges by likelihood: every choice against all others, counted from scratch."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import pairwise, product

import pytest

from paretoken.evaluators.subwords.merging import merged, viterbi_scores
from paretoken.evaluators.subwords.subword import by_merges, by_scores

Cut = dict[str, list[str]]


def joined(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    found, i = [], 0
    while i < len(pieces):
        if tuple(pieces[i : i + 2]) == pair:
            found.append("".join(pair))
            i += 2
        else:
            found.append(pieces[i])
            i += 1
    return found


def counted(cut: Cut, words: dict[str, int]) -> Counter[str]:
    found: Counter[str] = Counter()
    for word, pieces in cut.items():
        for piece in pieces:
            found[piece] += words[word]
    return found


def enumerable(seed: int) -> dict[str, int]:
    """Every word of up to three of these, each met by chance: neighbours belong together."""
    chance = random.Random(seed)
    parts = ("ab", "cab", "dd", "ddc", "a", "bcd")
    every = ("".join(w) for n in range(1, 4) for w in product(parts, repeat=n))
    return {word: chance.randrange(1, 30) for word in every if chance.random() < 0.5}


def log_likelihood(counts: dict[str, int]) -> float:
    """The text's log-likelihood in nats under the frequencies of its pieces."""
    size = sum(counts.values())
    return math.fsum(n * math.log(n / size) for n in counts.values() if n)


@pytest.mark.parametrize("seed", range(4))
def test_every_merge_is_the_best_of_all_and_gains_just_what_it_says(seed: int) -> None:
    words = enumerable(seed)
    found = merged(words, "abcd", 16)
    assert len(found.merges) > 5
    cut = {word: list(word) for word in words}
    made = set("abcd")
    begun = log_likelihood(counted(cut, words))
    before = begun
    for pair, gain in zip(found.merges, found.gains, strict=True):
        every = {p for pieces in cut.values() for p in pairwise(pieces) if "".join(p) not in made}
        gains = {}
        for other in every:
            after = {word: joined(pieces, other) for word, pieces in cut.items()}
            gains[other] = log_likelihood(counted(after, words)) - before
        # f of counts below 1e5 is at most 1e6, rounded to 1e-10; a gain is a dozen of them.
        assert gain == pytest.approx(gains[pair], abs=1e-8)
        assert gain >= max(gains.values()) - 1e-8
        cut = {word: joined(pieces, pair) for word, pieces in cut.items()}
        made.add("".join(pair))
        before = log_likelihood(counted(cut, words))
    assert math.fsum(found.gains) == pytest.approx(before - begun, abs=1e-7)
    assert {k: n for k, n in found.counts.items() if n} == counted(cut, words)


def test_a_gain_by_hand() -> None:
    """ab three times and c once: 7 pieces become 4."""
    found = merged({"ab": 3, "c": 1}, "abc", 4)
    expected = (3 * math.log(3) - 4 * math.log(4)) - (6 * math.log(3) - 7 * math.log(7))
    assert found.merges == [("a", "b")] and found.gains == [pytest.approx(expected, abs=1e-12)]
    assert found.counts == {"a": 0, "b": 0, "c": 1, "ab": 3}


@pytest.mark.parametrize(("word", "left"), [("aaa", 1), ("aaaa", 0), ("aaaaa", 1), ("aab", 0)])
def test_equal_neighbours_are_joined_without_overlap(word: str, left: int) -> None:
    found = merged({word: 10, "b": 1000}, "ab", 3)
    assert found.merges == [("a", "a")]
    assert (found.counts["aa"], found.counts["a"]) == (10 * (word.count("a") // 2), 10 * left)


def test_it_is_not_what_is_met_most_often() -> None:
    """The control: x y is met most, as often as chance would have it; a b is always together."""
    words = {"xy": 30, "xx": 30, "yx": 30, "yy": 30, "ab": 20}
    assert merged(words, "abxy", 5).merges == [("a", "b")]
    met = Counter(p for word, n in words.items() for p in list(pairwise(word)) * n)
    assert met.most_common(1)[0][1] > met[("a", "b")]


def test_the_older_criteria_by_hand() -> None:
    words = {"ab": 3, "ac": 5, "bc": 1, "d": 7}
    n, total = {"a": 8, "b": 4, "c": 6}, 25
    met = {("a", "b"): 3, ("a", "c"): 5, ("b", "c"): 1}
    ratio = {p: m / (n[p[0]] * n[p[1]]) for p, m in met.items()}
    pmi = {p: m * math.log(m * total / (n[p[0]] * n[p[1]])) for p, m in met.items()}
    for objective, worth in (("ratio", ratio), ("pmi", pmi)):
        found = merged(words, "abcd", 5, objective)
        best = max(worth, key=lambda pair: worth[pair])
        assert found.merges == [best]
        assert found.gains == [pytest.approx(worth[best], rel=1e-12)]


def test_the_ratio_loves_what_is_rare_unless_it_is_told_a_least_count() -> None:
    words = {"ab": 50, "ac": 2, "c": 10, "yz": 1}
    assert merged(words, "abcyz", 6, "ratio", 1).merges == [("y", "z")]
    assert merged(words, "abcyz", 6, "ratio", 2).merges == [("a", "b")]


def test_it_stops_where_nothing_is_worth_it() -> None:
    found = merged({"a": 5, "b": 5}, "ab", 100)
    assert found.merges == []
    # Letters at chance: in a likelihood of independent pieces no pair gains, bar what chance makes.
    even = {a + b: 100 for a in "ab" for b in "ab"}
    assert all(gain > 0 for gain in merged(even, "ab", 100).gains)


@pytest.mark.parametrize("seed", range(4))
def test_merges_in_their_order_cut_words_as_they_were_counted(seed: int) -> None:
    words = enumerable(seed)
    found = merged(words, "abcd", 40)
    assert len(found.merges) > 5
    model = by_merges("abcd", found.merges, ())
    again: Counter[str] = Counter()
    for word, n in words.items():
        for token in model.tokenize(word):
            again[token.value] += n
    assert again == {piece: n for piece, n in found.counts.items() if n}
    names = ["".join(pair) for pair in found.merges]
    assert len(set(names)) == len(names)  # each piece has one way of being made


def test_most_probable_cuts_raise_the_likelihood_of_words() -> None:
    words = enumerable(1)
    found = merged(words, "abcd", 30)
    scores = viterbi_scores(words, found.counts)
    assert set(scores) == set(found.counts)
    model = by_scores(scores, ())

    def likelihood(cut: dict[str, list[str]]) -> float:
        return sum(n * sum(scores[piece] for piece in cut[word]) for word, n in words.items())

    by_order = by_merges("abcd", found.merges, ())
    greedy = {word: [t.value for t in by_order.tokenize(word)] for word in words}
    probable = {word: [t.value for t in model.tokenize(word)] for word in words}
    assert all("".join(cut) == word for word, cut in probable.items())
    assert likelihood(probable) > likelihood(greedy)
