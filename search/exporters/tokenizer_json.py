"""tokenizer.json: a trained tokenizer for Hugging Face tokenizers, transformers and others.

The tokenizer goes with its measurement, so this exports what was measured, entry by entry, wherever
it was trained. Beside it stands the tokenizer_config.json with which transformers loads a folder.
There are no special tokens but the unknown one: those are the model's, which is still to come.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from paretoken.evaluators.subwords.packed import unpacked
from paretoken.search.exporters import Documents, Engine, Exporter
from paretoken.search.exporting.asked import Asked
from paretoken.search.exporting.refusal import Code, Finding
from paretoken.spaces.errors import BadInput

_FILE, _CONFIG = "tokenizer.json", "tokenizer_config.json"
_UNKNOWN = "<unk>"


class TokenizerJson(Exporter):
    engine = Engine(
        "tokenizers", "0.23", "tokenizer/serialization.rs, models/*/serialization.rs",
        "tokenizer_json-0.23.json", "training",
    )  # fmt: skip

    def express(self, asked: Asked) -> Documents:
        document = unpacked(_kept(asked)["packed"])
        config: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
        }
        if _UNKNOWN in _vocabulary(document["model"]):
            config["unk_token"] = _UNKNOWN
            asked.note(
                Code.RUNTIME_ONLY, "tokenizer", "transformers takes the text <unk> for the unknown "
                "token, which tokenizers alone does not", value=_UNKNOWN,
            )  # fmt: skip
        return {_FILE: document, _CONFIG: config}

    def crossed(self, documents: Documents) -> Iterator[Finding]:
        """Entries that are named twice or not at all."""
        model = documents[_FILE]["model"]
        vocabulary = _vocabulary(model)
        if sorted(vocabulary.values()) != list(range(len(vocabulary))):
            yield _wrong("model/vocab", len(vocabulary), "ids are not 0, 1, 2, … each once")
        for left, right in model.get("merges", ()):
            if not {left, right, left + right} <= set(vocabulary):
                yield _wrong("model/merges", [left, right], "a merge of what has no entry")
        if model.get("unk_token") and model["unk_token"] not in vocabulary:
            yield _wrong("model/unk_token", model["unk_token"], "it has no entry")
        if model.get("byte_fallback"):
            missing = [name for b in range(256) if (name := f"<0x{b:02X}>") not in vocabulary]
            if missing:
                yield _wrong("model/byte_fallback", missing[0], "a byte that has no entry")

    def request(self, asked: Asked) -> Mapping[str, Any]:
        """A text and its ids, to check a loader by."""
        return {"probe": dict(_kept(asked)["probe"])}

    def use(self, asked: Asked, documents: Documents) -> str:
        return "\n".join(
            [
                "from transformers import AutoTokenizer",
                'tokenizer = AutoTokenizer.from_pretrained("FOLDER")',
                "# or, without transformers:",
                "from tokenizers import Tokenizer",
                f'tokenizer = Tokenizer.from_file("FOLDER/{_FILE}")',
            ]
        )


def _kept(asked: Asked) -> Mapping[str, Any]:
    """What the measurement of encoding says of its tokenizer."""
    measured = asked.trial.quantities.get("encode_mb_per_s")
    kept = None if measured is None else measured.detail.get("tokenizer")
    if not kept:
        raise BadInput(
            f"number {asked.trial.number} has no trained tokenizer with it: it is none, or was "
            "stored by another version; search again."
        )
    found: Mapping[str, Any] = kept
    return found


def _vocabulary(model: Mapping[str, Any]) -> dict[str, int]:
    """Ids by entry; of an entry that is there twice the later one."""
    entries = model["vocab"]
    if isinstance(entries, Mapping):
        return dict(entries)
    return {entry: i for i, (entry, _) in enumerate(entries)}


def _wrong(where: str, value: Any, why: str) -> Finding:
    return Finding(Code.CROSS_FIELD, f"{_FILE}/{where}", value, why)


plugin = TokenizerJson()
