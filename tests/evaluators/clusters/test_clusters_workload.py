"""The clusters workload: equal partitions are one behaviour, knobs of decoding train nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from paretoken.cache.digest import stable_json
from paretoken.cache.fingerprint import fingerprint
from paretoken.evaluators.clusters.partition import Partition
from paretoken.evaluators.clusters_workload import ClustersWorkload
from paretoken.evaluators.models.checkpoint import load_tokenizer
from paretoken.evaluators.workloads.fashion import TOKENIZER
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput, BadValue, MeasurementFailed
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.records import Fingerprint
from paretoken.spaces.space import load

Make = Callable[..., Any]
SMALL = {"compute": 40, "dim": 32, "layers": 1, "training_batch": 4, "samples": 40, "batch": 2}


def opened(folder: Path, **options: Any) -> ClustersWorkload:
    found = (
        KINDS["workloads"]
        .load("clusters")
        .open(device="cpu", artefacts=str(folder), **{**SMALL, **options})
    )
    assert isinstance(found, ClustersWorkload)
    return found


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> ClustersWorkload:
    return opened(tmp_path_factory.mktemp("artefacts"))


def law(workload: ClustersWorkload, of: Component) -> Fingerprint:
    return fingerprint(workload.behaviour(of, b""), b"")


def quiet(phase: str, share: float) -> None:
    assert 0.0 <= share <= 1.0


def standard(**knobs: Any) -> dict[str, Any]:
    return {"is": "samplings/standard", **knobs}


def test_equal_partitions_are_one_behaviour(
    workload: ClustersWorkload, candidate_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever found them, and whatever settings that cost nothing."""
    of = {name: candidate_of(name, clusters=64) for name in ("kmeans", "balanced")}
    usual = law(workload, of["kmeans"])
    assert not set(usual.quality) & set(law(workload, of["balanced"]).quality)
    known = workload._partitions[str(to_tree(of["kmeans"].clustering))]
    monkeypatch.setitem(
        workload._partitions, str(to_tree(of["balanced"].clustering)), Partition.of(known.labels)
    )
    assert law(workload, of["balanced"]) == usual


def test_both_ends_have_one_behaviour_each(workload: ClustersWorkload, candidate_of: Make) -> None:
    finest = law(workload, workload.plain())
    for knobs in (
        {"aux_depth": 4}, {"aux_attention": "causal"}, {"aux_masked": False}, {"aux_share": 0.25},
        {"fine": standard(temperature=0.5)}, {"fine_target": "rank"}, {"aux_width": 0.5},
    ):  # fmt: skip
        assert law(workload, candidate_of(clusters=1024, **knobs)) == finest
        assert law(workload, candidate_of(clusters=64, **knobs)) != law(
            workload, candidate_of(clusters=64)
        )
    for name in ("balanced", "agglomerative", "random"):
        assert law(workload, candidate_of(name, clusters=1024)) == finest
        assert law(workload, candidate_of(name, clusters=1)) == law(
            workload, candidate_of(clusters=1)
        )
    assert law(workload, candidate_of(clusters=2000)) == finest
    for knobs in ({"coarse": standard(temperature=0.5)}, {"aux_share": 0.25}):
        assert law(workload, candidate_of(clusters=1, **knobs)) == law(
            workload, candidate_of(clusters=1)
        )
        assert (
            law(workload, candidate_of(clusters=1024, coarse=standard(temperature=0.5))) != finest
        )
    cooler = candidate_of(clusters=1024, coarse=standard(temperature=0.5))
    assert law(workload, cooler) != finest  # the only stage is sampled by it
    # A top-k that keeps all is none.
    masked = candidate_of(clusters=64, fine=standard(top_k=1000), coarse=standard(top_k=64))
    assert law(workload, masked) == law(workload, candidate_of(clusters=64))
    free = {"aux_masked": False, "fine": standard(top_k=1000)}
    assert law(workload, candidate_of(clusters=64, **free)) != law(
        workload, candidate_of(clusters=64, aux_masked=False)
    )


def test_equal_images_of_other_stages_are_not_judged_alike(
    workload: ClustersWorkload, candidate_of: Make
) -> None:
    """Where a cluster holds one used code, every auxiliary model draws that; their bits differ."""

    def conditions(**knobs: Any) -> str:
        return stable_json(workload.behaviour(candidate_of(clusters=64, **knobs), b"").conditions)

    for knobs in ({"aux_depth": 4}, {"aux_masked": False}, {"aux_share": 0.25}, {"budget": 0.5}):
        assert conditions(**knobs) != conditions()
    cooler = standard(temperature=0.5)
    assert conditions(fine=cooler) == conditions(coarse=cooler) == conditions()


def test_images_are_drawn_judged_and_timed_and_knobs_of_decoding_train_nothing(
    workload: ClustersWorkload, candidate_of: Make
) -> None:
    usual = candidate_of(clusters=64)
    sampled = workload.sample(usual, 40, 0, quiet)
    assert sampled.tokens.shape == (40, 256) and sampled.tokens.dtype == np.int64
    assert sampled.payload[2]["trained_steps"] > 0
    found = workload.judge(sampled, quiet)
    values = {quantity.name: quantity for quantity in found.quantities}
    assert values["fid"].value > 0 and values["fid"].samples == 40 and values["fid"].spread > 0
    assert values["clusters"].value == 64
    both = values["coarse_bits"].value + values["fine_bits"].value
    assert values["bits_per_image"].value == pytest.approx(both, abs=1e-6)
    assert values["bits_per_image"].samples == 100 and values["bits_per_image"].spread > 0
    # Codes by chance would take 10 bits each; these models have learnt something.
    assert values["bits_per_image"].value < 2560 - 100
    entropies = found.detail["order0_bits"]
    order0 = workload._counts[workload._counts > 0] / workload._counts.sum()
    total = float(-(order0 * np.log2(order0)).sum())
    assert entropies["coarse"] + entropies["fine"] == pytest.approx(total, abs=1e-9)
    assert found.detail["sequential_calls"] == 257
    json.dumps(dict(found.detail))

    cooler = candidate_of(clusters=64, fine=standard(temperature=0.5), coarse=standard(top_k=8))
    again = workload.sample(cooler, 40, 0, quiet)
    assert again.payload[2]["trained_steps"] == 0 and again.payload[2]["spared_steps"] > 0
    assert not np.array_equal(again.tokens, sampled.tokens)
    assert set(workload._partition(cooler).labels[again.tokens[:, 0]].tolist()) <= set(range(64))
    assert workload.sample(usual, 40, 0, quiet).tokens.tolist() == sampled.tokens.tolist()

    timed = {quantity.name: quantity for quantity in workload.speed(usual, quiet).quantities}
    assert timed["images_per_s"].value > 0 and timed["target_forwards"].value == 257
    pictures = workload.generate(to_tree(usual), (3,), 2, 0, 0, quiet)
    assert pictures.shape == (2, 32, 32) and pictures.dtype == np.uint8


def test_guidance_changes_both_stages(workload: ClustersWorkload, candidate_of: Make) -> None:
    usual = workload.sample(candidate_of(clusters=64), 40, 0, quiet).tokens
    for knobs in ({"coarse": standard(cfg=3.0)}, {"fine": standard(cfg=3.0)}):
        found = workload.sample(candidate_of(clusters=64, **knobs), 40, 0, quiet)
        assert not np.array_equal(found.tokens, usual)
        assert found.payload[2]["trained_steps"] == 0


def test_swapping_codes_of_a_cluster_shows_less_than_swapping_others(
    workload: ClustersWorkload, candidate_of: Make
) -> None:
    """What coarse-to-fine prediction rests on; the negative control is a clustering by chance."""
    tokenizer = load_tokenizer(TOKENIZER).eval()
    tokens = workload._data.held_out[:12].long()
    dice = np.random.default_rng(0)

    def error(partition: Partition, inside: bool) -> float:
        swapped = tokens.clone()
        flat = swapped.view(-1)
        for place in dice.choice(len(flat), 400, replace=False):
            code = int(flat[place])
            same = partition.labels == partition.labels[code]
            among = np.flatnonzero(same if inside else ~same)
            flat[place] = int(dice.choice(among))
        with torch.inference_mode():
            pictures = [tokenizer.decode(of, 16, 16) for of in (tokens, swapped)]
        return float((pictures[0] - pictures[1]).square().mean())

    near, chance = (
        workload._partition(candidate_of(name, clusters=64)) for name in ("kmeans", "random")
    )
    assert error(near, True) < 0.7 * error(near, False)
    assert error(chance, True) > 0.7 * error(chance, False)


def test_what_cannot_be_measured_fails_the_candidate_only(
    workload: ClustersWorkload, candidate_of: Make
) -> None:
    with pytest.raises(MeasurementFailed, match="no clustering"):
        workload.behaviour(from_tree({}), b"")
    with pytest.raises(MeasurementFailed, match="--option compute"):
        workload.sample(candidate_of(clusters=64, budget=0.01), 40, 0, quiet)
    with pytest.raises(BadInput, match="class 10"):
        workload.generate(to_tree(workload.plain()), (10,), 1, 0, 0, quiet)
    with pytest.raises(BadInput, match="calibrated"):
        workload.check_samples(10)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"compute": 0}, "--option compute"),
        ({"dim": 33}, "a multiple of 32"),
        ({"data": "nothing"}, "--option data"),
        ({"clusters": 2}, "no option clusters"),
        ({"training_seed": 0.5}, "--option training_seed"),
    ],
)
def test_options_that_cannot_be_are_told(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises((BadInput, BadValue), match=says):
        opened(tmp_path, **options)


def test_another_seed_or_size_is_another_context(
    workload: ClustersWorkload, candidate_of: Make, tmp_path: Path
) -> None:
    usual = law(workload, candidate_of()).context
    for options in ({"training_seed": 1}, {"compute": 41}, {"layers": 2}):
        assert law(opened(tmp_path, **options), candidate_of()).context != usual


def test_the_presets_say_what_they_are_for() -> None:
    assert load("granularity").size == 3 * 9
    assert load("clusters").size > 10**6
