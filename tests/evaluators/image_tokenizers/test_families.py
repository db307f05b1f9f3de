"""Every family codes and decodes alike; what is equal by rule has one canonical form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

from paretoken.evaluators.image_tokenizers.convolutional import Autoencoder
from paretoken.evaluators.image_tokenizers.family import ImageTokenizer, Learner, Sizes
from paretoken.evaluators.image_tokenizers.flow import Flow
from paretoken.evaluators.image_tokenizers.latent import LatentCoder
from paretoken.evaluators.image_tokenizers.pictures import Pictures
from paretoken.evaluators.image_tokenizers.quantizing import Quantizing
from paretoken.evaluators.image_tokenizers.registers import RegisterLearner, kept_at_random
from paretoken.evaluators.workloads.fashion.data import pixels
from paretoken.spaces.canonical import canonical
from paretoken.spaces.plugins import KINDS

Family = Callable[..., ImageTokenizer]
Learnt = Callable[..., Learner | None]


def test_every_family_is_tested(family: Family) -> None:
    for name in KINDS["image_tokenizers"].names():
        assert family(name).tag() == f"image_tokenizers/{name}"


def test_tokens_are_in_range_and_give_an_image(
    name: str, family: Family, learnt: Learnt, some: Pictures
) -> None:
    tokenizer = family(name)
    coder = tokenizer.coder(learnt(tokenizer, some.train), some.train)
    ids = coder.encode(some.held_out)
    assert ids.shape == (len(some.held_out), coder.layout.length) and ids.dtype == torch.int64
    assert bool((ids >= 0).all() and (ids < torch.tensor(coder.layout.sizes)).all())
    assert torch.equal(ids, coder.encode(some.held_out))
    one = coder.encode(some.held_out[3:4])
    assert float((one == ids[3:4]).double().mean()) > 0.95  # near-ties of other batch sizes
    decoded = coder.decode(ids, 7)
    assert decoded.images.shape == some.held_out.shape and decoded.images.dtype == torch.uint8
    assert torch.equal(decoded.images, coder.decode(ids, 7).images)
    assert not bool(decoded.broken.any())
    assert all(0.0 <= value <= 1.0 for value in coder.facts(some.held_out).values())


def test_what_is_learnt_reaches_every_parameter(name: str, family: Family, some: Pictures) -> None:
    learner = family(name).learner(Sizes(16, 1, 8))
    if learner is None:
        pytest.skip("nothing is trained")
    learner.train()
    torch.manual_seed(0)
    for _ in range(4):  # what begins at zero passes nothing on at first
        learner.zero_grad()
        torch.autograd.backward(learner.loss(pixels(some.train[:8])))
        torch.optim.SGD(learner.parameters(), 0.1).step()
    without = [k for k, p in learner.named_parameters() if p.grad is None or not p.grad.any()]
    # FSQ and LFQ project nothing here; what replaces dropped registers is not always drawn.
    assert [k for k in without if k not in ("dropped", "nothing")] == []


@pytest.mark.parametrize(
    ("name", "knobs", "kept"),
    [
        ("residual", {"kept": 2, "grid": 4}, 32),
        ("flextok", {"kept": 5}, 5),
        ("one_dimensional", {"kept": 5}, 5),
        ("multi_scale", {"kept": 2}, 5),
    ],
)
def test_what_lies_behind_the_beginning_is_not_read(
    name: str, knobs: dict[str, Any], kept: int, family: Family, learnt: Learnt, some: Pictures
) -> None:
    whole, part = family(name), family(name, **knobs)
    assert whole.trained() == part.trained()  # one training serves both
    learner = learnt(whole, some.train)
    coder = part.coder(learner, some.train)
    ids = coder.encode(some.held_out)
    assert coder.kept == kept < coder.layout.length
    assert torch.equal(ids, whole.coder(learner, some.train).encode(some.held_out))
    other = ids.clone()
    other[:, kept:] = 0
    assert torch.equal(coder.decode(other, 0).images, coder.decode(ids, 0).images)
    assert torch.equal(coder.decode(ids[:, :kept], 0).images, coder.decode(ids, 0).images)
    other = ids.clone()
    other[:, 0] = (other[:, 0] + 1) % coder.layout.sizes[0]  # the control: what is read matters
    assert not torch.equal(coder.decode(other, 0).images, coder.decode(ids, 0).images)


# ------------------------------------------------------------------------------- quantizers


@pytest.mark.parametrize("name", ["vq", "fsq", "lfq", "residual"])
def test_codes_of_tokens_are_the_quantized_vectors(
    name: str, family: Family, learnt: Learnt, some: Pictures
) -> None:
    learner = learnt(family(name), some.train)
    assert isinstance(learner, Quantizing)
    with torch.inference_mode():
        codes, tokens, _ = learner.quantized(learner.vectors(pixels(some.held_out)))
        again = learner.codes(tokens.long())
    assert torch.allclose(codes, again, atol=1e-5)


def test_signs_are_levels_of_two() -> None:
    """LFQ and FSQ of two levels tell the same vectors apart, sign by sign."""
    from vector_quantize_pytorch import FSQ, LFQ

    vectors = torch.randn(2, 50, 5, generator=torch.Generator().manual_seed(0))
    signs = LFQ(dim=5, codebook_size=32).eval()(vectors).indices
    rounded = FSQ([2] * 5, preserve_symmetry=True).eval()(vectors)[1]
    pairs = set(zip(signs.flatten().tolist(), rounded.flatten().tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    with_three = FSQ([3] * 5).eval()(vectors)[1]
    assert len(set(zip(signs.flatten().tolist(), with_three.flatten().tolist(), strict=True))) > 32


def test_cosine_codes_are_the_nearest_of_unit_vectors(
    family: Family, learnt: Learnt, some: Pictures
) -> None:
    learner = learnt(family("vq", similarity="cosine"), some.train)
    assert isinstance(learner, Quantizing)
    with torch.inference_mode():
        vectors = functional.normalize(learner.vectors(pixels(some.held_out)), dim=-1)
        _, tokens, _ = learner.quantized(vectors)
        nearest = torch.cdist(vectors.flatten(0, 1), learner.quantizer.codebook).argmin(1)
    assert float((tokens.flatten() == nearest).double().mean()) > 0.999


def test_the_codebook_is_in_use(family: Family, learnt: Learnt, some: Pictures) -> None:
    """K-means at the start, and re-seeding: without them most codes are never chosen."""
    learner = learnt(family("vq"), some.train, steps=12)
    assert isinstance(learner, Quantizing)
    assert learner.guarded == 64
    assert len(learner.chosen(pixels(some.train)).unique()) > 48


# -------------------------------------------------------------------------------- registers


@pytest.mark.parametrize("name", ["flextok", "one_dimensional"])
def test_the_first_registers_do_not_know_how_many_follow(
    name: str, family: Family, learnt: Learnt, some: Pictures
) -> None:
    learner = learnt(family(name), some.train)
    assert isinstance(learner, RegisterLearner)
    images = pixels(some.held_out)
    with torch.inference_mode():
        whole, few = learner.vectors(images), learner.vectors(images, 5)
        assert torch.allclose(whole[:, :5], few, atol=1e-5)
        learner.written[0] += torch.randn(
            16
        )  # the control: what comes before matters to what follows
        assert not torch.allclose(whole[:, 4], learner.vectors(images, 5)[:, 4], atol=1e-3)


def test_a_single_step_is_noise_less_the_velocity(
    family: Family, learnt: Learnt, some: Pictures
) -> None:
    learner = learnt(family("flextok"), some.train)
    assert isinstance(learner, Flow)
    with torch.inference_mode():
        codes, _ = learner.rounded(learner.vectors(pixels(some.held_out[:4])))
        noise = torch.randn(4, 64, 16, generator=torch.Generator().manual_seed(0))
        kept = torch.full((4,), codes.shape[1])
        velocity = learner.velocity(noise, torch.ones(4), learner.shown(codes, kept))
        found = learner.drawn(codes, noise, 1, 1.0, True)
        expected = functional.fold((noise - velocity).mT, (32, 32), 4, stride=4)
        assert torch.allclose(found, expected, atol=1e-5)
        plain = learner.drawn(codes, noise, 2, 1.0, True)
        assert torch.equal(plain, learner.drawn(codes, noise, 2, 1.0, False))
        guided = learner.drawn(codes, noise, 2, 1.5, False)
        assert not torch.equal(guided, plain)
        assert not torch.equal(guided, learner.drawn(codes, noise, 2, 1.5, True))


def test_registers_are_kept_by_the_law_that_is_named() -> None:
    torch.manual_seed(0)
    counts = {
        draw: torch.bincount(kept_at_random(8000, 6, draw, torch.device("cpu")), minlength=7)
        for draw in ("uniform", "pow2", "uniform_pow2")
    }
    laws = {
        "uniform": [0, 1 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 6],
        "pow2": [0, 1 / 3, 1 / 3, 0, 1 / 3, 0, 0],
        "uniform_pow2": [0, 1 / 6, 1 / 6, 0, 2 / 6, 0, 2 / 6],  # 3 becomes 4, and 5 becomes 6
    }

    def chi_square(draw: str, law: str) -> float:
        expected = 8000 * torch.tensor(laws[law])
        seen, there = counts[draw].double(), expected > 0
        if bool(seen[~there].any()):
            return float("inf")
        return float(((seen - expected)[there].square() / expected[there]).sum())

    for draw in laws:
        assert chi_square(draw, draw) < 20.5  # 5 degrees of freedom or fewer: p = 0.001
    assert chi_square("uniform", "uniform_pow2") > 20.5
    assert chi_square("uniform_pow2", "uniform") > 20.5


def test_channels_are_written_in_their_order_and_read_back(
    family: Family, learnt: Learnt, some: Pictures
) -> None:
    natural, other = family("tokenbridge", order="natural"), family("tokenbridge", order="random")
    learner = learnt(natural, some.train)
    one, two = (t.coder(learner, some.train) for t in (natural, other))
    assert isinstance(two, LatentCoder) and two.order != [0, 1, 2, 3]
    first = one.encode(some.held_out).unflatten(1, (-1, 4))
    second = two.encode(some.held_out).unflatten(1, (-1, 4))
    assert torch.equal(first[..., two.order], second)
    images = [coder.decode(coder.encode(some.held_out), 0).images for coder in (one, two)]
    assert torch.equal(*images)


# ------------------------------------------------------------------------------ canonical forms


@pytest.mark.parametrize(
    ("name", "knobs", "same"),
    [
        ("residual", {"stages": 3, "kept": 3}, {"stages": 3, "kept": 9}),
        ("flextok", {"guidance": 1.0, "normalised": False}, {}),
        ("flextok", {"registers": 2, "draw": "pow2"}, {"registers": 2, "draw": "uniform"}),
        ("flextok", {"kept": 16}, {"kept": 64}),
        ("one_dimensional", {"kept": 20}, {}),
        ("multi_scale", {"kept": 3}, {"kept": 5}),
        ("tokenbridge", {"channels": 1, "order": "random"}, {"channels": 1}),
        ("lfq", {"entropy": 0.0, "diversity": 3.0}, {"entropy": 0.0}),
    ],
)
def test_equal_by_rule_is_one(
    name: str, knobs: dict[str, Any], same: dict[str, Any], family: Family
) -> None:
    assert canonical(family(name, **knobs)) == canonical(family(name, **same))
    assert canonical(family(name, **knobs)) != canonical(family("fsq", levels="8,8"))


def test_a_residual_of_one_stage_is_vq(family: Family, learnt: Learnt, some: Pictures) -> None:
    residual = family("residual", stages=1)
    vq = canonical(residual)
    assert vq.tag() == "image_tokenizers/vq"
    assert isinstance(vq, ImageTokenizer)
    one, other = learnt(residual, some.train), learnt(vq, some.train)
    assert isinstance(one, Autoencoder) and isinstance(other, Autoencoder)
    ids = [t.coder(of, some.train).encode(some.held_out)
           for t, of in ((residual, one), (vq, other))]  # fmt: skip
    assert torch.equal(*ids)  # trained from one seed they are the same, token for token


def test_settings_of_decoding_belong_to_no_training(name: str, family: Family) -> None:
    tokenizer = family(name)
    trained = tokenizer.trained()
    assert set(tokenizer.decoding) <= set(tokenizer.fields)
    assert not set(trained) & set(tokenizer.decoding)
    assert set(tokenizer.modelling) <= set(tokenizer.decoding)
