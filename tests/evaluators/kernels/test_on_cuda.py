"""Whole decoders on a CUDA device, in float32: with the engine's kernels, without, and captured."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from paretoken.evaluators.engine.decode import Decoding
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.models.image_target import ImageTarget
from paretoken.evaluators.models.llamagen import Transformer, TransformerConfig
from paretoken.spaces.candidate import from_tree

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

MODULES = (
    "engine.laws", "engine.noise", "engine.rows", "engine.verifier", "components.drafters.jacobi",
    "components.samplings.standard",
)  # fmt: skip


def drafting(**knobs: Any) -> dict[str, Any]:
    return {"drafter": {"is": "drafters/jacobi", "window": 6, **knobs}}


DECODERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "exact": drafting(),
    "maximal, left": drafting(coupling="maximal", init="repeat_left"),
    "gumbel, above": drafting(coupling="gumbel", init="repeat_above"),
    "adaptive": {**drafting(init="law_left"), "length": {"is": "lengths/adaptive"}},
    "grouped": {**drafting(), "verifier": {"is": "verifiers/grouped", "size": 4}},
    "latent": {**drafting(), "verifier": {"is": "verifiers/latent_neighbour", "k": 5}},
    "annealed": {
        **drafting(), "verifier": {"is": "verifiers/annealed"},
        "residual": {"is": "residuals/matched"},
    },
}  # fmt: skip
SAMPLINGS = {"all": {}, "few": {"top_k": 9, "top_p": 0.9, "temperature": 0.8, "cfg": 1.5}}


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(0)
    made = Transformer(TransformerConfig(64, 2, 4, 48, 5, 5, classes=3, multiple_of=16))
    made.initialise()
    torch.nn.init.normal_(made.output.weight, std=0.2)
    return made.eval().requires_grad_(False)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_kernels_and_capture_change_no_token(
    model: Transformer, monkeypatch: pytest.MonkeyPatch, decoder: str, sampling: str
) -> None:
    device = torch.device("cuda")
    target = ImageTarget(model, device, torch.float32)
    geometry = Geometry(
        model.tok_embeddings.weight.to(device),
        torch.randn(48, 8, generator=torch.Generator().manual_seed(1)).to(device),
    )
    candidate = from_tree(
        {
            "decoder": {"is": "decoders/speculative", **DECODERS[decoder]},
            "sampling": {"is": "samplings/standard", **SAMPLINGS[sampling]},
        }
    )
    found: list[tuple[Tensor, Any]] = []
    for kernels, graphs in ((False, False), (True, False), (True, True)):
        for module in MODULES:
            monkeypatch.setattr(
                f"paretoken.evaluators.{module}.fused", lambda *_, fused=kernels: fused
            )
        decoding = Decoding(
            target, candidate.decoder, candidate.sampling, geometry,
            batch=5, seed=3, graphs=graphs,
        )  # fmt: skip
        found.append(decoding.run(torch.arange(12) % 3))  # more than fit: rows are filled again
    tokens, trace = found[0]
    for other, same in found[1:]:
        assert torch.equal(tokens, other)
        for one, two in zip(trace.arrays(), same.arrays(), strict=True):
            assert (one == two).all()
    assert trace.forwards.max() <= target.length
