"""Tri-gram drafts: the table counts, the row nudges, the search is one and the same again."""

from __future__ import annotations

from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from paretoken.evaluators.components.drafters.trigram import Trigram
from paretoken.evaluators.engine.drafter import Shape
from paretoken.evaluators.engine.puct import Search
from paretoken.evaluators.engine.trigrams import KEPT, Nudged, Trigrams
from paretoken.evaluators.models.corpus import trigrams_of
from paretoken.spaces.errors import BadInput

TEXTS = [[1, 2, 3, 1, 2, 3, 1, 2, 4], [1, 2], [3, 1, 5]]


def test_successors_are_shares_of_their_pair_within_one_text() -> None:
    table = Trigrams.counted(7, TEXTS)
    assert table.after(1, 2) == [(3, pytest.approx(2 / 3)), (4, pytest.approx(1 / 3))]
    assert table.after(3, 1) == [(2, pytest.approx(2 / 3)), (5, pytest.approx(1 / 3))]
    assert table.after(2, 4) == table.after(6, 6) == []  # not even what begins the next text
    assert Trigrams.none().after(1, 2) == []


def test_only_the_likeliest_successors_are_kept() -> None:
    texts = [[0, 0, token] for token in range(1, 20) for _ in range(token)]
    kept = Trigrams.counted(20, texts).after(0, 0)
    assert [token for token, _ in kept] == list(range(19, 19 - KEPT, -1))
    assert kept[0][1] == pytest.approx(19 / sum(range(20)))  # of all that followed


def test_what_is_heard_weighs_more_each_time_up_to_the_cap() -> None:
    table = Trigrams.counted(7, TEXTS)
    row = Nudged(table, 0.5, 1.2)
    weights = [dict(row.after(1, 2))[4]]
    for _ in range(4):
        row.hear([1, 2, 4])
        weights.append(dict(row.after(1, 2))[4])
    assert weights == sorted(weights) and weights[-1] == 1.2
    assert row.after(1, 2)[0][0] == 4
    row.hear([6, 6, 0])
    assert row.after(6, 6) == [(0, 0.5)]
    assert dict(table.after(1, 2))[4] == pytest.approx(1 / 3)  # the table itself is as it was


def test_the_search_sees_further_than_the_likeliest_successor_and_repeats_itself() -> None:
    # 1 is likelier than 2 behind 0, but nothing is sure behind it.
    follows = {
        (0, 0): [(1, 0.55), (2, 0.45)],
        (0, 1): [(token, 0.1) for token in range(3, 13)],
        (0, 2): [(2, 1.0)],
        (2, 2): [(2, 1.0)],
    }

    def after(a: int, b: int) -> list[tuple[int, float]]:
        return follows.get((a, b), [])

    search = Search(iterations=400, depth=3, c1=0.5, c2=8.0)
    chains = {tuple(search.chain(after, 0, 0, 5, Random("a"))) for _ in range(3)}
    assert chains == {(2, 2, 2, 2, 2)}
    greedy = Search(iterations=0, depth=3, c1=0.5, c2=8.0)
    assert greedy.chain(after, 0, 0, 5, Random("a")) == [1, 3]
    assert search.chain(after, 9, 9, 5, Random("a")) == []


def test_a_row_drafts_the_same_whatever_stands_beside_it(tiny: Any) -> None:
    target = tiny(length=8)
    target.trigrams = Trigrams.none
    told = torch.tensor([1, 2, 3, 1, 2])
    target.contexts = (type(target.contexts[0])(told, (0, 0)),)

    def drafts(batch: int, row: int) -> list[list[int]]:
        shape = Shape(batch, 8, 13, 8, torch.device("cpu"), torch.float64, target)
        memory: Any = Trigram(window=4).memory(shape)
        memory.reset(torch.tensor([row]), torch.tensor([5]), 0, torch.tensor([0]))
        found = []
        for count in range(3):
            answer = torch.tensor([[3, 7, 1, 0]]).expand(batch, -1)
            memory.observe(SimpleNamespace(tokens=answer, count=torch.full((batch,), count)))
            proposal = memory.propose(3)
            found.append(proposal.tokens[row][proposal.valid[row]].tolist())
        return found

    assert drafts(1, 0) == drafts(4, 2)
    assert drafts(1, 0)[0] == [3, 1, 2]  # said before, though no corpus is known


def test_a_corpus_is_counted_once_for_a_tokenizer(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(saved))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("ab ab ab\n\nabc", encoding="utf-8")
    first = trigrams_of(corpus, tokenizer, 300)
    again = trigrams_of(corpus, tokenizer, 300)
    assert first.digest == again.digest
    assert len(list((tmp_path / "cache" / "paretoken" / "trigrams").iterdir())) == 1
    a, b, space = (tokenizer(letter)["input_ids"][0] for letter in "ab ")
    assert again.after(a, b)[0] == (space, pytest.approx(2 / 3))
    corpus.write_text("ab ab", encoding="utf-8")
    assert trigrams_of(corpus, tokenizer, 300).digest != first.digest
    with pytest.raises(BadInput, match="cannot read the corpus"):
        trigrams_of(tmp_path / "none.txt", tokenizer, 300)
