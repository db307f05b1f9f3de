"""The workload: one behaviour is measured once, speed belongs to the tokenizer itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from paretoken.cache.fingerprint import fingerprint
from paretoken.cache.store import Store
from paretoken.evaluators.subword_workload import SubwordWorkload
from paretoken.evaluators.subwords import corpus as texts
from paretoken.evaluators.subwords.packed import packed, unpacked
from paretoken.evaluators.subwords.subword import Subword
from paretoken.search.evaluator import Local
from paretoken.search.loop import Plan, search
from paretoken.search.measuring import Reuse
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput, BadValue, MeasurementFailed
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.records import Fingerprint


def candidate(name: str = "bpe", **knobs: Any) -> Component:
    tokenizer = {"is": f"tokenizers/{name}", "vocabulary": 400, **knobs}
    return from_tree({"is": "candidates/tokenizing", "tokenizer": tokenizer})


def quiet(phase: str, share: float) -> None:
    assert 0.0 <= share <= 1.0


def law(workload: SubwordWorkload, of: Component) -> Fingerprint:
    return fingerprint(workload.behaviour(of, b""), b"")


def test_equal_tokens_are_one_behaviour_whatever_the_settings(workload: SubwordWorkload) -> None:
    usual = law(workload, candidate())
    normal = law(workload, candidate(normaliser="nfc"))  # does nothing to this text
    assert normal.quality == usual.quality
    assert normal.work != usual.work  # what it takes is another matter
    for other in (
        candidate(vocabulary=399), candidate(digits=True), candidate(words="metaspace"),
        candidate("wordpiece", vocabulary=600), candidate("unigram"), candidate("swe"),
    ):  # fmt: skip
        found = law(workload, other)
        assert not set(found.quality) & set(usual.quality)
        assert found.context == usual.context
    # What the text does not fill is not there: 502 entries, whatever is asked for.
    full = law(workload, candidate(vocabulary=600))
    assert full.quality == law(workload, candidate(vocabulary=700)).quality != usual.quality


def test_another_text_or_budget_is_another_context(
    workload: SubwordWorkload, corpus: texts.Corpus
) -> None:
    usual = law(workload, candidate()).context
    workload._corpus = texts.Corpus((*corpus.documents[:-1], "other\n"))
    assert law(workload, candidate()).context != usual


def test_bits_are_those_of_each_seed(workload: SubwordWorkload) -> None:
    sampled = workload.sample(candidate(), 2, 5, quiet)
    found = workload.judge(sampled, quiet)
    quantities = {quantity.name: quantity for quantity in found.quantities}
    split = workload._known(candidate()).split.held_out
    assert quantities["tokens_per_byte"].value == len(split.ids) / split.bytes
    assert quantities["tokens_per_word"].value == len(split.ids) / split.words
    assert quantities["entries"].value == 400 and quantities["unknown_bits_per_byte"].value == 0
    bits = quantities["bits_per_byte"]
    one, other = found.detail["per_run"]
    assert one != other and bits.value == pytest.approx((one + other) / 2)
    assert bits.spread == pytest.approx(abs(one - other) / 2) and bits.samples == 2
    even = np.log2(400) * len(split.ids) / split.bytes
    assert 0 < bits.value < even  # it has learnt something
    assert found.detail["seeds"] == [5, 6]
    again = workload.sample(candidate(), 2, 5, quiet)
    assert np.array_equal(again.tokens, sampled.tokens)
    assert workload.judge(again, quiet).detail["trained_steps"] == 0
    third = workload.sample(candidate(), 2, 6, quiet)  # one of its two was trained before
    assert workload.judge(third, quiet).detail["spared_steps"] > 0


def test_a_share_of_the_budget_is_another_behaviour_of_fewer_steps(
    workload: SubwordWorkload,
) -> None:
    half = candidate().clone(override={"budget": 0.5})
    assert law(workload, half).quality != law(workload, candidate()).quality
    counted = []
    for one in (candidate(), half):
        observed = workload.judge(workload.sample(one, 2, 0, quiet), quiet)
        (bits,) = (q for q in observed.quantities if q.name == "bits_per_byte")
        counted.append((bits.detail["steps"], bits.comparable))
    assert counted[1][0] == counted[0][0] // 2 and counted[0][1] != counted[1][1]


def test_equal_tokens_train_one_model(workload: SubwordWorkload) -> None:
    first = workload.sample(candidate(), 2, 0, quiet)
    same = workload.sample(candidate(normaliser="nfc"), 2, 0, quiet)
    assert np.array_equal(first.tokens, same.tokens)
    assert workload.judge(same, quiet).detail["trained_steps"] == 0


def test_a_tokenizer_is_trained_once(
    workload: SubwordWorkload, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = law(workload, candidate())

    def never(self: Subword, documents: Any) -> Any:
        raise AssertionError("it was trained already")

    workload._last = None  # as in another process
    monkeypatch.setattr(Subword, "train", never)
    assert law(workload, candidate()) == before
    with pytest.raises(AssertionError):
        law(workload, candidate(vocabulary=401))
    (kept,) = (tmp_path / "tokenizers").rglob("*.safetensors")
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    workload._last = None
    with pytest.raises(AssertionError):  # what is damaged is not believed
        law(workload, candidate())


def test_speed_goes_with_the_tokenizer_that_was_timed(workload: SubwordWorkload) -> None:
    found = workload.speed(candidate(), quiet)
    (speed,) = found.quantities
    assert speed.name == "encode_mb_per_s" and speed.value > 0 and 0 < speed.spread < float("inf")
    assert speed.samples >= 25 and speed.higher
    kept = speed.detail["tokenizer"]
    loaded = Tokenizer.from_str(json.dumps(unpacked(kept["packed"])))
    assert loaded.to_str() == workload._known(candidate()).text
    assert loaded.encode(kept["probe"]["text"]).ids == kept["probe"]["ids"]
    other = workload.speed(candidate(normaliser="nfc"), quiet)
    assert not np.array_equal(found.trace[0], other.trace[0])


def test_what_is_lost_fails_the_candidate_only(workload: SubwordWorkload) -> None:
    workload._corpus = texts.Corpus((*workload._corpus.documents, "An Upper Case\n"))
    with pytest.raises(MeasurementFailed, match="lossy"):
        workload.behaviour(candidate(normaliser="lowercase"), b"")
    with pytest.raises(MeasurementFailed, match="no tokenizer"):
        workload.behaviour(from_tree({}), b"")
    with pytest.raises(BadInput, match="2 trainings"):
        workload.check_samples(1)
    with pytest.raises(BadInput, match="export"):
        workload.generate({}, (), 1, 0, 0, quiet)


def test_a_packed_tokenizer_is_read_or_refused() -> None:
    text = '{"version": "1.0", "é": [1]}'
    assert unpacked(packed(text)) == json.loads(text)
    for broken in (packed(text)[:-4], "", "\u00e9", packed("[1"), packed("[1]")):
        with pytest.raises(BadInput, match="damaged"):
            unpacked(broken)


# ------------------------------------------------------------------------------------ the corpus


def test_documents_are_the_text_and_what_is_held_out_is_not_trained_on() -> None:
    english = texts.english()
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics))
    assert "".join(english.documents) == text
    assert sorted([*english.train, *english.held_out]) == sorted(english.documents)
    held_out = sum(map(len, english.held_out))
    assert 0.08 * len(text) < held_out < 0.12 * len(text)
    assert all(document.endswith("\n") for document in english.documents[:-1])


def test_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "of.txt"
    text = ("é" * 100 + "\r\n") * 900
    file.write_bytes(text.encode())
    assert "".join(texts.from_file(file).documents) == text
    no_lines = "x" * 90_001
    assert "".join(texts.corpus(no_lines, "x").documents) == no_lines
    for wrong, says in ((b"short", "80000 or more"), (b"\xff" * 100_000, "UTF-8")):
        file.write_bytes(wrong)
        with pytest.raises(BadInput, match=says):
            texts.from_file(file)
    with pytest.raises(BadInput, match="cannot read"):
        texts.from_file(tmp_path / "none.txt")


# ------------------------------------------------------------------------------ the real workload


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"compute": 0}, "--option compute"),
        ({"dim": 33}, "a multiple of 32"),
        ({"budget": 2}, "no option budget"),
        ({"samples": 1}, "2 trainings"),
        ({"corpus": "/nowhere/at/all"}, "cannot read the corpus"),
    ],
)
def test_options_that_cannot_be_are_told(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    opening: Callable[..., Any] = KINDS["workloads"].load("subword").open
    with pytest.raises((BadInput, BadValue), match=says):
        opening(device="cpu", artefacts=str(tmp_path), **options)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from paretoken.evaluators.workloads import subword

    monkeypatch.setattr(subword, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"pip install 'paretoken\[subword\]'"):
        KINDS["workloads"].load("subword").open(device="cpu", artefacts=str(tmp_path))


def test_a_search_records_failures_and_shares_what_is_equal(
    workload: SubwordWorkload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload._corpus = texts.Corpus((*workload._corpus.documents, "An Upper Case\n"))
    monkeypatch.setattr(Local, "open", classmethod(lambda cls, *about: Local(workload)))
    plan = Plan(
        study="cuts", workload="subword", space="subword", algorithm="grid",
        settings=("tokenizer=bpe", "tokenizer.words=byte_level", "tokenizer.vocabulary=1024",
                  "tokenizer.digits=false", "tokenizer.byte_fallback=false",
                  "tokenizer.normaliser=none,nfc,lowercase"),
        trials=10, reuse=Reuse(observations=1, audit=0.0), confirm=False,
    )  # fmt: skip
    with Store.open(f"sqlite:///{tmp_path / 'of.db'}") as store:
        search(plan, store, lambda progress: None)
        trials = {t.tree["tokenizer"]["normaliser"]: t for t in store.trials("cuts")}
    assert {name: trial.state for name, trial in trials.items()} == {
        "none": "done", "nfc": "done", "lowercase": "failed"
    }  # fmt: skip
    failure = trials["lowercase"].failure
    assert failure is not None and failure.reason == "lossy"
    assert trials["nfc"].origin == {"quality": "law", "speed": "measured"}
    bits = {trials[name].quantities["bits_per_byte"].value for name in ("none", "nfc")}
    assert len(bits) == 1
