"""The batch table: draft lengths by batch size, from measured points with their spread."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from paretoken.cache.store import Store
from paretoken.search.exporting.artefact import Artefact, make
from paretoken.search.exporting.provenance import Chosen
from paretoken.search.exporting.refusal import Code, Refused
from paretoken.search.exporting.schedule import Row, Schedule, measured, schedule
from paretoken.spaces.errors import BadInput
from paretoken.spaces.objectives import Objective
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.records import Environment, Measurement, Quantity, StudyInfo, Trial

SPEED = "tokens_per_s"
# Tokens a second, by hand: drafts pay off while the batch is small.
TABLE = {
    1: {0: 10.0, 2: 18.0, 4: 20.0},
    4: {0: 40.0, 2: 60.0, 4: 64.0},
    8: {0: 80.0, 2: 100.0, 4: 90.0},
    16: {0: 160.0, 2: 140.0, 4: 120.0},
}


def trial(number: int, batch: int, drafts: int, speed: float, spread: float) -> Trial:
    drafter: dict[str, Any] = {"is": "drafters/none"}
    if drafts:
        drafter = {"is": "drafters/prompt_lookup", "window": drafts + 1, "ngram": 2,
                   "which": "first"}  # fmt: skip
    tree = {
        "decoder": {
            "is": "decoders/speculative",
            "drafter": drafter,
            "verifier": {"is": "verifiers/exact"},
            "residual": {"is": "residuals/exact"},
            "length": {"is": "lengths/fixed"},
        },
        "sampling": {"is": "samplings/standard", "temperature": 0.0, "top_k": 0, "top_p": 1.0,
                     "cfg": 1.0, "cfg_interval": -1},
        "runtime": {"is": "runtimes/local", "batch": batch, "dtype": "float32", "graphs": True},
    }  # fmt: skip
    quantities = {SPEED: Quantity(SPEED, speed, spread, 5, "tokens/s")}
    return Trial(number, f"{number:032x}", tree, (), "done", quantities)


def trials(table: Any, spread: float = 0.01) -> list[Trial]:
    """Every point of a table, with a relative spread."""
    points = [(b, k, v) for b, lengths in table.items() for k, v in lengths.items()]
    return [trial(i, b, k, v, spread * v) for i, (b, k, v) in enumerate(points)]


def scheduled(table: Any, spread: float = 0.01) -> Schedule:
    every = trials(table, spread)
    drafting = next(t for t in every if "window" in t.tree["decoder"]["drafter"])
    return schedule(measured(drafting, every, SPEED), SPEED)


def export(target: str, table: Any, spread: float = 0.01) -> Artefact:
    every = trials(table, spread)
    drafting = next(t for t in every if "window" in t.tree["decoder"]["drafter"])
    objective = Objective(SPEED, "tokens/s", True, "")
    study = StudyInfo("s", "text", "grid", 0, {}, (objective,), {}, "")
    chosen = Chosen(study, drafting, "2026-01-01T00:00:00+00:00")
    made = schedule(measured(drafting, every, SPEED), SPEED)
    return make(KINDS["exporters"].load(target), chosen, unverified=True, schedule=made)


def test_lengths_change_where_the_measured_speeds_cross() -> None:
    found = scheduled(TABLE)
    # From 4 to 8 the logarithm of the ratio of lengths 2 and 4 goes from ln(60/64) to ln(100/90).
    share = math.log(64 / 60) / (math.log(64 / 60) + math.log(100 / 90))
    first = 4 * 2**share
    share = math.log(100 / 80) / (math.log(100 / 80) + math.log(160 / 140))
    second = 8 * 2**share
    assert [c.batch for c in found.crossovers] == pytest.approx([first, second])
    assert [(c.before, c.after) for c in found.crossovers] == [(4, 2), (2, 0)]
    assert found.rows == (
        Row(1, math.ceil(first) - 1, 4), Row(math.ceil(first), math.ceil(second) - 1, 2),
        Row(math.ceil(second), 16, 0),
    )  # fmt: skip
    assert (math.ceil(first), math.ceil(second)) == (6, 13)


def test_a_crossover_is_as_uncertain_as_the_speeds() -> None:
    sharp, blurred = scheduled(TABLE, 0.001).crossovers[0], scheduled(TABLE, 0.01).crossovers[0]
    assert sharp.earliest < sharp.batch < sharp.latest
    assert sharp.batch == blurred.batch
    assert blurred.earliest < sharp.earliest and sharp.latest < blurred.latest
    assert 4 <= blurred.earliest and blurred.latest <= 8


def test_noise_changes_no_length() -> None:
    """The lead of 100 over 97 is 1.1 standard deviations at 2 %, and 11 at 0.2 %."""
    table = {1: {0: 10.0, 2: 18.0, 4: 20.0}, 8: {0: 50.0, 2: 100.0, 4: 97.0}}
    assert scheduled(table, 0.02).rows == (Row(1, 8, 4),)
    assert [row.drafts for row in scheduled(table, 0.002).rows] == [4, 2]
    # Where nothing was chosen before, noise leaves the shortest.
    first = {1: {2: 20.0, 4: 20.1}, 8: {2: 100.0, 4: 40.0}}
    assert scheduled(first, 0.02).rows == (Row(1, 8, 2),)


def test_a_length_measured_on_one_side_only_starts_where_it_was_measured() -> None:
    found = scheduled({1: {0: 10.0, 4: 20.0}, 8: {0: 80.0, 2: 100.0}})
    assert found.rows == (Row(1, 7, 4), Row(8, 8, 2))
    (crossover,) = found.crossovers
    assert (crossover.earliest, crossover.latest) == (1.0, 8.0)


def test_only_the_family_counts() -> None:
    every = trials(TABLE)
    other = trial(99, 1, 16, 1000.0, 1.0)
    other.tree["decoder"]["drafter"]["ngram"] = 3  # type: ignore[index]
    assert 16 not in measured(every[1], [*every, other], SPEED)[1]
    failed = trial(98, 1, 16, 1000.0, 1.0)
    object.__setattr__(failed, "state", "failed")
    assert 16 not in measured(every[1], [*every, failed], SPEED)[1]


def test_too_few_points_are_told_with_what_to_search() -> None:
    for table in ({1: TABLE[1]}, {1: TABLE[1], 8: {2: 100.0}}):
        with pytest.raises(BadInput, match=r"runtime\.batch=") as caught:
            scheduled(table)
        assert "none,prompt_lookup" in str(caught.value)


# ------------------------------------------------------------ what each engine makes of it


def vllm_length(drafting: Any, batch: int) -> int:
    """As vLLM's dense lookup: gaps and everything above the last range inherit."""
    length = 0
    for first, last, drafts in drafting["num_speculative_tokens_per_batch_size"]:
        if batch < first:
            break
        length = min(drafts, drafting["num_speculative_tokens"])
        if batch <= last:
            break
    return length


def trt_length(drafting: Any, batch: int) -> int:
    """As TensorRT-LLM: the smallest key that is not below the batch, 0 above all of them."""
    return next((k for b, k in sorted(drafting["draft_len_schedule"].items()) if batch <= b), 0)


ENDLESS = {1: {0: 10.0, 2: 18.0, 4: 20.0}, 8: {0: 80.0, 2: 100.0, 4: 90.0}}


@pytest.mark.parametrize("table", [TABLE, ENDLESS], ids=["ends with none", "ends with drafts"])
def test_both_servers_do_what_the_schedule_says_up_to_the_largest_measured(table: Any) -> None:
    made = scheduled(table)
    vllm, trt = export("vllm", table), export("tensorrt_llm", table)
    ours = yaml.safe_load(vllm.files()["vllm.yaml"])["speculative-config"]
    theirs = yaml.safe_load(trt.files()["trtllm.yaml"])["speculative_config"]
    assert ours["num_speculative_tokens"] == theirs["max_draft_len"] == made.longest == 4
    for batch in range(1, made.rows[-1].last + 1):
        (wanted,) = [row.drafts for row in made.rows if row.first <= batch <= row.last]
        assert vllm_length(ours, batch) == trt_length(theirs, batch) == wanted
    # Above it they part, which is told.
    last = made.rows[-1]
    assert vllm_length(ours, last.last + 1) == last.drafts
    assert trt_length(theirs, last.last + 1) == 0
    for artefact in (vllm, trt):
        told = [note.why for note in artefact.notes if f"above batch {last.last}" in note.why]
        assert len(told) == (1 if artefact is vllm or last.drafts else 0)
        assert artefact.sidecar["export"]["schedule"]["rows"][-1]["drafts"] == last.drafts


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("sglang", Code.SILENTLY_IGNORED),
        ("transformers", Code.NOT_EXPRESSIBLE),
        ("json", Code.NOT_EXPRESSIBLE),
    ],
)
def test_engines_without_a_table_refuse_it(target: str, code: Code) -> None:
    with pytest.raises(Refused) as caught:
        export(target, {1: TABLE[1], 16: TABLE[16]})
    assert caught.value.codes == (code,) and "1-" in str(caught.value)


def test_tensorrt_wants_the_longest_first_and_nobody_wants_no_drafts_at_all() -> None:
    rising = {1: {0: 10.0, 2: 20.0, 4: 15.0}, 8: {0: 10.0, 2: 20.0, 4: 40.0}}
    with pytest.raises(Refused) as caught:
        export("tensorrt_llm", rising)
    assert caught.value.codes == (Code.CROSS_FIELD,)
    assert export("vllm", rising).documents
    never = {1: {0: 30.0, 2: 20.0}, 8: {0: 90.0, 2: 20.0}}
    for target in ("vllm", "tensorrt_llm"):
        with pytest.raises(Refused) as caught:
            export(target, never)
        assert caught.value.codes == (Code.CROSS_FIELD,)


def test_the_table_is_made_on_the_command_line_or_refused_with_a_way_out(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain decoding is on the front, too, and has no table: it is no way out, and no failure."""
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path / 'batches.db'}"
    monkeypatch.setenv("PARETOKEN_STORE", url)
    objectives = (Objective(SPEED, "tokens/s", True, ""), Objective("nll", "nats", False, ""))
    place = Environment("cpu Test", "torch 2")
    with Store.open(url) as store:
        store.create_study(StudyInfo("b", "text", "grid", 0, {}, objectives, {}, ""))
        for one in trials(TABLE):
            identity = store.propose("b", one.number, dict(one.tree), ())
            likely = Quantity("nll", 1.0 + (one.number == 0) * -0.5, 0.0, 5, "nats", False)
            quality = Measurement("quality", f"q{one.number}", (likely,), place, 0, 1.0)
            speed = Measurement("speed", f"s{one.number}", (one.quantities[SPEED],), place, 0, 1.0)
            classes = [store.observe(identity, m)[0].id for m in (quality, speed)]
            store.finish("b", one.number, classes[0], classes[1], {})
    where = ("--where", 'drafter == "prompt_lookup"', "--by-batch")
    assert cli("export", "b", "--to", "vllm", *where).code == 0
    drafting = yaml.safe_load(Path("tuned-vllm/vllm.yaml").read_text())["speculative-config"]
    assert drafting["num_speculative_tokens_per_batch_size"] == [[1, 5, 4], [6, 12, 2], [13, 16, 0]]
    ran = cli("export", "b", "--to", "transformers", *where)
    assert ran.code == 3 and "try without --by-batch" in ran.err
