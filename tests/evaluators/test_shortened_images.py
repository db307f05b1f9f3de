"""Images with fewer layers: the laws are those of the layers that run, whatever the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from paretoken.evaluators.engine.decode import Decoding
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.models.gated_layer import Gated
from paretoken.evaluators.models.image_target import ImageTarget
from paretoken.evaluators.models.llamagen import Transformer, TransformerConfig
from paretoken.evaluators.models.lora import LoRA
from paretoken.evaluators.models.shortened_image import ShortenedImage
from paretoken.evaluators.shortening.course import ImageCourse
from paretoken.evaluators.shortening.school import School
from paretoken.evaluators.shortening.teaching import Recovery, Sizes
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.errors import BadInput
from paretoken.spaces.plugins import KINDS

CLASSES = torch.arange(3)
N = 9


@pytest.fixture
def target() -> ImageTarget:
    torch.manual_seed(0)
    config = TransformerConfig(
        dim=32, layers=4, heads=2, vocabulary=11, height=3, width=3, classes=3, multiple_of=16,
        dropout=0.0, class_dropout=0.0,
    )  # fmt: skip
    model = Transformer(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.4)
    return ImageTarget(model.eval(), torch.device("cpu"), torch.float64)


def decoded(target: ImageTarget, batch: int, cfg: float = 1.0, **drafter: Any) -> torch.Tensor:
    candidate = from_tree(
        {
            "decoder": {
                "is": "decoders/speculative",
                "drafter": {"is": "drafters/none", **drafter},
            },
            "sampling": {"is": "samplings/standard", "cfg": cfg},
        }
    )
    rows = target.model.tok_embeddings.weight
    decoding = Decoding(
        target, candidate.decoder, candidate.sampling, Geometry(rows, rows), batch=batch, seed=1,
        dtype=torch.float64,
    )  # fmt: skip
    return decoding.run(CLASSES)[0]


def table() -> torch.Tensor:
    kept = torch.ones(3, 1 + N, 4, dtype=torch.bool)
    kept[0, :, 1] = False
    kept[1, 4:, 2] = False  # in the middle of an image
    return kept


def changed(target: ImageTarget) -> LoRA:
    lora = LoRA.begun(target.every_layer, 2, 4.0, "all", 0)
    for name, value in lora.weights.items():
        if name.endswith("up"):
            value.copy_(0.2 * torch.randn(value.shape, generator=torch.Generator().manual_seed(3)))
    return lora


@pytest.mark.parametrize("adapted", [False, True])
def test_windows_tell_the_laws_of_the_layers_that_run(target: ImageTarget, adapted: bool) -> None:
    kept, lora = table(), changed(target) if adapted else None
    tokens = torch.randint(0, 11, (3, N), generator=torch.Generator().manual_seed(1))
    runs = kept[:, 1:]  # of the class token and all but the last token
    model = target.model_of(
        lambda layers: [
            Gated(
                layer if lora is None else lora.within(layer, i), i,
                lambda i, _: runs[..., i : i + 1],
            )
            for i, layer in enumerate(layers)
        ]
    )  # fmt: skip
    with torch.no_grad():
        expected = model.output(model.states(model.condition(CLASSES), tokens))
        plain = target.model(tokens, CLASSES)
        for widths in ([1] * N, [4, 4, 1], [9]):
            short = ShortenedImage(target, kept, lora)
            cache = short.allocate(3, False)
            first = short.begin(CLASSES, CLASSES, cache)
            fed = torch.cat([first.unsqueeze(-1), tokens[:, :-1]], -1)
            found, at = [], 0
            for width in widths:
                place = torch.full((3,), at)
                found.append(short.forward(fed[:, at : at + width], place, cache, False)[0])
                at += width
            # Products of other shapes round differently, in float64.
            torch.testing.assert_close(torch.cat(found, 1), expected, rtol=0, atol=1e-9)
    assert (plain - expected).abs().amax() > 0.1


@pytest.mark.parametrize("cfg", [1.0, 2.0])
def test_batches_guidance_and_drafts_change_nothing(target: ImageTarget, cfg: float) -> None:
    short = ShortenedImage(target, table())
    one = decoded(short, 1, cfg)
    assert torch.equal(decoded(short, 3, cfg), one)
    gumbel = {"is": "drafters/jacobi", "window": 4, "coupling": "gumbel"}
    assert torch.equal(decoded(short, 2, cfg, **gumbel), one)
    assert not torch.equal(decoded(target, 1, cfg), one)
    whole = ShortenedImage(target, torch.ones(1, 1 + N, 4, dtype=torch.bool))
    assert torch.equal(decoded(whole, 1, cfg), decoded(target, 1, cfg))
    assert torch.equal(decoded(target, 1, cfg), decoded(target, 3, cfg))


def test_classes_choose_their_layers_and_what_does_nothing_goes(
    target: ImageTarget, tmp_path: Path
) -> None:
    for matrix in (target.model.layers[2].attention.wo, target.model.layers[2].feed_forward.w2):
        matrix.weight.data.zero_()
    tokens = torch.cat([decoded(target, 3) for _ in range(4)])
    sizes = Sizes(lessons=12, steps=40, batch=6, calibration=12, trials=4)
    target._school = School(
        lambda: ImageCourse(target, tokens, CLASSES.repeat(4)), sizes=sizes, identity={},
        folder=tmp_path,
    )  # fmt: skip
    routed = from_tree({"is": "depths/routed", "skipped": 0.5}, "depths")
    kept = routed.kept(target)
    assert kept.shape == (3, 1 + N, 4)
    assert (kept == torch.tensor([True, True, False, True])).all()
    assert target.school().skip_set("greedy", 4, 1) == (True, True, False, True)
    lora = target.school().recovered(Recovery(2, 4.0, "all"), kept[:1])
    assert lora.weights["0.attention.wqkv down"].shape == (2, 32)
    assert torch.equal(decoded(ShortenedImage(target, kept), 3), decoded(target, 3))


def test_depths_of_prompts_are_not_for_images() -> None:
    workload = KINDS["workloads"].load("fashion").open(device="cpu", samples=50)
    by_prompt = {"is": "decoders/shortened", "depth": {"is": "depths/by_prompt"}}
    with pytest.raises(BadInput, match="use depths/routed"):
        workload.prepare(from_tree({"decoder": by_prompt}), lambda phase, share: None)
    with pytest.raises(BadInput, match="it knows metrics, device"):
        KINDS["workloads"].load("fashion").open(device="cpu", samples=50, lesson_tokens=3)
