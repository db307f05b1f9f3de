"""Merging: pieces of words, chosen one pair at a time by an objective worked out exactly.

With n_x the count of piece x, n_ab that of the neighbours a b inside words (of a a: how often they
can be joined, without overlap), N all pieces and f(x) = x ln x, the text's log-likelihood under the
frequencies of its pieces is  L = sum_x f(n_x) - f(N),  and joining a b changes it by

    f(n_ab) + f(n_a - n_ab) + f(n_b - n_ab) - f(n_a) - f(n_b) - [f(N - n_ab) - f(N)]      (a != b)
    f(n_aa) + f(n_a - 2 n_aa) - f(n_a) - [f(N - n_aa) - f(N)]                             (a = b)

The other objectives are n_ab ln(n_ab N / (n_a n_b)) (`pmi`) and n_ab / (n_a n_b) (`ratio`).
A piece that is there already is not made a second time from another pair. So each piece has one way
of being made, and applying the merges in their order to a word, as BPE does, gives the very pieces
that were counted.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from paretoken.evaluators.subwords.subword import by_scores

OBJECTIVES = ("likelihood", "pmi", "ratio")
# Rounds of cutting anew and counting; later ones move nothing that is measured.
_ROUNDS = 3
_UNUSED = 0.5  # the count of a piece that no word needs any more

_Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Merged:
    """merges: in order. gains: what each was worth, in the unit of its objective (of the likelihood
    nats). counts: how often each piece is met in the end, the alphabet included.
    """

    merges: list[tuple[str, str]]
    gains: list[float]
    counts: dict[str, int]


def merged(
    words: Mapping[str, int],
    alphabet: Sequence[str],
    room: int,
    objective: str = "likelihood",
    least: int = 1,
) -> Merged:
    """Merge until there are `room` pieces, or no pair that is met `least` times is worth it.

    words: with their counts. Of equal pairs the first in the order of its characters is taken.
    """
    state = _State(words, alphabet)
    merges: list[tuple[str, str]] = []
    gains: list[float] = []
    while len(state.names) < room:
        best, gain = state.best(objective, least)
        if best < 0:
            break
        merges.append(state.join(best))
        gains.append(gain)
    return Merged(merges, gains, dict(zip(state.names, state.n.tolist(), strict=True)))


def viterbi_scores(words: Mapping[str, int], counts: Mapping[str, int]) -> dict[str, float]:
    """Scores of pieces for cutting words where they are most probable: counted, cut anew, counted.

    counts: of the pieces at first. Every piece stays.
    """
    found: Mapping[str, float] = counts
    for _ in range(_ROUNDS):
        model = by_scores(_scores(found), ())
        again: Counter[str] = Counter(dict.fromkeys(counts, 0))
        for word, n in words.items():
            for token in model.tokenize(word):
                again[token.value] += n
        found = again
    return _scores(found)


def _scores(counts: Mapping[str, float]) -> dict[str, float]:
    kept = {piece: max(n, _UNUSED) for piece, n in counts.items()}
    whole = math.log(sum(kept.values()))
    return {piece: math.log(n) - whole for piece, n in kept.items()}


def _f(x: int) -> float:
    return x * math.log(x) if x else 0.0


@dataclass
class _State:
    """Words as pieces, and what is counted of them, kept exact while pairs are joined.

    names: of pieces. n: their counts. pairs: [p, 2] pieces; met [p]: their counts; where: the words
    that have them. made: places of the pairs that would make a piece.
    """

    words: Mapping[str, int]
    alphabet: Sequence[str]
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names = list(self.alphabet)
        place = {name: i for i, name in enumerate(self.names)}
        self._cut = [[place[character] for character in word] for word in self.words]
        self._times = list(self.words.values())
        self.n = np.zeros(len(self.names), dtype=np.int64)
        for pieces, times in zip(self._cut, self._times, strict=True):
            for piece in pieces:
                self.n[piece] += times
        self._place: dict[tuple[int, int], int] = {}
        self._pairs = np.zeros((1024, 2), dtype=np.int64)
        self._met = np.zeros(1024, dtype=np.int64)
        self._blocked = np.zeros(1024, dtype=bool)
        self._where: list[set[int]] = []
        self._made: dict[str, list[int]] = defaultdict(list)
        self._known = set(self.names)
        # f of every count that can come up: looked up, for logarithms would take most of the time.
        count = np.arange(int(self.n.sum()) + 1, dtype=np.float64)
        self._table = count * np.log(np.maximum(count, 1.0))
        for word in range(len(self._cut)):
            self._count(word, 1)

    def best(self, objective: str, least: int) -> tuple[int, float]:
        """The place of the best pair and what it is worth; -1 where none is worth it."""
        size = len(self._where)
        pairs, met = self._pairs[:size], self._met[:size]
        a, b = self.n[pairs[:, 0]], self.n[pairs[:, 1]]
        worth = self._worth(objective, met, a, b, pairs[:, 0] == pairs[:, 1])
        worth = np.where(self._blocked[:size] | (met < max(least, 1)), -np.inf, worth)
        if not size or not worth.max() > 0.0:
            return -1, 0.0
        equal = np.flatnonzero(worth == worth.max())
        best = min(equal.tolist(), key=lambda one: tuple(self._named(one)))
        return best, float(worth[best])

    def join(self, place: int) -> tuple[str, str]:
        """Join a pair wherever it is met; returns the names of its two pieces."""
        a, b = self._pairs[place].tolist()
        left, right = self._named(place)
        new = len(self.names)
        self.names.append(left + right)
        self._known.add(left + right)
        for other in self._made[left + right]:
            self._blocked[other] = True
        self.n = np.append(self.n, 0)
        for word in sorted(self._where[place]):
            self._count(word, -1)
            pieces, times = self._cut[word], self._times[word]
            joined, i = [], 0
            while i < len(pieces):
                if i + 1 < len(pieces) and pieces[i] == a and pieces[i + 1] == b:
                    joined.append(new)
                    i += 2
                else:
                    joined.append(pieces[i])
                    i += 1
            times_joined = times * (len(pieces) - len(joined))
            self.n[a] -= times_joined
            self.n[b] -= times_joined
            self.n[new] += times_joined
            self._cut[word] = joined
            self._count(word, 1)
        return left, right

    def _worth(
        self, objective: str, met: _Ints, a: _Ints, b: _Ints, same: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        total = int(self.n.sum())
        real = met.astype(np.float64)
        expected = np.maximum(a.astype(np.float64) * b, 1.0)
        if objective == "ratio":
            return real / expected
        if objective == "pmi":
            return real * np.log(np.maximum(real, 1.0) * total / expected)
        f = self._table
        two = f[a - met] + f[b - met] - f[a] - f[b]
        one = f[np.maximum(a - 2 * met, 0)] - f[a]
        whole: NDArray[np.float64] = f[met] + np.where(same, one, two) - (f[total - met] - f[total])
        return whole

    def _named(self, place: int) -> tuple[str, str]:
        a, b = self._pairs[place].tolist()
        return self.names[a], self.names[b]

    def _count(self, word: int, sign: int) -> None:
        """Count the pairs of one word, or take them away."""
        times = sign * self._times[word]
        for pair in _pairs_of(self._cut[word]):
            place = self._place.get(pair)
            if place is None:
                place = self._new(pair)
            self._met[place] += times
            if sign > 0:
                self._where[place].add(word)
            else:
                self._where[place].discard(word)

    def _new(self, pair: tuple[int, int]) -> int:
        place = len(self._where)
        if place == len(self._met):
            self._pairs = np.concatenate([self._pairs, np.zeros_like(self._pairs)])
            self._met = np.concatenate([self._met, np.zeros_like(self._met)])
            self._blocked = np.concatenate([self._blocked, np.zeros_like(self._blocked)])
        self._place[pair] = place
        self._pairs[place] = pair
        self._where.append(set())
        name = "".join(self._named(place))
        self._made[name].append(place)
        self._blocked[place] = name in self._known
        return place


def _pairs_of(pieces: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Neighbours; of three equal ones in a row one pair, for only one can be joined."""
    free = True
    for a, b in pairwise(pieces):
        if a == b and not free:
            free = True
            continue
        free = a != b
        yield a, b
