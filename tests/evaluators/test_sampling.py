"""The standard sampling law: its kernel at the edges, its canonical form, and NaN logits."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from paretoken.evaluators.engine.decode import Decoding
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.sampling import Sampling
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadValue, MeasurementFailed

# Laws of up to 32 float64 probabilities, exponentiated and divided: a few 2**-53 of 1 each.
CLOSE = 1e-14


def standard(**values: Any) -> Sampling:
    return cast(Sampling, from_tree({"is": "samplings/standard", **values}, "samplings"))


def laws(logits: list[float] | Tensor, **values: Any) -> Tensor:
    """The law [V] of one row of logits [V]."""
    row = torch.as_tensor(logits, dtype=torch.float64).view(1, 1, -1)
    return standard(**values).laws(row, None, torch.zeros(1, 1, dtype=torch.int64))[0, 0]


def noisy(vocabulary: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(vocabulary, generator=generator, dtype=torch.float64).mul(2)


def log(*law: float) -> Tensor:
    return torch.tensor(law, dtype=torch.float64).log()


def support(law: Tensor) -> list[int]:
    return law.nonzero().squeeze(-1).tolist()


# ----------------------------------------------------------------------------------------- top-k


def test_top_k_keeps_the_k_likeliest_in_proportion() -> None:
    logits = noisy(20)
    law, whole = laws(logits, top_k=6), logits.softmax(-1)
    kept = sorted(range(20), key=lambda x: -float(logits[x]))[:6]
    assert support(law) == sorted(kept)
    assert torch.allclose(law[kept], whole[kept] / whole[kept].sum(), rtol=0, atol=CLOSE)


def test_top_k_keeps_all_ties_at_its_threshold() -> None:
    assert support(laws([3.0, 1.0, 2.0, 2.0, 2.0, 0.0], top_k=2)) == [0, 2, 3, 4]
    assert support(laws([1.0, 1.0, 0.0], top_k=1)) == [0, 1]


@pytest.mark.parametrize("top_k", [0, 12, 13, 65536])
def test_top_k_of_nothing_or_of_everything_is_off(top_k: int) -> None:
    assert torch.equal(laws(noisy(12), top_k=top_k), laws(noisy(12)))


# ----------------------------------------------------------------------------------------- top-p


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (0.0, [1]),  # the first always stays
        (0.3, [1]),
        (0.49, [1]),
        (0.5, [1, 3]),  # a mass before it of exactly top_p does not exceed it
        (0.51, [1, 3]),
        (0.75, [1, 2, 3]),
        (0.874, [1, 2, 3]),
        (0.875, [0, 1, 2, 3]),
    ],
)
def test_top_p_drops_what_follows_a_mass_above_it(top_p: float, kept: list[int]) -> None:
    """Powers of two: their sums are exact. The law is not sorted on purpose."""
    law = laws(log(0.125, 0.5, 0.125, 0.25), top_p=top_p)
    # Of the tied 0.125 the first in order may stay alone.
    expected = [0, 1, 3] if kept == [1, 2, 3] else kept
    assert support(law) == expected
    assert abs(float(law.sum()) - 1.0) < CLOSE


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("top_p", [0.1, 0.35, 0.6, 0.9, 0.95])
def test_top_p_agrees_with_a_loop(top_p: float, dtype: torch.dtype) -> None:
    for seed in range(20):
        logits = noisy(32, seed).to(dtype)
        whole = logits.softmax(-1).tolist()
        before, kept = 0.0, cast("list[int]", [])
        for x in sorted(range(32), key=lambda x: -whole[x]):
            if not kept or before <= top_p:
                kept.append(x)
            before += whole[x]
        row = logits.view(1, 1, -1)
        law = standard(top_p=top_p).laws(row, None, torch.zeros(1, 1, dtype=torch.int64))[0, 0]
        assert support(law) == sorted(kept)


def test_top_p_counts_the_mass_that_top_k_left() -> None:
    logits = log(0.4, 0.3, 0.2, 0.1)
    # Of the two kept by top-k the first holds 4/7 = 0.571.
    assert support(laws(logits, top_k=2, top_p=0.55)) == [0]
    assert support(laws(logits, top_k=2, top_p=0.6)) == [0, 1]
    assert support(laws(logits, top_p=0.55)) == [0, 1]


# ----------------------------------------------------------------------------------- temperature


@pytest.mark.parametrize("temperature", [0.25, 0.9, 1.0, 1.3, 4.0])
def test_temperature_divides_the_logits(temperature: float) -> None:
    expected = (noisy(12) / temperature).softmax(-1)
    assert torch.allclose(laws(noisy(12), temperature=temperature), expected, rtol=0, atol=CLOSE)


def test_temperature_has_a_floor() -> None:
    near = [1.0, 1.0 - 1e-5, 0.0]  # a near-tie, which the floor of 1e-5 still tells apart
    floor = laws(near, temperature=1e-5)
    assert torch.equal(laws(near, temperature=1e-9), floor)
    # One unit of the floor apart: e to 1. 1 - 1e-5 is off by 2**-53, divided by 1e-5: 1e-11.
    assert torch.allclose(floor[:2], torch.tensor([1.0, 0.0]).double().softmax(-1), atol=1e-11)


def test_temperature_0_is_the_argmax_whatever_else() -> None:
    for values in ({}, {"top_k": 3}, {"top_p": 0.2}, {"top_k": 5, "top_p": 0.9}):
        law = laws(noisy(12), temperature=0.0, **values)
        assert support(law) == [int(noisy(12).argmax())]
        assert float(law.sum()) == 1.0


# -------------------------------------------------------------------------------------- guidance


def both(**values: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Guided laws [W, V] at token indices 0 … 5, and both kinds of logits."""
    conditional = torch.stack([noisy(12, seed) for seed in range(6)])
    unconditional = torch.stack([noisy(12, seed) for seed in range(10, 16)])
    index = torch.arange(6).unsqueeze(0)
    rule = standard(**values)
    law = rule.laws(conditional.unsqueeze(0), unconditional.unsqueeze(0), index)[0]
    return law, conditional, unconditional


@pytest.mark.parametrize("scale", [1.5, 2.0, 7.5])
def test_guidance_is_linear_in_the_logits(scale: float) -> None:
    law, conditional, unconditional = both(cfg=scale)
    mixed = (1.0 - scale) * unconditional + scale * conditional
    # Logits of size 2 * 7.5 differ by a few 2**-53 * 15 between both ways of mixing.
    assert torch.allclose(law, mixed.softmax(-1), rtol=0, atol=10 * CLOSE)


@pytest.mark.parametrize("interval", [0, 1, 3, 4, 5])
def test_guidance_ends_token_by_token(interval: int) -> None:
    """Decode step i predicts token i + 1, guided up to i = interval; the first token always is."""
    law, conditional, _ = both(cfg=3.0, cfg_interval=interval)
    always, _, _ = both(cfg=3.0)
    for index in range(6):
        expected = always[index] if index <= interval + 1 else conditional[index].softmax(-1)
        assert torch.equal(law[index], expected)


def test_guidance_is_asked_for_only_while_it_is_needed() -> None:
    assert not standard().guided
    assert standard(cfg=2.0).guided_at(10_000)
    rule = standard(cfg=2.0, cfg_interval=3)
    assert [rule.guided_at(index) for index in (0, 4, 5, 100)] == [True, True, False, False]


def test_guidance_comes_before_temperature_and_filters() -> None:
    law, conditional, unconditional = both(cfg=2.0, temperature=0.7, top_k=4)
    mixed = unconditional + 2.0 * (conditional - unconditional)
    for row, logits in zip(law, mixed, strict=True):
        assert torch.allclose(row, laws(logits, temperature=0.7, top_k=4), rtol=0, atol=CLOSE)


# -------------------------------------------------------------------------------- canonical form


@pytest.mark.parametrize(
    ("written", "simplest"),
    [
        ({"temperature": 0.0, "top_k": 7, "top_p": 0.9}, {"temperature": 0.0}),
        ({"temperature": 0.0, "top_k": 7, "cfg": 2.0}, {"temperature": 0.0, "cfg": 2.0}),
        ({"temperature": 1e-9}, {"temperature": 1e-5}),
        ({"cfg": 1.0, "cfg_interval": 5}, {}),
        ({"temperature": 0.0, "top_p": 0.1, "cfg_interval": 0}, {"temperature": 0.0}),
    ],
)
def test_settings_that_mean_the_same_are_one(written: Any, simplest: Any) -> None:
    assert canonical(standard(**written)) == standard(**simplest)
    assert torch.equal(laws(noisy(12), **written), laws(noisy(12), **simplest))


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": 0.0, "cfg": 2.0},
        {"temperature": 0.9, "top_k": 3, "top_p": 0.9, "cfg": 1.5, "cfg_interval": 4},
        {"top_k": 1},  # not greedy where logits tie
        {"top_p": 0.0},
        {"temperature": 1e-5},
    ],
)
def test_settings_that_mean_something_are_left_alone(values: Any) -> None:
    assert canonical(standard(**values)) == standard(**values)


@pytest.mark.parametrize(
    "values", [{"cfg": 0.5}, {"temperature": -0.1}, {"top_p": 1.5}, {"top_k": -1}]
)
def test_values_without_a_meaning_are_refused(values: Any) -> None:
    with pytest.raises(BadValue):
        standard(**values)


class _Flip(Component):
    """Two rules that undo each other."""

    kind = "samplings"

    def simplified(self) -> Component:
        return _Flop()


class _Flop(Component):
    kind = "samplings"

    def simplified(self) -> Component:
        return _Flip()


def test_rules_that_undo_each_other_are_reported() -> None:
    with pytest.raises(RuntimeError, match="does not settle"):
        canonical(_Flip())


@pytest.mark.parametrize(
    ("written", "simplest"),
    [
        # Nothing is drafted: verifier, residual and length have nothing to say.
        (
            {
                "drafter": {"is": "drafters/jacobi", "window": 1, "init": "law_left"},
                "verifier": {"is": "verifiers/amplified", "factor": 3.0},
                "residual": {"is": "residuals/group"},
                "length": {"is": "lengths/adaptive"},
            },
            {},
        ),
        # Shared noise verifies by equality.
        (
            {
                "drafter": {"is": "drafters/jacobi", "coupling": "gumbel"},
                "verifier": {"is": "verifiers/grouped"},
                "residual": {"is": "residuals/matched"},
            },
            {"drafter": {"is": "drafters/jacobi", "coupling": "gumbel"}},
        ),
        # An exact verifier, however written, has one residual.
        (
            {
                "drafter": {"is": "drafters/jacobi"},
                "verifier": {"is": "verifiers/annealed", "delta": 1.0, "nu": 0.0},
                "residual": {"is": "residuals/group"},
            },
            {"drafter": {"is": "drafters/jacobi"}},
        ),
        # An adaptive length that can be no shorter than the window is fixed.
        (
            {
                "drafter": {"is": "drafters/jacobi", "window": 4},
                "length": {"is": "lengths/adaptive", "least": 4},
            },
            {"drafter": {"is": "drafters/jacobi", "window": 4}},
        ),
    ],
)
def test_decoders_that_do_the_same_are_one(written: Any, simplest: Any) -> None:
    whole = [
        canonical(from_tree({"is": "decoders/speculative", **tree}, "decoders"))
        for tree in (written, simplest)
    ]
    assert whole[0] == whole[1]
    assert canonical(whole[0]) == whole[0]


# ------------------------------------------------------------------------------------------- NaN

NAN = float("nan")
FILTERS = [{}, {"temperature": 0.0}, {"temperature": 0.5}, {"top_k": 2}, {"top_p": 0.5}]


@pytest.mark.parametrize("values", FILTERS)
@pytest.mark.parametrize("logits", [[NAN, 0.0, 1.0], [0.0, 5.0, NAN], [NAN] * 3])
def test_nan_logits_stay_visible(logits: list[float], values: Any) -> None:
    assert bool(laws(logits, **values).isnan().all())


@pytest.mark.parametrize("sampling", [*FILTERS, {"cfg": 2.0}])
@pytest.mark.parametrize("coupling", [None, "none", "maximal", "gumbel"])
def test_nan_logits_end_the_run_as_a_failed_measurement(
    sampling: dict[str, Any], coupling: str | None, toy: Any, run: Any
) -> None:
    drafter = {"is": "drafters/jacobi", "window": 3, "coupling": coupling}
    toy.logits[0, 2, :, 1] = NAN
    with pytest.raises(MeasurementFailed) as failure:
        run(toy, {"drafter": drafter} if coupling else {}, 20, batch=4, sampling=sampling)
    assert failure.value.reason == "nan"


def test_a_decoding_works_again_after_nan(toy: Any) -> None:
    candidate = cast(Any, from_tree({}))
    geometry = Geometry(torch.arange(3).view(-1, 1), torch.arange(3).view(-1, 1))
    decoding = Decoding(
        toy, candidate.decoder, candidate.sampling, geometry, batch=2, seed=0, dtype=torch.float64
    )
    classes = torch.tensor([0, 0, 0])
    before, _ = decoding.run(classes)
    sound = toy.logits.clone()
    toy.logits[:, 1] = NAN
    with pytest.raises(MeasurementFailed):
        decoding.run(classes)
    toy.logits.copy_(sound)
    after, _ = decoding.run(classes)
    assert torch.equal(before, after)
