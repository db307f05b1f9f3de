"""Decoders of text on a CUDA device, in float32: captured rounds answer as eager ones do."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from paretoken.evaluators.components.depths.by_position import ByPosition
from paretoken.evaluators.engine.decode import Decoding, Trace
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.models.cropped_caches import ROLLS_BACK
from paretoken.evaluators.models.shortened_target import ShortenedTarget
from paretoken.evaluators.models.text_target import TextTarget
from paretoken.evaluators.workloads.text import head_step
from paretoken.evaluators.workloads.text.head_data import Answers
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.plugins import KINDS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

DRAFTERS = [
    name for name, found in KINDS["drafters"].working() if found.modality in ("", "text")
]  # fmt: skip


@pytest.fixture(params=["llama", "mistral"])
def target(request: pytest.FixtureRequest, tiny: Any) -> TextTarget:
    if request.param == "mistral" and not ROLLS_BACK:
        pytest.skip("sliding windows need transformers 5.18")
    made = tiny(request.param)
    return TextTarget(
        made.model, made.contexts, length=24, ends=(12,), device=torch.device("cuda"),
        dtype=torch.float32, draft=made.small().model, trigrams=made.trigrams,
        head=made.head(),
    )  # fmt: skip


def answers(
    target: TextTarget, decoder: dict[str, Any], temperature: float, batch: int, graphs: bool
) -> tuple[Tensor, Trace]:
    candidate = from_tree(
        {
            "decoder": {"is": "decoders/speculative", **decoder},
            "sampling": {"is": "samplings/standard", "temperature": temperature},
        }
    )
    rows = torch.arange(13.0, device="cuda").unsqueeze(-1)
    decoding = Decoding(
        target, candidate.decoder, candidate.sampling, Geometry(rows, rows), batch=batch, seed=3,
        graphs=graphs,
    )  # fmt: skip
    return decoding.run(torch.arange(7) % 3)  # more than fit: rows are filled again


TREES = {
    "lookups": ({"is": "drafters/prompt_lookup", "drafts": 3, "ngram": 1}, "tree"),
    "likeliest": ({"is": "drafters/skip_layers", "drafts": 3, "choice": "likeliest"}, "tree"),
    "drawn": ({"is": "drafters/small_model", "drafts": 3, "choice": "drawn"}, "k_seq"),
}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("kind", TREES)
def test_capture_changes_no_token_of_trees(tiny: Any, kind: str, temperature: float) -> None:
    made = tiny("llama")
    target = TextTarget(
        made.model, made.contexts, length=24, ends=(12,), device=torch.device("cuda"),
        dtype=torch.float32, draft=made.small().model,
    )  # fmt: skip
    drafter, verifier = TREES[kind]
    decoder = {"drafter": {**drafter, "window": 4}, "verifier": {"is": f"verifiers/{verifier}"}}
    eager, trace = answers(target, decoder, temperature, 3, False)
    captured, same = answers(target, decoder, temperature, 3, True)
    assert torch.equal(eager, captured)
    for one, two in zip(trace.arrays(), same.arrays(), strict=True):
        assert (one == two).all()
    if temperature == 0.0:
        assert torch.equal(eager, answers(target, {}, 0.0, 1, False)[0])


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("length", ["fixed", "adaptive", "confidence"])
@pytest.mark.parametrize("drafter", DRAFTERS)
def test_capture_changes_no_token(
    target: TextTarget, drafter: str, length: str, temperature: float
) -> None:
    decoder = {"drafter": {"is": f"drafters/{drafter}"}, "length": {"is": f"lengths/{length}"}}
    if drafter != "none":
        decoder["drafter"]["window"] = 5
    if drafter == "fewer_layers":
        if type(target.model).__name__.startswith("Mistral"):
            pytest.skip("layers can be left out only where they attend to all places")
        decoder["drafter"]["depth"] = {"is": "depths/by_position", "last": 0.5}
    plain, _ = answers(target, {}, temperature, 1, False)
    eager, trace = answers(target, decoder, temperature, 3, False)
    captured, same = answers(target, decoder, temperature, 3, True)
    assert torch.equal(eager, captured)
    for one, two in zip(trace.arrays(), same.arrays(), strict=True):
        assert (one == two).all()
    if temperature == 0.0:
        assert torch.equal(eager, plain)


def test_capture_changes_no_step_of_a_head_s_training(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tiny("llama")
    model = target.model.to("cuda", torch.float32)
    generator = torch.Generator().manual_seed(0)
    lines = torch.randint(13, (8, 24), generator=generator)
    answers = Answers(lines, torch.full((8,), 9), torch.randint(16, 25, (8,), generator=generator))
    batches = [torch.randint(8, (4,), generator=generator) for _ in range(12)]
    losses = []
    for eager in (3, 1000):
        monkeypatch.setattr(head_step, "_EAGER", eager)
        head = copy.deepcopy(target.head()).float().to("cuda").train().requires_grad_(True)
        output = model.get_output_embeddings()
        # All positions count, so that nothing is left to chance.
        step = head_step.Step(head, output, ahead=3, positions=1000)
        step.rate.fill_(1e-2)
        losses.append(
            [float(step.take(head_step.seen_by(model, answers, rows))) for rows in batches]
        )
    assert losses[0][-1] < losses[0][0]
    # bfloat16 keeps 8 bits; sums of many such products differ by far less than one of them.
    assert losses[0] == pytest.approx(losses[1], rel=2**-8)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("drafter", ["none", "prompt_lookup"])
@pytest.mark.parametrize("depth", ["falling", "by prompt"])
def test_capture_changes_no_token_of_shortened_models(
    tiny: Any, depth: str, drafter: str, batch: int
) -> None:
    made = tiny("llama")
    target = TextTarget(
        made.model, made.contexts, length=24, ends=(12,), device=torch.device("cuda"),
        dtype=torch.float32, trigrams=made.trigrams,
    )  # fmt: skip
    kept = ByPosition(last=0.25, warm_up=0).kept(target)
    if depth == "by prompt":
        kept = torch.ones(3, 25, 4, dtype=torch.bool)
        kept[0, :, 1] = kept[1, :, 2] = kept[2, 9:, 1] = False
    decoder: dict[str, Any] = {"drafter": {"is": f"drafters/{drafter}"}}
    if drafter != "none":
        decoder["drafter"]["window"] = 4
    short = ShortenedTarget(target, kept)
    eager, trace = answers(short, decoder, 0.0, batch, False)
    captured, same = answers(short, decoder, 0.0, batch, True)
    assert torch.equal(eager, captured)
    for one, two in zip(trace.arrays(), same.arrays(), strict=True):
        assert (one == two).all()
    assert not torch.equal(eager, answers(target, {}, 0.0, 1, False)[0])


@pytest.mark.parametrize("last", [0.25, 1.0])
def test_capture_changes_no_token_of_what_a_shortened_model_drafts(tiny: Any, last: float) -> None:
    made = tiny("llama")
    target = TextTarget(
        made.model, made.contexts, length=24, ends=(12,), device=torch.device("cuda"),
        dtype=torch.float32,
    )  # fmt: skip
    depth = {"is": "depths/by_position", "last": last, "warm_up": 0}
    decoder = {"drafter": {"is": "drafters/fewer_layers", "depth": depth, "window": 4}}
    plain, _ = answers(target, {}, 0.0, 1, False)
    for graphs in (False, True):
        assert torch.equal(answers(target, decoder, 0.0, 3, graphs)[0], plain)
