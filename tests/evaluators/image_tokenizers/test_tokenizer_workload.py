"""The workload: what decodes differently is trained once, equal tokens are judged once."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from paretoken.cache.fingerprint import fingerprint
from paretoken.evaluators.image_tokenizers import making
from paretoken.evaluators.image_tokenizers.autoregressive import Budget
from paretoken.evaluators.image_tokenizers.family import Sizes
from paretoken.evaluators.image_tokenizers.making import Maker
from paretoken.evaluators.image_tokenizers.pictures import Pictures, real
from paretoken.evaluators.image_tokenizers.quantizing import Quantizing
from paretoken.evaluators.metrics.extractors import Extractor, load_extractor
from paretoken.evaluators.tokenizer_workload import TokenizerWorkload
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.component import Component
from paretoken.spaces.conformance import check
from paretoken.spaces.errors import BadInput, BadValue, MeasurementFailed
from paretoken.spaces.plugins import KINDS

Workload = Callable[..., TokenizerWorkload]


def candidate(name: str = "vq", budget: float = 1.0, **knobs: Any) -> Component:
    small: dict[str, dict[str, Any]] = {
        "vq": {"codebook": 32}, "flextok": {"registers": 8, "levels": "8,6,5", "steps": 2},
        "tokenbridge": {"channels": 4}, "residual": {"codebook": 32, "stages": 2},
    }  # fmt: skip
    tokenizer = {"is": f"image_tokenizers/{name}", **small.get(name, {}), **knobs}
    tree = {"is": "candidates/image_tokenizing", "tokenizer": tokenizer, "budget": budget}
    return from_tree(tree)


def quiet(phase: str, share: float) -> None:
    assert 0.0 <= share <= 1.0


@pytest.fixture(scope="session")
def extractor() -> Extractor:
    return load_extractor("lite0")


@pytest.fixture
def workload(some: Pictures, extractor: Extractor, tmp_path: Path) -> Workload:
    def opened(
        generate: int = 0, samples: int = 1, steps: int = 10, operations: float = 2.5e9
    ) -> TokenizerWorkload:
        return TokenizerWorkload(
            some, Sizes(16, 1, 8), Budget(32, 1, 8, operations, "float32"), steps=steps,
            generate=generate, samples=samples, extractor=extractor,
            artefacts=Artefacts(tmp_path, "image_tokenizers"),
            models=Artefacts(tmp_path, "trained"), device=torch.device("cpu"),
        )  # fmt: skip

    return opened


def numbers(opened: TokenizerWorkload, of: Component, seed: int = 0) -> dict[str, Any]:
    observed = opened.judge(opened.sample(of, opened.samples, seed, quiet), quiet)
    return {
        **{quantity.name: quantity for quantity in observed.quantities},
        "told": observed.detail["runs"][0],
    }


def test_what_decodes_differently_is_trained_once(workload: Workload) -> None:
    opened = workload()
    first = numbers(opened, candidate("flextok"))
    assert first["told"] == {"trained_steps": 10, "spared_steps": 0}
    opened = workload()  # as in another process
    for knobs in ({"kept": 2}, {"steps": 1}, {"guidance": 2.0, "normalised": False}):
        found = numbers(opened, candidate("flextok", **knobs))
        assert found["told"] == {"trained_steps": 0, "spared_steps": 10}
        assert found["rfid"].value != first["rfid"].value
    assert numbers(opened, candidate("flextok", draw="pow2"))["told"]["trained_steps"] == 10
    assert numbers(opened, candidate("flextok"), seed=1)["told"]["trained_steps"] == 10
    bridge = [numbers(opened, candidate("tokenbridge", bits=bits)) for bits in (2, 6)]
    assert [one["told"]["trained_steps"] for one in bridge] == [10, 0]
    assert bridge[0]["raw_bits"].value == 2 * 64 and bridge[1]["raw_bits"].value == 6 * 64
    assert bridge[0]["psnr"].value < bridge[1]["psnr"].value
    assert numbers(opened, candidate("jpeg"))["told"] == {"trained_steps": 0, "spared_steps": 0}


def test_the_numbers_are_those_that_are_promised(workload: Workload) -> None:
    opened = workload()
    assert [o.name for o in opened.objectives] == ["sequential_calls", "rfid", "bits"]
    found = numbers(opened, candidate())
    assert found["tokens"].value == 64 and found["raw_bits"].value == 64 * 5
    assert 0 < found["bits"].value == found["h0_bits"].value <= found["raw_bits"].value
    assert found["perplexity"].value <= 32 and 0 < found["usage"].value <= 1
    for name in ("rfid", "paired_distance", "psnr", "bits", "h0_bits"):
        assert found[name].value > 0 and found[name].spread > 0
        assert found[name].detail["spread_from"] == "over images of one training"
    assert found["usage"].spread == 0 and "none" in found["usage"].detail["spread_from"]
    assert "order 0" in found["bits"].comparable and "nll_bits" not in found
    speed = {q.name: q for q in opened.speed(candidate(), quiet).quantities}
    assert speed["sequential_calls"].value == 65 and speed["sequential_calls"].spread == 0
    assert speed["encode_ms"].value > 0 and speed["decode_ms"].value > 0
    with_steps = opened.speed(candidate("flextok", kept=3, steps=7), quiet).quantities[0]
    assert with_steps.value == 3 + 7
    jpeg = opened.speed(candidate("jpeg"), quiet).quantities[0]
    assert jpeg.value == numbers(opened, candidate("jpeg"))["tokens"].value
    assert not math.isnan(numbers(opened, candidate("tokenbridge"))["out_of_range"].value)


def test_a_perfect_tokenizer_has_no_distance(
    workload: Workload, some: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = workload()
    sampled = opened.sample(candidate("jpeg", quality=95), 1, 0, quiet)
    object.__setattr__(sampled.payload[0][0], "images", some.held_out.clone())
    found = {q.name: q.value for q in opened.judge(sampled, quiet).quantities}
    # FID of equal features is a difference of traces, rounded in float64.
    assert abs(found["rfid"]) < 1e-3 and found["paired_distance"] == 0.0


def test_several_seeds_have_a_spread_of_their_own(workload: Workload) -> None:
    opened = workload(samples=2)
    found = numbers(opened, candidate("residual"))
    assert found["rfid"].detail["spread_from"] == "standard error over 2 seeds"
    assert found["tokens"].spread == 0.0 and found["rfid"].spread > 0
    assert found["rfid"].comparable != numbers(workload(), candidate("residual"))["rfid"].comparable


def test_equal_tokens_are_found_out(workload: Workload) -> None:
    opened = workload()
    digests = [
        opened.sample(one, 1, seed, quiet).tokens.tolist()
        for one, seed in (
            (candidate("jpeg"), 0),
            (candidate("jpeg"), 1),  # nothing is trained: a seed changes nothing
            (candidate("jpeg", quality=50), 0),
            (candidate("tokenbridge"), 0),
            (candidate("tokenbridge"), 1),
        )
    ]
    assert digests[0] == digests[1]
    assert len({str(one) for one in digests}) == 4


def test_an_order_matters_to_a_model_alone(workload: Workload) -> None:
    def law(opened: TokenizerWorkload, order: str) -> Any:
        found = opened.behaviour(candidate("tokenbridge", order=order), b"")
        return fingerprint(found, b"").quality

    without, with_model = workload(), workload(generate=40)
    assert law(without, "natural") == law(without, "random")
    assert law(with_model, "natural") != law(with_model, "random")
    assert law(without, "natural") != law(with_model, "natural")


def test_what_a_gpu_trains_answers_for_no_cpu(
    workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one trains in 16 bits and the other in 32, also where no model of tokens is asked for."""
    opened = workload()
    usual = fingerprint(opened.behaviour(candidate(), b""), b"")
    monkeypatch.setattr(Maker, "precision", "bfloat16")
    other = fingerprint(opened.behaviour(candidate(), b""), b"")
    assert usual.quality != other.quality


def test_classes_that_there_are_none_of_are_told(workload: Workload) -> None:
    for one in (10, -1):
        with pytest.raises(BadInput, match=f"class {one} does not exist"):
            workload().generate({"is": "candidates/image_tokenizing"}, (3, one), 2, 0, 0, quiet)


def test_a_model_tells_bits_and_draws(workload: Workload, tmp_path: Path) -> None:
    opened = workload(generate=40)
    assert opened.objectives[-1].name == "gfid"
    found = numbers(opened, candidate("residual"))
    assert found["bits"].value == found["nll_bits"].value != found["h0_bits"].value
    assert found["gfid"].value > 0 and found["gfid"].spread > 0 and found["bits"].spread > 0
    assert "by a model" in found["bits"].comparable
    assert found["told"]["model_steps"] > 10 and found["generated_broken"].value == 0.0
    # The first stage is a beginning of the same sequence: neither is trained again.
    part = numbers(opened, candidate("residual", kept=1))
    assert part["told"]["trained_steps"] == 0 and part["told"]["model"] == found["told"]["model"]
    assert part["bits"].value < found["bits"].value
    settings = {"is": "candidates/image_tokenizing", "tokenizer": {
        "is": "image_tokenizers/residual", "codebook": 32, "stages": 2}}  # fmt: skip
    said: list[str] = []
    for study_seed, trains in ((0, False), (7, True)):  # what the study of that seed has trained
        images = opened.generate(
            settings, (3,), 5, 0, study_seed, lambda phase, share: said.append(phase)
        )
        assert images.shape == (5, 32, 32) and images.dtype == np.uint8
        assert any("training" in phase for phase in said) == trains
    assert any("drawing" in phase for phase in said)
    with pytest.raises(MeasurementFailed, match="--option compute"):
        opened.sample(candidate("jpeg"), 1, 0, quiet)
    made_up = numbers(workload(generate=40, operations=5.5e9), candidate("jpeg"))
    assert 0.0 <= made_up["generated_broken"].value <= 1.0


def test_merges_belong_to_the_library_that_learns_them(
    workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, of = workload(), making.version
    files = (candidate("jpeg", vocabulary=entries) for entries in (256, 320))
    for each, has in zip(files, (False, True), strict=True):
        one = fingerprint(opened.behaviour(each, b""), b"")
        with monkeypatch.context() as patch:
            patch.setattr(
                making, "version", lambda name: name if name == "tokenizers" else of(name)
            )
            other = fingerprint(opened.behaviour(each, b""), b"")
        assert (one.quality != other.quality) == has


def test_a_share_of_the_budget_is_fewer_steps(workload: Workload) -> None:
    opened = workload(steps=20)
    half = numbers(opened, candidate(budget=0.5))
    assert half["told"]["trained_steps"] == 10
    assert numbers(opened, candidate())["told"]["trained_steps"] == 20
    one, other = (fingerprint(opened.behaviour(candidate(budget=b), b""), b"") for b in (0.5, 1.0))
    assert one.quality != other.quality


def test_a_collapsed_codebook_fails_early(
    workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = workload(steps=100)
    monkeypatch.setattr(Quantizing, "chosen", lambda self, images: torch.zeros(500).long())
    with pytest.raises(MeasurementFailed, match=r"collapsed: after 20 of 100 steps"):
        opened.sample(candidate(), 1, 0, quiet)
    assert opened.sample(candidate("fsq"), 1, 0, quiet).tokens.shape == (1, 2)  # has no codebook
    with pytest.raises(MeasurementFailed, match="no tokenizer of images"):
        opened.behaviour(from_tree({}), b"")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"steps": 0}, "--option steps"),
        ({"width": 20}, "--option width"),
        ({"images": 20}, "40 or more"),
        ({"generate": -1}, "--option generate"),
        ({"data": "nowhere"}, "--option data"),
        ({"codebook": 2}, "no option codebook"),
        ({"samples": 0}, "1 training or more"),
    ],
)
def test_options_that_cannot_be_are_told(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    opening: Callable[..., Any] = KINDS["workloads"].load("tokenizer").open
    small = {"train": 10, "images": 40, **options}
    with pytest.raises((BadInput, BadValue), match=says):
        opening(device="cpu", artefacts=str(tmp_path), **small)


def test_a_missing_library_and_missing_images_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from paretoken.evaluators.workloads import tokenizer

    with pytest.raises(BadInput, match="Fashion-MNIST four"):
        real(tmp_path, 10, 10)
    monkeypatch.setattr(tokenizer, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"pip install 'paretoken\[tokenizers\]'"):
        KINDS["workloads"].load("tokenizer").open(device="cpu", artefacts=str(tmp_path))


@pytest.mark.parametrize("name", sorted(KINDS["image_tokenizers"].names()))
def test_every_family_conforms(name: str) -> None:
    check("image_tokenizers", name)
