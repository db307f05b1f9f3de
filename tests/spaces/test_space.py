from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pyglove as pg
import pytest

from paretoken.spaces.component import Component
from paretoken.spaces.derive import derive
from paretoken.spaces.errors import BadInput, BadValue, UnknownName
from paretoken.spaces.plugins import component
from paretoken.spaces.space import Space, load, preset_names

EVERYTHING = {
    "decoder": {
        "is": "decoders/speculative",
        "drafter": {
            "oneof": [
                {"is": "drafters/jacobi", "window": {"oneof": [8, 16]}, "coupling": "none"},
                {
                    "is": "drafters/skip",
                    "layers": {"manyof": {"count": 2, "among": [0, 1, 3]}},
                    "rate": {"float": {"low": 0.01, "high": 1.0, "log": True}},
                },
            ]
        },
        "verifier": {"is": "verifiers/exact"},
    },
    "sampling": {
        "is": "samplings/standard",
        "temperature": {"oneof": [{"float": {"low": 0.5, "high": 1.0, "log": False}}, 2.0]},
    },
    "runtime": {"is": "runtimes/local", "batch": 1},
}


def _document() -> dict[str, Any]:
    return {"schema": 1, "space": copy.deepcopy(EVERYTHING)}


def _batch(value: Any) -> dict[str, Any]:
    return {"is": "runtimes/local", "batch": value}


def _warm(value: Any) -> dict[str, Any]:
    return {"is": "samplings/standard", "temperature": value}


def test_json_goes_both_ways_whatever_the_order_of_its_keys() -> None:
    space = Space.from_json(_document())
    assert space.to_json() == _document()
    text = json.dumps(space.to_json(), sort_keys=True)
    again = Space.from_json(json.loads(text))
    assert again == space
    assert list(again.tree["decoder"]) == ["is", "drafter", "verifier"]  # declared order
    for derived in (Space(derive()), Space(derive("drafters/skip"))):
        assert Space.from_json(json.loads(json.dumps(derived.to_json(), sort_keys=True))) == derived


def test_reading_writes_what_is_written_into_the_symbolic_tree() -> None:
    root = Space.from_json(_document()).root
    window = root.decoder.drafter.candidates[0].window
    assert isinstance(window, pg.hyper.OneOf)
    assert list(window.candidates) == [8, 16]
    skip = root.decoder.drafter.candidates[1]
    assert (skip.rate.min_value, skip.rate.max_value, skip.rate.scale) == (0.01, 1.0, "log")
    assert skip.layers.choices_sorted and skip.layers.choices_distinct


def test_fields_left_out_take_their_defaults() -> None:
    space = Space.from_json({"schema": 1, "space": {}})
    assert space.size == 1
    assert space.tree["decoder"]["verifier"] == {"is": "verifiers/exact"}


def test_the_size_counts_branches_and_is_infinite_with_a_continuous_float() -> None:
    space = Space.from_json(_document())
    assert space.size == float("inf")
    finite = space.fix("skip.rate", 0.1).narrow("temperature", (1.0, 2.0))
    assert finite.size == (2 + 3) * 2 == finite.dna_spec.space_size


@pytest.mark.parametrize(
    ("where", "value", "error"),
    [
        ("runtime", {"is": "os/system"}, UnknownName),
        ("runtime", {"is": "runtimes/os"}, UnknownName),
        ("runtime", {"is": "runtimes/../local"}, UnknownName),
        ("runtime", {"is": "workloads/fashion"}, UnknownName),
        ("runtime", {"is": ["runtimes/local"]}, UnknownName),
        ("runtime", {"is": "drafters/none"}, BadValue),
        ("runtime", {"_type": "paretoken.spaces.candidate.Candidate"}, UnknownName),
        ("runtime", {"is": "runtimes/local", "_type": "subprocess.Popen"}, UnknownName),
        ("runtime", _batch({"_type": "os.system", "args": 1}), BadValue),
        ("runtime", _batch({"oneof": []}), BadValue),
        ("runtime", _batch({"oneof": [1], "is": "x"}), BadValue),
        ("runtime", _batch({"oneof": [1, 0]}), BadValue),
        ("runtime", _batch({"oneof": 3}), BadValue),
        ("runtime", _batch({"manyof": {"count": 0, "among": []}}), BadValue),
        ("runtime", _batch({"float": {"low": 1, "high": 2, "log": False}}), BadValue),
        ("runtime", "runtimes/local", BadInput),
        ("runtime", None, BadInput),
        ("runtime", {"oneof": []}, BadInput),
        ("sampling", _warm({"float": {"low": 2.0, "high": 0.5, "log": False}}), BadValue),
        ("sampling", _warm({"float": {"low": 0.0, "high": 0.5, "log": True}}), BadValue),
        ("sampling", _warm({"float": {"low": 0.0, "high": 9.5, "log": False}}), BadValue),
        ("sampling", _warm({"float": {"low": 0.0}}), BadValue),
        ("sampling", _warm(float("nan")), BadValue),
        ("tokenizer", {}, UnknownName),
    ],
)
def test_malicious_and_broken_spaces_are_refused(where: str, value: Any, error: type) -> None:
    document = _document()
    document["space"][where] = value
    with pytest.raises(error):
        Space.from_json(document)


@pytest.mark.parametrize("among", [[1, 0], [0], [0, 0, 1], [0, 9], [0, True], "01", None])
def test_a_manyof_holds_enough_legal_values_in_their_order(among: Any) -> None:
    document = _document()
    drafter = document["space"]["decoder"]["drafter"]["oneof"][1]
    drafter["layers"] = {"manyof": {"count": 2, "among": among}}
    with pytest.raises(BadValue, match=r"skip\.layers"):
        Space.from_json(document)


@pytest.mark.parametrize(
    "document",
    [{}, None, [], {"schema": 2, "space": {}}, {"schema": True, "space": {}}, {"schema": 1}],
)
def test_another_schema_is_refused(document: Any) -> None:
    with pytest.raises(BadInput, match="schema"):
        Space.from_json(document)


def test_bottomless_json_is_bad_input() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = {"oneof": [deep]}
    document = _document()
    document["space"]["runtime"] = {"is": "runtimes/local", "batch": deep}
    with pytest.raises(BadInput, match="deep"):
        Space.from_json(document)


def test_reading_runs_no_code_of_pyglove_or_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a reader that can run code was called")

    for name in ("pickle.loads", "pickle.load", "pyglove.from_json", "pyglove.from_json_str"):
        monkeypatch.setattr(name, refuse)
    assert Space.from_json(_document()).to_json() == _document()


@pytest.mark.parametrize(
    "value",
    [
        pg.manyof(2, [0, 1, 2]),  # any order: the knob's lists are sorted
        pg.permutate([0, 1]),
        pg.floatv(0.1, 0.2),
    ],
)
def test_what_json_cannot_say_is_refused_when_the_space_is_made(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        Space(component("drafters/skip")(layers=value))


def test_a_space_is_a_component() -> None:
    for root in (derive("drafters"), {"is": "drafters/none"}, component("drafters/none")):
        with pytest.raises(BadInput, match="a space is a component"):
            Space(root)


# --- load ---------------------------------------------------------------------------------------


def _file(folder: Path, text: str) -> Path:
    path = folder / "mine.py"
    path.write_text("from paretoken.spaces.derive import derive\n" + text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "SPACE = derive()",
        "def SPACE():\n    return derive()",
        "from paretoken.spaces.space import Space\nSPACE = Space(derive())",
        "from paretoken.spaces.space import Space\nSPACE = lambda: Space(derive())",
    ],
)
def test_a_space_is_loaded_from_a_file(tmp_path: Path, text: str) -> None:
    assert load(f"{_file(tmp_path, text)}:SPACE") == Space(derive())


@pytest.mark.parametrize(
    ("text", "spec", "message"),
    [
        ("", "{}", "Say .*mine.py:NAME"),
        ("", "{}:SPACE", "no space in .*mine.py is called 'SPACE'"),
        ("SPACES = 1", "{}:SPACE", "Did you mean 'SPACES'"),
        ("SPACE = 1", "{}:SPACE", "no space of candidates, but 1"),
        ("SPACE = derive('drafters/jacobi')", "{}:SPACE", "no space of candidates"),
        ("def SPACE():\n    return 1 / 0", "{}:SPACE", "fails: ZeroDivisionError"),
        ("1 / 0", "{}:SPACE", "cannot be run: ZeroDivisionError"),
        ("x = (", "{}:SPACE", "cannot be run: SyntaxError"),
        ("", "elsewhere.py:SPACE", "there is no file elsewhere.py"),
        ("", "fashion-smal", "Did you mean 'fashion-small'"),
        ("", "", "no space is called ''"),
        ("", "../presets/fashion_small", "no space is called"),
    ],
)
def test_what_cannot_be_loaded_is_explained(
    tmp_path: Path, text: str, spec: str, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        load(spec.format(_file(tmp_path, text)))


def test_a_space_that_could_not_be_read_back_is_refused(
    tmp_path: Path, toys: dict[str, dict[str, Component]]
) -> None:
    path = _file(
        tmp_path,
        "from paretoken.spaces.component import Component\n"
        "class Own(Component):\n    kind = 'drafters'\n"
        "SPACE = derive()\nSPACE.decoder.rebind(drafter=Own())",
    )
    with pytest.raises(BadInput, match="drafters"):
        load(f"{path}:SPACE")


def test_presets_are_named_with_hyphens() -> None:
    assert {"fashion-small", "image-decoding"} <= set(preset_names())
