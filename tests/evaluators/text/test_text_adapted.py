"""Searches of what adapts to the text, from beginning to end on a tiny model of random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paretoken.cache.fingerprint import fingerprint
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.plugins import KINDS


@pytest.fixture(scope="module")
def opened(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    text = KINDS["workloads"].load("text")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield text.open(model=str(saved), tokens=12, samples=6, device="cpu", batch=1)


def candidate(decoder: dict[str, Any]) -> Any:
    return from_tree(
        {
            "decoder": {"is": "decoders/speculative", **decoder},
            "sampling": {"is": "samplings/standard", "temperature": 0.0},
        }
    )


def test_trigram_drafts_are_searched_and_measured(searched: Any) -> None:
    found = searched(
        "decoder=speculative", "decoder.drafter=trigram", "decoder.verifier=exact",
        "trigram.window=5",
    )  # fmt: skip
    assert len(found) > 2 and all(one["failure"] is None for one in found)
    assert all(one["quantities"]["as_plain"]["value"] == 1.0 for one in found)
    # Known to be plain decoding's before anything is generated; of some that is looked at again.
    origins = [one["origin"]["quality"] for one in found[1:]]
    assert "law" in origins and set(origins) <= {"law", "transcript"}
    tags = {one["settings"]["decoder"]["drafter"]["is"] for one in found[1:]}
    assert tags == {"drafters/trigram"}


def test_trigram_drafts_are_lossless_and_cost_depends_on_the_corpus(opened: Any) -> None:
    recording = opened.record()

    def keys(decoder: dict[str, Any]) -> Any:
        return fingerprint(opened.behaviour(candidate(decoder), recording), recording)

    plain = keys({})
    trigram = {"drafter": {"is": "drafters/trigram", "window": 5}}
    assert keys(trigram).quality == plain.quality and keys(trigram).work != plain.work
    lossy = {**trigram, "verifier": {"is": "verifiers/typical"}}
    before = keys(lossy)
    assert before.quality != plain.quality
    table = opened._answering.trigrams
    opened._answering.trigrams = type(table).none()
    assert keys(lossy).quality != before.quality and keys(trigram).quality == plain.quality
    opened._answering.trigrams = table


def test_knobs_that_do_nothing_are_dropped() -> None:
    trigram = {"is": "drafters/trigram", "window": 5}
    inert = {**trigram, "iterations": 0, "depth": 7, "c1": 1.0, "boost": 0.0, "span": 4}
    plainly = {**trigram, "iterations": 0, "boost": 0.0}
    assert canonical(candidate({"drafter": inert})) == canonical(candidate({"drafter": plainly}))
    nothing = canonical(candidate({"drafter": {**trigram, "window": 1}}))
    assert nothing == canonical(candidate({}))


def shortened(**parts: Any) -> Any:
    return candidate({"is": "decoders/shortened", **parts})


def by_position(**knobs: Any) -> dict[str, Any]:
    return {"is": "depths/by_position", **knobs}


def test_a_shortened_model_is_searched_and_its_loss_is_measured(searched: Any) -> None:
    found = searched(
        "decoder=shortened", "decoder.depth=by_position", "by_position.last=0.25,0.5",
        "by_position.first=1.0", "by_position.warm_up=0",
    )  # fmt: skip
    assert len(found) > 2 and all(one["failure"] is None for one in found)
    plain = next(one for one in found if one["settings"]["decoder"]["is"].endswith("speculative"))
    short = [one for one in found if one is not plain]
    assert {one["settings"]["decoder"]["is"] for one in short} == {"decoders/shortened"}
    assert plain["quantities"]["as_plain"]["value"] == 1.0
    assert all(one["quantities"]["as_plain"]["value"] < 1.0 for one in short)
    # Lookups leave the law alone: one of two decoders of one shortened model need not be judged.
    nll = {}
    for one in short:
        last = one["settings"]["decoder"]["depth"]["last"]
        nll.setdefault(last, set()).add(one["quantities"]["nll"]["value"])
    assert all(len(values) == 1 for values in nll.values())


def test_layers_chosen_by_prompt_are_searched_and_measured(searched: Any) -> None:
    found = searched(
        "decoder=shortened", "decoder.depth=by_prompt", "by_prompt.skipped=0.0,0.5,1.0",
        "decoder.drafter=none",
    )  # fmt: skip
    assert all(one["failure"] is None for one in found)
    agreed = {}
    for one in found:
        decoder = one["settings"]["decoder"]
        share = decoder["depth"]["skipped"] if "depth" in decoder else 0.0
        agreed[share] = one["quantities"]["as_plain"]["value"]
    assert agreed[0.0] == 1.0 and agreed[1.0] < 1.0 and 0.5 in agreed


def test_what_is_left_out_decides_the_law_and_drafts_do_not(opened: Any) -> None:
    recording = opened.record()

    def keys(one: Any) -> Any:
        return fingerprint(opened.behaviour(one, recording), recording)

    plain, half = keys(candidate({})), keys(shortened(depth=by_position(last=0.5)))
    assert half.quality != plain.quality and half.evidence["lossless"] == "no"
    drafted = keys(shortened(depth=by_position(last=0.5), drafter={"is": "drafters/prompt_lookup"}))
    assert drafted.quality == half.quality and drafted.work != half.work
    # Four layers: 0.55 comes to two of them as well, and 0.9 to all.
    assert keys(shortened(depth=by_position(last=0.55))).quality == half.quality
    assert keys(shortened(depth=by_position(last=0.25, warm_up=0))).quality != half.quality
    assert keys(shortened(depth=by_position(last=0.9))).quality == plain.quality
    assert keys(shortened(depth=by_position(last=0.5, warm_up=2))).quality != half.quality
    chosen = {"is": "depths/by_prompt", "skipped": 1.0}
    assert keys(shortened(depth=chosen)).quality not in (plain.quality, half.quality)


def test_leaving_out_nothing_is_written_as_plain_decoding() -> None:
    whole = shortened(depth=by_position(first=1.0, last=1.0), drafter={"is": "drafters/trigram"})
    assert canonical(whole) == canonical(candidate({"drafter": {"is": "drafters/trigram"}}))
    chosen = {"is": "depths/by_prompt", "skipped": 0.0}
    assert canonical(shortened(depth=chosen)) == canonical(candidate({}))
    rising = canonical(shortened(depth=by_position(first=0.5, last=0.9)))
    assert rising == canonical(shortened(depth=by_position(first=0.5, last=0.5)))
    inert = shortened(verifier={"is": "verifiers/exact"}, residual={"is": "residuals/matched"})
    assert canonical(inert) == canonical(shortened())
