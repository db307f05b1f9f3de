"""Every point of two studies through every exporter: written and read back, or refused by a code.

The study of `fashion` is the front that README.md shows; its settings are in a file. That of `text`
is searched here, on a tiny model, over what engines have and what they have not.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paretoken.cache.store import Store
from paretoken.search.cli.main import main
from paretoken.search.exporting import syntax
from paretoken.search.exporting.artefact import SIDECAR, check
from paretoken.search.exporting.refusal import Code
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.objectives import Objective
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.records import Environment, Measurement, Quantity, StudyInfo
from paretoken.spaces.settings import loads

FRONT = Path(__file__).parents[2] / "search" / "front_of_fashion.json"
Told = dict[str, Any]
Run = Callable[..., tuple[int, Told]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A command in a folder and a store of the test's own: its exit code, and what it tells."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARETOKEN_STORE", f"sqlite:///{tmp_path / 'fronts.db'}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def ran(*words: str) -> tuple[int, Told]:
        capsys.readouterr()
        code = main([*words, "--json"])
        told = capsys.readouterr()
        assert code in (0, 3), told.err
        return code, json.loads(told.out)

    return ran


def fashion() -> None:
    """Store the front of the file as a study `s`."""
    read = json.loads(FRONT.read_text(encoding="utf-8"))
    place = Environment(read["device"], "paretoken 0.1.0")
    speed = Objective("images_per_s", "images/s", True, "")
    info = StudyInfo(
        "s", "fashion", "tpe", 0, {}, (speed, Objective("fid", "", False, "")),
        {"samples": 1000, "batch": 1, "device": "cuda"}, "",
    )  # fmt: skip
    law = {"is": "samplings/standard", "temperature": 1.0, "top_k": 0, "top_p": 1.0, "cfg": 1.0}
    with Store.open(f"sqlite:///{Path.cwd() / 'fronts.db'}") as store:
        store.create_study(info)
        # Plain decoding is number 0 of every study.
        for number, point in enumerate(reversed(read["points"])):
            decoder = {"is": "decoders/speculative", **point["decoder"]}
            tree = to_tree(canonical(from_tree({"decoder": decoder, "sampling": law})))
            identity = store.propose("s", number, tree, (float(number),))
            ids = []
            for aspect, name, n in (("quality", "fid", 1000), ("speed", "images_per_s", 5)):
                value, spread = map(float, point[name])
                found = Quantity(name, value, spread, n, "", name != "fid", "N=1000")
                made = Measurement(aspect, f"{aspect} {number}", (found,), place, 0, 1.0)
                ids.append(store.observe(identity, made)[0].id)
            store.finish("s", number, *ids, {"quality": "measured", "speed": "measured"})


@pytest.fixture
def text(run: Run, saved: Path, prompts_file: Path) -> None:
    """Search a study `s` of a tiny model: with drafts of every engine, and with others."""
    shape = {"model": saved, "draft": saved, "prompts": prompts_file, "tokens": 6, "device": "cpu"}
    fixed = (
        "decoder=speculative", "decoder.length=fixed", "decoder.verifier=exact,top_beta",
        "decoder.drafter=prompt_lookup,early_layers,small_model,aggressive", "window=4",
        "prompt_lookup.ngram=1", "early_layers.layers=3", "aggressive.ngram=3", "drafts=1",
        "prompt_lookup.which=first,latest", "top_beta.beta=3", "top_beta.tau=1.0",
    )  # fmt: skip
    run(
        "search", "text", "--study", "s", "--algorithm", "grid", "--trials", "11", "--samples", "2",
        "--observations", "1", "--no-confirm",
        *(word for k, v in shape.items() for word in ("--option", f"{k}={v}")),
        *(word for setting in fixed for word in ("--set", setting)),
    )  # fmt: skip


def through_all(run: Run) -> dict[str, dict[int, list[str]]]:
    """For each exporter and each trial of study `s` what stood in the way; [] where it is written.

    Everything that has to hold of one export, or of one refusal, is checked on the way.
    """
    with Store.open(f"sqlite:///{Path.cwd() / 'fronts.db'}", create=False) as store:
        trials = [trial for trial in store.trials("s") if trial.state == "done"]
    found: dict[str, dict[int, list[str]]] = {}
    for name in KINDS["exporters"].names():
        for trial in trials:
            words = ["export", "s", "--candidate", trial.candidate_id, "--to", name, "--force"]
            if name == "transformers":
                words.append("--check")  # transformers itself reads its files
            out = Path(f"out-{name}-{trial.number}")
            code, told = run(*words, "--out", str(out))
            if code == 0:
                reads_back(name, out, trial.tree)
            else:
                assert not out.exists()
                refused_well(run, told)
            refused = told.get("refused", [])
            found.setdefault(name, {})[trial.number] = [one["code"] for one in refused]
            assert (code == 0) == (refused == [])
    return found


def reads_back(name: str, out: Path, tree: Any) -> None:
    """The settings are those that were stored, and the documents what the schema knows."""
    sidecar = out / SIDECAR if out.is_dir() else out
    read = json.loads(sidecar.read_text(encoding="utf-8"))
    assert loads(sidecar.read_text(encoding="utf-8")) == tree
    files = {
        str(path.relative_to(out)): path
        for path in (out.rglob("*") if out.is_dir() else ())
        if path.is_file() and path.name != SIDECAR
    }
    documents = {
        file: syntax.read(file, path.read_text(encoding="utf-8")) for file, path in files.items()
    }
    assert documents == read["export"]["documents"]
    assert check(KINDS["exporters"].load(name), documents) == []


def refused_well(run: Run, told: Told) -> None:
    """Each reason has a code; the nearest that can be expressed can indeed be."""
    for one in told["refused"]:
        assert one["code"] in set(Code) and one["knob"] and one["why"]
    if told["command"] is not None:
        assert told["nearest"]["number"] != told["number"]
        code, again = run(*told["command"].split()[1:], "--out", "nearest", "--force")
        assert code == 0 and again["number"] == told["nearest"]["number"]


def written(found: dict[int, list[str]]) -> set[int]:
    return {number for number, codes in found.items() if not codes}


def test_the_front_of_fashion(run: Run) -> None:
    fashion()
    found = through_all(run)
    every = set(range(6))
    assert written(found["json"]) == every
    # Plain decoding is all that LlamaGen's script does; it is number 0.
    assert written(found["llamagen"]) == {0}
    # The scripts cut the law to the likeliest tokens always, and this front is of the whole law.
    for name in ("sjd", "gsd", "lantern"):
        assert written(found[name]) == set()
    assert "UNVERIFIED_SEMANTICS" in found["sjd"][3] and "LOSSY_MISMATCH" in found["sjd"][3]
    for name in ("vllm", "sglang", "llama_cpp", "tensorrt_llm", "transformers"):
        assert all(codes == ["NOT_EXPRESSIBLE"] for codes in found[name].values())


def test_a_study_of_text(run: Run, text: None) -> None:
    found = through_all(run)
    numbers = written(found["json"])
    assert numbers == set(range(len(numbers))) and len(numbers) >= 9
    for name in ("vllm", "sglang", "llama_cpp", "tensorrt_llm", "transformers"):
        assert 0 in written(found[name])  # plain decoding
        assert numbers - written(found[name])  # a rule or drafts that it does not have
    for name in ("vllm", "tensorrt_llm", "transformers"):  # a lookup, or a second model
        assert len(written(found[name])) >= 3
    for name in ("llamagen", "sjd", "gsd", "lantern"):
        assert written(found[name]) == set()
