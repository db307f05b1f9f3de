"""Trained tokenizers: repeatable, as large as they say, and what they claim to keep is kept."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from paretoken.evaluators.subwords.corpus import Corpus
from paretoken.evaluators.subwords.split import split
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.errors import MeasurementFailed

FAMILIES = [
    ("bpe", {}), ("wordpiece", {}), ("unigram", {}), ("swe", {}), ("swe", {"cut": "viterbi"}),
]  # fmt: skip
WORDS = ("byte_level", "metaspace", "whitespace")
HARD = (
    "", " ", "  two  spaces ", "\n", "\r\n\t x", "Ünïcödé é é", "日本語 \U0001f600\u200d",
    "##marked ##", "<0x41><unk>", "12345 6.7", "a\x00b", "\ufeff",
)  # fmt: skip


def component(name: str, **knobs: Any) -> Any:
    knobs.setdefault("vocabulary", 600)
    return from_tree({"is": f"tokenizers/{name}", **knobs}, "tokenizers")


def restored(made: Any, text: str) -> bool:
    ids = made.encode(text, add_special_tokens=False).ids
    return bool(made.decode(ids, skip_special_tokens=False) == text)


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize(("name", "knobs"), FAMILIES)
def test_it_is_repeatable_has_the_size_it_says_and_keeps_the_text(
    corpus: Corpus, name: str, knobs: dict[str, Any], words: str
) -> None:
    one = component(name, words=words, **knobs)
    made = one.train(corpus.train)
    assert made.to_str() == one.train(corpus.train).to_str()
    assert made.get_vocab_size() <= 600
    model = json.loads(made.to_str())["model"]
    ids = sorted(made.get_vocab().values())
    assert ids == list(range(len(ids)))
    entries = model["vocab"] if isinstance(model["vocab"], dict) else dict(model["vocab"])
    assert len(entries) == len(ids)  # no entry is there twice
    found = split(made, corpus.train, corpus.held_out).held_out
    assert len(found.ids) < 0.6 * found.bytes  # it has learnt something
    assert found.unknown == 0


@pytest.mark.parametrize(("name", "knobs"), FAMILIES)
def test_bytes_keep_every_text(corpus: Corpus, name: str, knobs: dict[str, Any]) -> None:
    made = component(name, **knobs).train(corpus.train)
    chance = random.Random(0)
    codes = [*range(0xD800), *range(0xE000, 0x110000)]
    noise = ["".join(map(chr, chance.sample(codes, 30))) for _ in range(50)]
    if name == "wordpiece":  # its mark is the one thing that it takes for something else
        noise = [text.replace("\uffed", "") for text in noise]
    assert all(restored(made, text) for text in [*HARD, *noise])
    assert made.token_to_id("<unk>") is None or name == "wordpiece"


@pytest.mark.parametrize("name", ["bpe", "unigram", "swe"])
@pytest.mark.parametrize("words", ["metaspace", "whitespace"])
def test_falling_back_on_bytes_keeps_what_was_never_met(
    corpus: Corpus, name: str, words: str
) -> None:
    falls = component(name, words=words, byte_fallback=True).train(corpus.train)
    assert all(restored(falls, text) for text in HARD if "<" not in text)
    assert falls.get_vocab_size() <= 600
    found = split(falls, corpus.train, ["token 日"]).held_out
    assert (found.unknown, found.hidden) == (0, 0)
    # The control: without them the character is unknown, and paid for.
    without = component(name, words=words).train(corpus.train)
    assert not restored(without, "token 日")
    found = split(without, corpus.train, ["token 日"]).held_out
    assert (found.unknown, found.hidden) == (1, 3)


def test_a_word_that_wordpiece_cannot_cut_is_unknown_as_a_whole(corpus: Corpus) -> None:
    made = component("wordpiece", words="whitespace").train(corpus.train)
    found = split(made, corpus.train, ["token tok日en"]).held_out
    assert (found.unknown, found.hidden) == (1, len("tok日en".encode()))


def test_what_its_marks_are_is_lost_and_told(corpus: Corpus) -> None:
    made = component("bpe", words="metaspace", byte_fallback=True).train(corpus.train)
    with pytest.raises(MeasurementFailed, match="lossy"):
        split(made, corpus.train, ["a\u2581b"])
    lower = component("bpe", normaliser="lowercase").train(corpus.train)
    with pytest.raises(MeasurementFailed, match="normaliser=none"):
        split(lower, corpus.train, ["A token"])
    assert split(lower, corpus.train, corpus.held_out).held_out.unknown == 0


def test_smaller_vocabularies_of_bpe_begin_the_larger_ones(corpus: Corpus) -> None:
    small, large = (
        json.loads(component("bpe", vocabulary=size).train(corpus.train).to_str())["model"]
        for size in (300, 400)
    )
    assert len(small["merges"]) == 44 and large["merges"][:44] == small["merges"]
    assert small["vocab"].items() <= large["vocab"].items()


def test_at_256_entries_tokens_are_bytes(corpus: Corpus) -> None:
    found = split(component("bpe", vocabulary=256).train(corpus.train), corpus.train, ["é 1\n"])
    assert len(found.held_out.ids) == found.held_out.bytes == 5


@pytest.mark.parametrize(
    ("name", "knobs", "needed"),
    [
        ("wordpiece", {"vocabulary": 512}, 513),  # both forms of all bytes, and the unknown token
        ("bpe", {"vocabulary": 256, "words": "metaspace", "byte_fallback": True}, None),
        ("unigram", {"vocabulary": 257, "words": "metaspace", "byte_fallback": True}, None),
    ],
)
def test_a_vocabulary_without_room_is_refused(
    corpus: Corpus, name: str, knobs: dict[str, Any], needed: int | None
) -> None:
    with pytest.raises(MeasurementFailed, match=f"take {needed or ''}") as failed:
        component(name, **knobs).train(corpus.train)
    assert failed.value.reason == "unsupported"
    if needed:
        assert component(name, vocabulary=needed).train(corpus.train).get_vocab_size() == needed


@pytest.mark.parametrize("name", ["bpe", "unigram", "swe"])
def test_bytes_need_nothing_to_fall_back_on(name: str) -> None:
    fallback = {"byte_fallback": True}
    assert canonical(component(name, **fallback)) == canonical(component(name))
    apart = component(name, words="metaspace", **fallback)
    assert canonical(apart) == apart != component(name, words="metaspace")


def test_digits_apart(corpus: Corpus) -> None:
    text = [*corpus.train, "1234 " * 50]
    assert component("bpe", digits=True).train(text).encode("1234").tokens == ["1", "2", "3", "4"]
    assert len(component("bpe").train(text).encode("1234").tokens) < 4


def test_pieces_of_unigram_are_no_longer_than_they_may(corpus: Corpus) -> None:
    def longest(most: int) -> int:
        made = component("unigram", longest=most).train(corpus.train)
        return max(len(piece) for piece in made.get_vocab())

    assert longest(4) == 4 < longest(16)
