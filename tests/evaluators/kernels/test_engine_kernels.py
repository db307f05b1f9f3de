"""The engine's fused operations against its plain ones: the very same numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from paretoken.evaluators.components.drafters.jacobi import Jacobi
from paretoken.evaluators.components.samplings.standard import Standard
from paretoken.evaluators.components.verifiers.amplified import Amplified
from paretoken.evaluators.engine import laws as plain
from paretoken.evaluators.engine.drafter import Round, Shape
from paretoken.evaluators.engine.noise import Purpose, tables
from paretoken.evaluators.engine.proposal import Verdict
from paretoken.evaluators.engine.rows import Rows
from paretoken.evaluators.engine.verifier import keep

B, N, V, W, WIDTH = 5, 12, 10, 4, 4


def seeded(device: torch.device, *size: int, seed: int = 0) -> Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(seed)).to(device)


def laws(device: torch.device, *size: int, seed: int = 0) -> Tensor:
    """Laws with forbidden tokens in front, in the middle and at the end."""
    law = seeded(device, *size, V, seed=seed) ** 3
    law[..., 0] = law[..., 4] = law[..., -1] = 0.0
    return law / law.sum(-1, keepdim=True)


@pytest.fixture
def unfused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain operations on CUDA too."""
    for module in (
        "evaluators.engine.laws", "evaluators.engine.noise", "evaluators.engine.rows",
        "evaluators.engine.verifier", "evaluators.components.drafters.jacobi",
    ):  # fmt: skip
        monkeypatch.setattr(f"paretoken.{module}.fused", lambda *_: False)


@pytest.mark.parametrize("seed", [0, 1, 2**31 + 7, 2**40 + 3])
def test_uniforms_have_the_same_bits(device: torch.device, unfused: None, seed: int) -> None:
    from paretoken.evaluators.kernels.noise import uniforms

    rows = torch.tensor([0, 3, (1 << 24) + 5, (1 << 32) + 2], device=device)
    wanted = tables(seed, {Purpose.START: 6, Purpose.GUMBEL: 1, Purpose.NEXT: 9}, rows, 7)
    for purpose, numbers in wanted.items():
        found = uniforms(seed, purpose, rows, 7, numbers.shape[2])
        assert torch.equal(found, numbers)


def test_draws_are_the_same(device: torch.device, unfused: None) -> None:
    from paretoken.evaluators.kernels import draw

    law = laws(device, 40, 3)
    uniform = seeded(device, 40, 3, seed=1)
    found = draw.draw(law, uniform)
    assert torch.equal(found, plain.draw(law, uniform))
    assert (law.gather(-1, found.unsqueeze(-1)) > 0).all()
    noise = seeded(device, 40, N, V, seed=2) * 4
    place = torch.arange(40, device=device).unsqueeze(1) % (N - 3) + torch.arange(3, device=device)
    assert torch.equal(draw.draw_at(law, noise, place), plain.draw_at(law, noise, place))


@pytest.mark.parametrize("uniform", [2.0**-24, 1 - 2.0**-24])
def test_the_ends_of_a_law_are_drawn_only_where_there_is_mass(
    device: torch.device, uniform: float
) -> None:
    from paretoken.evaluators.kernels.draw import draw

    law = laws(device, 64)
    found = draw(law, torch.full((64,), uniform, device=device))
    assert (law.gather(-1, found.unsqueeze(-1)) > 0).all()


def test_normalising_keeps_the_other_law_where_no_mass_is_left(
    device: torch.device, unfused: None
) -> None:
    from paretoken.evaluators.kernels.draw import normalised

    mass, otherwise = seeded(device, 6, V), laws(device, 6)
    mass[2:4] = 0.0
    torch.testing.assert_close(normalised(mass, otherwise), plain.normalised(mass, otherwise))


def test_leading(device: torch.device, unfused: None) -> None:
    from paretoken.evaluators.kernels.rows import leading

    every = torch.cartesian_prod(*[torch.tensor([True, False])] * 5).to(device)
    assert torch.equal(leading(every), plain.leading(every))


def some_rows(device: torch.device) -> Rows:
    rows = Rows(B, N, W, device)
    rows.start(torch.arange(B, device=device), torch.full((B,), V + 1, device=device), W)
    rows.count.copy_(torch.tensor([0, 3, N - 2, N, N - 1]))
    rows.lengths.copy_(torch.tensor([4, 2, 4, 1, 3]))
    rows.counts.rounds.copy_(torch.tensor([0, 2**62, -5, 7, 1]))
    return rows


def state(rows: Rows) -> list[Tensor]:
    return [rows.tokens, rows.pending, rows.count, *rows.counts, rows.broken]


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("window", [1, 3, 4])
def test_a_round_is_fed_and_kept_alike(
    device: torch.device, unfused: None, window: int, broken: bool
) -> None:
    from paretoken.evaluators.kernels import rows as kernels

    one, other = some_rows(device), some_rows(device)
    memory = (seeded(device, B, W - 1) * V).long()
    drafts, offered = memory[:, : window - 1], torch.ones_like(memory[:, : window - 1]) > 0
    fed = one.feed(drafts, offered)
    found = kernels.feed(other.pending, drafts, offered, other.count, other.lengths, N)
    for wanted, same in zip(fed, found, strict=True):
        assert torch.equal(wanted, same)
    accepted = torch.minimum(torch.tensor([3, 1, 2, 1, 0], device=device), fed.valid.sum(-1))
    token = torch.arange(B, device=device)
    law = laws(device, B, window)
    law[3] = torch.nan  # a finished row may hold anything
    if broken:
        law[1, window - 1] = torch.nan
    one.commit(drafts, fed.valid, accepted, token, law)
    kernels.commit(
        tuple(state(other)), drafts, fed.valid, accepted, token, law, N, 1099511628211
    )  # fmt: skip
    for wanted, same in zip(state(one), state(other), strict=True):
        assert torch.equal(wanted, same)
    assert bool(one.broken) is broken


@pytest.mark.parametrize("coupling", ["none", "gumbel"])
@pytest.mark.parametrize("init", ["random", "repeat_left", "law_left", "repeat_above"])
def test_guesses_move_alike(
    device: torch.device, monkeypatch: pytest.MonkeyPatch, init: str, coupling: str
) -> None:
    drafter = Jacobi(window=W, init=init, coupling=coupling)
    shape = Shape(B, N, V, WIDTH, device, torch.float32)
    memories: list[Any] = []
    for together in (False, True):
        for module in ("engine.laws", "engine.noise", "components.drafters.jacobi"):
            chosen = together and module.endswith("jacobi")
            monkeypatch.setattr(
                f"paretoken.evaluators.{module}.fused", lambda *_, fused=chosen: fused
            )
        memory: Any = drafter.memory(shape)
        memory.reset(*[torch.arange(B, device=device)] * 2, 3, torch.zeros(B, device=device))
        for turn in range(3):
            window = W if turn != 1 else 2
            proposal = memory.propose(window - 1)
            law = laws(device, B, window, seed=turn)
            fresh = (seeded(device, B, window, seed=turn + 9) * V).long()
            accepted = torch.tensor([0, 1, 1, 0, 1], device=device)
            verdict = Verdict(accepted, accepted, None, fresh if coupling == "gumbel" else None)
            tokens = torch.arange(B * (N + W), device=device).view(B, N + W) % V
            memory.observe(
                Round(
                    law,
                    proposal,
                    verdict,
                    torch.tensor([2, 2, 1, 2, 2], device=device),
                    torch.tensor([1, 4, 7, 12, 11], device=device),
                    tokens,
                )
            )
        memories.append(memory)
    one, other = memories
    assert torch.equal(one._tokens, other._tokens)
    assert torch.equal(one._laws, other._laws)
    assert torch.equal(one._round, other._round)


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("interval", [-1, 3])
@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"temperature": 0.7},
        {"top_k": 4},
        {"top_k": 9, "temperature": 1.3},
        {"top_p": 0.6},
        {"top_p": 0.0},
        {"top_k": 5, "top_p": 0.8, "temperature": 0.9},
    ],
    ids=str,
)
def test_sampling_laws_are_the_same(
    device: torch.device,
    monkeypatch: pytest.MonkeyPatch,
    knobs: dict[str, Any],
    interval: int,
    guided: bool,
) -> None:
    sampling = Standard(cfg=1.75 if guided else 1.0, cfg_interval=interval, **knobs)
    logits = (seeded(device, 6, 3, V) - 0.5) * 6
    logits[0, 0] = logits[0, 0].round()  # ties
    logits[1, 1, 2] = -torch.inf
    logits[2, 2, 5] = torch.nan
    other = (seeded(device, 6, 3, V, seed=1) - 0.5) * 6 if guided else None
    index = torch.arange(18, device=device).view(6, 3) % 7
    found = []
    for together in (False, True):
        monkeypatch.setattr(
            "paretoken.evaluators.components.samplings.standard.fused",
            lambda *_, fused=together: fused,
        )
        found.append(sampling.laws(logits, other, index))
    torch.testing.assert_close(found[1], found[0], rtol=2e-6, atol=1e-9, equal_nan=True)


def test_equal_tokens_at_the_edge_of_top_p_stay_in_order(device: torch.device) -> None:
    from paretoken.evaluators.kernels.laws import laws as fused_laws

    logits = torch.zeros(1, 1, 8, device=device)
    index = torch.zeros(1, 1, dtype=torch.int64, device=device)
    law = fused_laws(
        logits, None, index, cfg=1.0, cfg_interval=-1, temperature=1.0, top_k=0, top_p=0.3
    )
    # Of eight equal tokens, those with at most 0.3 before them: 0, 0.125 and 0.25.
    assert law[0, 0].tolist() == pytest.approx([1 / 3] * 3 + [0] * 5)


def test_acceptance_is_clipped_alike(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    p, q = laws(device, B, W), laws(device, B, W, seed=1)[:, :-1]  # p: one slot more than drafts
    tokens = (seeded(device, B, W - 1, seed=2) * V).long().unsqueeze(-1)  # forbidden ones as well
    slot = torch.arange(W - 1, device=device).view(1, -1, 1)
    found = []
    for together in (False, True):
        monkeypatch.setattr(
            "paretoken.evaluators.engine.verifier.fused", lambda *_, fused=together: fused
        )
        found.append(Amplified(factor=1.3).acceptance(p[:, :-1], q, tokens, slot, None))
    assert torch.equal(*found)
    assert 0 < found[0].sum() < found[0].numel()


@pytest.mark.parametrize("depth", [1, W - 1])
def test_drafts_are_kept_alike(device: torch.device, unfused: None, depth: int) -> None:
    from paretoken.evaluators.kernels import verify

    law = laws(device, 40, depth + 1)
    q = laws(device, 40, W, seed=1)[:, :depth]  # a part of what the drafter remembers
    a, chance = seeded(device, 40, depth, seed=2), seeded(device, 40, depth, seed=3)
    a[0], a[1] = 0.0, 2.0
    valid = torch.arange(depth, device=device) < (torch.arange(40, device=device) % 4).unsqueeze(1)
    for wanted, same in zip(
        keep(a, chance, valid, law, q), verify.keep(a, chance, valid, law, q), strict=True
    ):
        assert torch.equal(wanted, same)
