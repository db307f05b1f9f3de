"""`paretoken search suggestions` from beginning to end, on a tiny model with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from paretoken.cache.fingerprint import fingerprint
from paretoken.search.cli.main import main
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.errors import BadInput, MeasurementFailed
from paretoken.spaces.plugins import KINDS


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARETOKEN_STORE", "sqlite:///suggestions.db")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def command(*words: str) -> str:
        code = main(list(words))
        told = capsys.readouterr()
        assert code == 0, told.err
        return told.out

    return command


def say(*_: Any) -> None: ...


def test_a_search_goes_through_all_commands(run: Any, saved: Path, prompts_file: Path) -> None:
    asked = (
        "search", "suggestions", "--study", "ideas", "--algorithm", "random", "--samples", "4",
        "--device", "cpu", "--observations", "1", "--no-confirm", "--option", f"model={saved}",
        "--option", "tokens=5", "--prompts", str(prompts_file), "--set", "superposed.drafts=3",
        "--set", "superposed.tokens=9", "--set", "beam_search.width=2,3",
    )  # fmt: skip
    run(*asked, "--trials", "5")
    run("search", "suggestions", "--study", "ideas", "--resume", "--trials", "9", "--no-confirm")
    told = json.loads(run("front", "ideas", "--all", "--json"))
    assert len(told["trials"]) == 9 and told["front"]
    plain = next(one for one in told["trials"] if one["number"] == 0)
    assert plain["settings"]["decoder"]["is"] == "decoders/nucleus"
    done = [one for one in told["trials"] if one["failure"] is None]
    names = set(done[0]["quantities"])
    assert {"suggestions_per_s", "speedup", "target_forwards", "fed_tokens"} <= names
    assert {"nll", "best_nll", "different", "self_bleu", "has_plain"} <= names
    for one in done:
        kind, found = one["settings"]["decoder"]["is"], one["quantities"]
        if kind == "decoders/superposed":
            assert found["fed_tokens"]["value"] == found["target_forwards"]["value"] <= 5
        else:
            assert found["fed_tokens"]["value"] == 3 * found["target_forwards"]["value"]
    # Three suggestions want three beams: widths of two and three are one behaviour.
    beams = [one for one in done if one["settings"]["decoder"]["is"] == "decoders/beam_search"]
    by_penalty: dict[float, set[Any]] = {}
    for one in beams:
        values = {name: one["quantities"][name]["value"] for name in ("nll", "suggestions_per_s")}
        penalty = one["settings"]["decoder"]["length_penalty"]
        by_penalty.setdefault(penalty, set()).add(tuple(values.values()))
    assert beams and all(len(found) == 1 for found in by_penalty.values())
    run("best", "ideas", "--where", "speedup > 0")
    run("show", plain["candidate"])
    run("export", "ideas", "--where", "speedup > 0", "--to", "json", "--out", "tuned.json")
    run("generate", "--settings", "tuned.json", "-n", "2", "--out", "made.jsonl")
    made = [json.loads(line) for line in Path("made.jsonl").read_text().splitlines()]
    assert [len(one["suggestions"]) for one in made] == [3, 3]
    run("report", "ideas", "--out", "report.html")
    assert "Say chat 0." in Path("report.html").read_text()
    listed = {one["name"] for one in json.loads(run("workloads", "--json"))}
    assert "suggestions" in listed
    decoders = {one["name"] for one in json.loads(run("plugins", "decoders", "--json"))}
    assert {"superposed", "beam_search", "branching", "nucleus"} <= decoders


@pytest.fixture(scope="module")
def opened(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    corpus = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    corpus.write_text("for example for the first time\n\nprint the first example", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(corpus.parent))
        workload = KINDS["workloads"].load("suggestions")
        opened = workload.open(
            model=str(saved), tokens=6, samples=4, device="cpu", batch=1, corpus=str(corpus)
        )
        assert opened._answering.ngrams  # counted while the cache is ours
    return opened


def candidate(name: str, **knobs: Any) -> Any:
    return from_tree({"decoder": {"is": f"decoders/{name}", **knobs}})


def test_what_does_the_same_has_one_fingerprint(opened: Any) -> None:
    recording = opened.record()

    def law(name: str, **knobs: Any) -> tuple[str, str]:
        behaviour = opened.behaviour(candidate(name, **knobs), recording)
        return fingerprint(behaviour, recording).quality

    superposed = law("superposed")
    assert law("superposed", drafts=1) == law("superposed", drafts=3) == superposed
    assert law("superposed", tokens=257) == law("superposed", tokens=400) != superposed
    assert law("superposed", alpha=0.0, penalty=3.0) == law("superposed", smoothing="none")
    assert law("nucleus", temperature=0.0) == law("nucleus", temperature=0.0, top_p=0.5)
    changed = [
        law("superposed", drafts=4), law("superposed", temperature=0.0601),
        law("superposed", six_gram=0.0), law("superposed", penalty=0.0),
        law("superposed", tokens=8), law("superposed", smoothing="none"), law("nucleus"),
        law("nucleus", top_p=0.5),
        law("beam_search"), law("beam_search", length_penalty=0.0), law("branching"),
    ]  # fmt: skip
    assert len({superposed, *changed}) == 1 + len(changed)


def test_a_set_is_judged_in_a_clean_pass(opened: Any) -> None:
    sampled = opened.sample(candidate("superposed", temperature=1.0), 4, 0, say)
    assert sampled.tokens.shape == (4, 3, 6)
    found = {one.name: one.value for one in opened.judge(sampled, say).quantities}
    answering, total, count = opened._answering, 0.0, 0
    for context, rows in zip(answering.contexts, torch.from_numpy(sampled.tokens), strict=True):
        for row in rows:
            whole = torch.cat([context.tokens, row]).unsqueeze(0)
            law = answering.model(input_ids=whole).logits[0, len(context.tokens) - 1 : -1]
            total -= float(law.log_softmax(-1).gather(-1, row.unsqueeze(-1)).sum())
            count += len(row)
    assert not torch.isin(torch.from_numpy(sampled.tokens), torch.tensor(answering.ends)).any()
    assert found["nll"] == pytest.approx(total / count, rel=1e-5)
    assert "precision_at_k" in found


def test_equal_suggestions_fail_their_candidate(opened: Any) -> None:
    sampled = opened.sample(candidate("nucleus", temperature=0.0), 4, 0, say)
    with pytest.raises(MeasurementFailed, match="degenerate"):
        opened.judge(sampled, say)


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({}, "one answer to a prompt"),
        (
            {
                "decoder": {"is": "decoders/nucleus"},
                "sampling": {"is": "samplings/standard", "temperature": 0.7},
            },
            "laws of their own",
        ),
    ],
)
def test_what_cannot_suggest_fails_its_candidate(
    opened: Any, tree: dict[str, Any], said: str
) -> None:
    with pytest.raises(MeasurementFailed, match=said):
        opened.behaviour(from_tree(tree), opened.record())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"suggestions": 0}, "from 1 to 16"),
        ({"suggestions": True}, "from 1 to 16"),
        ({"chat": "yes"}, "true or false"),
        ({"tokens": 0}, "from 1 to 4096"),
        ({"colour": "red"}, "suggestions has no option colour"),
    ],
)
def test_wrong_options_are_refused(saved: Path, options: dict[str, Any], said: str) -> None:
    asked = {"model": str(saved), "device": "cpu", **options}
    with pytest.raises(BadInput, match=said):
        KINDS["workloads"].load("suggestions").open(**asked)


def test_the_prompts_that_ship() -> None:
    from paretoken.evaluators.text_prompts import read_prompts
    from paretoken.evaluators.workloads.suggestions import PROMPTS

    prompts = read_prompts(PROMPTS)
    kinds = [prompt.kind for prompt in prompts]
    assert {kind: kinds.count(kind) for kind in kinds} == dict.fromkeys(
        ("fact", "mail", "code", "story"), 10
    )
    assert len({prompt.message for prompt in prompts}) == len(prompts)
    assert all(bool(p.answer) == (p.kind in ("fact", "code")) for p in prompts)
