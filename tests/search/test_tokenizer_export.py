"""Exported tokenizers: loaded by tokenizers and transformers, they make the ids that were made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paretoken.evaluators.subwords.cutting import WORDS
from paretoken.evaluators.subwords.packed import packed
from paretoken.search.exporting.artefact import Artefact, check, make
from paretoken.search.exporting.provenance import Chosen
from paretoken.search.exporting.refusal import Code, Refused
from paretoken.search.exporting.schemas import breaches, load
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.errors import BadInput
from paretoken.spaces.objectives import Objective
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.records import Environment, Quantity, StudyInfo, Trial

tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("sentencepiece")

DOCUMENTS = [f"A token of {n} talks, walks and merges\n  by {n * n % 97}.\n" for n in range(60)]
PROBE = "  A talking token,\n\tmerged 42 times: naïve \U0001f600 "
FAMILIES = (
    ("bpe", {}), ("bpe", {"byte_fallback": True}), ("wordpiece", {}), ("unigram", {}),
    ("unigram", {"byte_fallback": True}), ("swe", {}), ("swe", {"cut": "viterbi"}),
)  # fmt: skip
ALL = [
    *((name, {"words": words, **more}) for name, more in FAMILIES for words in WORDS),
    *(("bpe", {"digits": True, "normaliser": one}) for one in ("nfkc", "lowercase")),
]


def chosen(name: str, **knobs: Any) -> tuple[Chosen, Any]:
    """A trial of a tokenizer as it is stored, and the tokenizer."""
    tree = {"is": "candidates/tokenizing",
            "tokenizer": {"is": f"tokenizers/{name}", "vocabulary": 600, **knobs}}  # fmt: skip
    candidate: Any = from_tree(tree)
    made = candidate.tokenizer.train(DOCUMENTS)
    probe = {"text": PROBE, "ids": made.encode(PROBE).ids}
    detail = {"tokenizer": {"packed": packed(made.to_str()), "digest": "0" * 32, "probe": probe}}
    speed = Quantity("encode_mb_per_s", 1.0, 0.1, 9, "MB/s", True, "", detail)
    place = Environment("cpu Test", "paretoken 0.1.0")
    trial = Trial(1, "0" * 32, to_tree(candidate), (), "done", {speed.name: speed},
                  environment=place)  # fmt: skip
    objectives = (Objective(speed.name, "MB/s", True, ""),)
    study = StudyInfo("s", "subword", "grid", 0, {}, objectives, {}, "")
    return Chosen(study, trial, "2026-01-01T00:00:00+00:00"), made


def export(of: Chosen) -> Artefact:
    return make(KINDS["exporters"].load("tokenizer_json"), of)


def written(made: Artefact, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in made.files().items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(("name", "knobs"), ALL)
def test_loaded_again_it_makes_identical_ids(
    tmp_path: Path, name: str, knobs: dict[str, Any]
) -> None:
    transformers = pytest.importorskip("transformers")
    of, made = chosen(name, **knobs)
    artefact = export(of)
    assert set(artefact.documents) == {"tokenizer.json", "tokenizer_config.json"}
    folder = written(artefact, tmp_path)
    loaded = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    theirs = transformers.AutoTokenizer.from_pretrained(str(folder))
    assert len(theirs) == made.get_vocab_size()
    for text in (PROBE, *DOCUMENTS[:5], "", "\n", "日"):
        wanted = made.encode(text)
        assert loaded.encode(text).ids == wanted.ids
        assert theirs(text)["input_ids"] == wanted.ids
        assert theirs.decode(wanted.ids) == made.decode(wanted.ids, skip_special_tokens=False)
    unknown = made.token_to_id("<unk>") is not None
    assert [note.code for note in artefact.notes] == [Code.RUNTIME_ONLY] * unknown
    KINDS["readers"].load("tokenizer_json")(folder)


def test_the_reader_finds_what_was_changed(tmp_path: Path) -> None:
    read = KINDS["readers"].load("tokenizer_json")
    folder = written(export(chosen("bpe")[0]), tmp_path)
    read(folder)
    file = folder / "tokenizer.json"
    document = json.loads(file.read_text())
    swapped = json.loads(json.dumps(document))
    vocab = swapped["model"]["vocab"]
    vocab["A"], vocab["B"] = vocab["B"], vocab["A"]
    for broken, says in ((swapped, "other ids"), ({**document, "model": {}}, "refuses")):
        file.write_text(json.dumps(broken))
        with pytest.raises(BadInput, match=says):
            read(folder)


def leaves(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of values, of a vocabulary or of merges only the first."""
    if not isinstance(node, dict | list) or not node:
        return [path]
    items = list(node.items() if isinstance(node, dict) else enumerate(node))
    if path and path[-1] in ("vocab", "merges"):
        items = items[:1]
    return [leaf for key, value in items for leaf in leaves(value, (*path, key))]


@pytest.mark.parametrize(("name", "knobs"), ALL)
def test_the_schema_knows_every_field_and_no_other(name: str, knobs: dict[str, Any]) -> None:
    exporter = KINDS["exporters"].load("tokenizer_json")
    made = export(chosen(name, **knobs)[0])
    assert breaches(load("paretoken.search.exporters", "json-1.json"), made.sidecar) == []
    assert check(exporter, made.documents) == []
    for path in leaves(made.documents):
        documents = json.loads(json.dumps(made.documents))
        node = documents
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = [-7, None]
        assert check(exporter, documents), path
        if isinstance(node, dict) and "vocab" not in path[:-1]:
            node[f"{path[-1]}x"] = node.pop(path[-1])
            assert check(exporter, documents), path


def test_entries_have_to_fit_together() -> None:
    exporter = KINDS["exporters"].load("tokenizer_json")
    made = export(chosen("bpe", words="metaspace", byte_fallback=True)[0]).documents

    def broken(**model: Any) -> list[Code]:
        document = made["tokenizer.json"]
        changed = {**document, "model": {**document["model"], **model}}
        return [finding.code for finding in check(exporter, {**made, "tokenizer.json": changed})]

    vocab = made["tokenizer.json"]["model"]["vocab"]
    merges = made["tokenizer.json"]["model"]["merges"]
    assert broken() == []
    assert broken(vocab={**vocab, "more": 0}) == [Code.CROSS_FIELD]
    assert broken(merges=[*merges, ["never", "met"]]) == [Code.CROSS_FIELD]
    assert broken(unk_token="<unk>") == [Code.CROSS_FIELD]
    fewer = {entry: i for i, entry in enumerate(e for e in vocab if e != "<0x41>")}
    assert broken(vocab=fewer) == [Code.CROSS_FIELD]


def test_other_studies_have_no_tokenizer() -> None:
    study = StudyInfo("s", "fashion", "grid", 0, {}, (), {}, "")
    with pytest.raises(Refused, match="for models that are trained"):
        export(Chosen(study, Trial(0, "0" * 32, to_tree(from_tree({})), (), "done", {}), ""))
    of, _ = chosen("bpe")
    with pytest.raises(BadInput, match="search again"):
        export(Chosen(of.study, Trial(1, "0" * 32, of.trial.tree, (), "done", {}), ""))
    with pytest.raises(BadInput, match="no schedule"):
        make(KINDS["exporters"].load("torch_schedule"), of)
    settings = make(KINDS["exporters"].load("json"), of)
    assert settings.sidecar["candidate"] == of.trial.tree
    assert settings.use.endswith("--to tokenizer-json")
