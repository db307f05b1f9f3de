"""Measure the trained model and write what ships beside it: reference, calibration, model card.

    python -m paretoken.evaluators.workloads.fashion.card --log train.log

Needs Fashion-MNIST, for the reference and the reconstructions.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from safetensors import safe_open
from torch import Tensor

from paretoken.evaluators.engine.decode import Decoding
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.environment import device_named, environment
from paretoken.evaluators.metrics.distances import distances
from paretoken.evaluators.metrics.extractors import Extractor, load_extractor
from paretoken.evaluators.metrics.features import Features, extract
from paretoken.evaluators.metrics.frechet import frechet_distance
from paretoken.evaluators.metrics.reference import Reference
from paretoken.evaluators.metrics.spread import Calibration
from paretoken.evaluators.models.checkpoint import load_tokenizer, load_transformer
from paretoken.evaluators.models.image_target import ImageTarget
from paretoken.evaluators.models.vq import Tokenizer, to_uint8
from paretoken.evaluators.workloads.fashion import (
    CALIBRATION,
    REFERENCE,
    TOKENIZER,
    TRANSFORMER,
    data,
)
from paretoken.evaluators.workloads.fashion.tokenizer_training import reconstruction_figures
from paretoken.spaces.candidate import from_tree

# Disjoint sets of plain samples from which the spread at each N is calibrated.
SETS = {40: 20, 100: 20, 250: 20, 500: 20, 1000: 10, 2000: 5, 5000: 2}
SAMPLES = 20_000
COMPARED = 10_000  # as many samples as there are test images
BATCH = 200  # images that the extractor sees at once


def main(
    folder: Annotated[Path, typer.Option("--data", help="The .gz files.")] = data.DEBIAN,
    out: Annotated[Path, typer.Option(help="Folder of the weights.")] = TOKENIZER.parent,
    log: Annotated[
        Path | None, typer.Option(help="What the training printed, for the card.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Plain samples to draw.")] = SAMPLES,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
) -> None:
    """Write reference.safetensors, calibration.json and card.md beside the weights."""
    begun = time.monotonic()
    chosen = device_named(device)
    extractor = load_extractor("lite0", device=chosen)
    tokenizer = load_tokenizer(TOKENIZER).to(chosen)
    path = out / REFERENCE.name
    train, _ = data.load("train", folder)
    if path.exists():
        reference = Reference.load(path)
    else:
        described = "Fashion-MNIST, 60,000 training images, padded from 28 to 32 pixels"
        reference = Reference.of(train, extractor, described)
        reference.save(path)
    typer.echo(f"reference of {reference.images} images, {time.monotonic() - begun:.0f} s")
    test, _ = data.load("test", folder)
    again = reconstructed(tokenizer, test, chosen)
    images, forwards = samples_of_plain_decoding(tokenizer, samples, chosen)
    typer.echo(f"{samples} samples, {time.monotonic() - begun:.0f} s")
    figures: dict[str, Any] = dict(reconstruction_figures(tokenizer, test.to(chosen)))
    plain = extract(images, extractor, batch=BATCH)
    figures |= frechet_figures(train, test, again, plain, extractor, reference)
    # The same at twice the resolution, where features see more of a picture and scatter less.
    larger = load_extractor("lite0_128", device=chosen)
    at_128 = frechet_figures(
        train, test, again, extract(images[:COMPARED], larger, batch=BATCH), larger,
        Reference.of(train, larger, batch=BATCH),
    )  # fmt: skip
    figures |= {f"{name}_at_128": value for name, value in at_128.items()}
    typer.echo(f"{figures}, {time.monotonic() - begun:.0f} s")
    sets = {n: plain.split(n)[:k] for n, k in SETS.items() if n * 2 <= samples}
    calibration = Calibration.of(sets, reference)
    calibration.save(out / CALIBRATION.name)
    figures |= distances(plain.split(min(5000, samples))[0], reference) | {"forwards": forwards}
    with safe_open(TRANSFORMER, "pt") as file:
        figures |= {f"transformer_{k}": v for k, v in json.loads(file.metadata()["facts"]).items()}
    card(out / "card.md", figures, samples, environment(chosen).device, log)
    typer.echo(json.dumps(figures, indent=1))
    typer.echo(f"done in {time.monotonic() - begun:.0f} s")


def frechet_figures(
    train: Tensor,
    test: Tensor,
    again: Tensor,
    plain: Features,
    extractor: Extractor,
    reference: Reference,
) -> dict[str, float]:
    """FID of the test images, of their reconstructions, and of plain samples at several N.

    The test images are also compared with as many training images: the floor between equals.
    """
    real = extract(test, extractor, batch=BATCH).pool
    as_many = Reference.of(train[: len(test)], extractor, batch=BATCH)
    figures = {
        "fid_of_test_images": frechet_distance(real, reference),
        "floor": frechet_distance(real, as_many),
        "rfid": frechet_distance(extract(again, extractor, batch=BATCH).pool, reference),
    }
    for n in (500, 1000, 2000, 5000, COMPARED):
        if n <= len(plain):
            figures[f"fid_{n}"] = frechet_distance(plain.pool[:n], reference)
    return figures


@torch.inference_mode()
def reconstructed(tokenizer: Tokenizer, images: Tensor, device: torch.device) -> Tensor:
    """uint8 images [n, 1, 32, 32] encoded and decoded again."""
    parts = []
    for part in torch.split(images, 500):
        tokens = tokenizer.encode(data.pixels(part.to(device)))
        side = part.shape[-1] // tokenizer.config.stride
        parts.append(to_uint8(tokenizer.decode(tokens, side, side)).cpu())
    return torch.cat(parts)


@torch.inference_mode()
def samples_of_plain_decoding(
    tokenizer: Tokenizer, samples: int, device: torch.device
) -> tuple[Tensor, float]:
    """Plain samples, uint8 [n, 1, 32, 32], and forwards per sample; bfloat16 on CUDA, float32 on a
    CPU."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    transformer = load_transformer(TRANSFORMER)
    geometry = Geometry(
        transformer.tok_embeddings.weight.detach().to(device),
        tokenizer.quantize.embedding.weight.detach(),
    )
    target = ImageTarget(transformer, device, dtype)
    candidate = from_tree({})
    batch = min(samples, 1000 if device.type == "cuda" else 50)
    decoding = Decoding(
        target, candidate.decoder, candidate.sampling, geometry, batch=batch, seed=1
    )
    classes = torch.arange(samples) % target.model.config.classes
    tokens, trace = decoding.run(classes)
    side = target.width
    images = [
        to_uint8(tokenizer.decode(part.to(device), side, side)).cpu()
        for part in torch.split(tokens, 500)
    ]
    return torch.cat(images), float(trace.forwards.float().mean())


def card(path: Path, figures: dict[str, Any], samples: int, device: str, log: Path | None) -> None:
    """Write the model card from measured figures."""
    f = figures
    fids = "\n".join(
        f"| FID, {n:,} samples | {f[f'fid_{n}']:.2f} | {f.get(f'fid_{n}_at_128', math.nan):.2f} |"
        for n in (500, 1000, 2000, 5000, COMPARED)
        if f"fid_{n}" in f
    )
    training = log.read_text() if log else "not recorded"
    path.write_text(
        f"""# The model of workload `fashion`

LlamaGen's architecture, small: a VQ tokenizer (1 x 32 x 32 pixels, stride 2, 256 tokens, codebook
1024 x 8) and a class-conditional transformer (dim 320, 5 layers, 5 heads, 7.6M parameters), trained
on the 60,000 training images of Fashion-MNIST (Zalando, MIT licence) padded from 28 to 32 pixels by
`python -m paretoken.evaluators.workloads.fashion.train`. Weights are bfloat16; the figures below
are of these weights, on {device}, by `python -m paretoken.evaluators.workloads.fashion.card`.

FID is in EfficientNet-lite0 features against the 60,000 training images: not comparable with
published FID, and only comparable at equal N. Searches use the features at 64 pixels; those at 128
scatter less, so all distances are smaller. Sampling: temperature 1, no top-k, no top-p, no
guidance.

The aims were rFID 10.5 with 90 % of the codes, test NLL 1.80 and FID 25 at 10,000 samples, set with
features at 128 pixels: there the 10,000 test images score {f["floor_at_128"]:.2f} against 10,000
training images, the floor known when they were set (8.3), and {f["floor"]:.2f} at 64 pixels.

| figure | at 64 pixels | at 128 pixels |
| --- | --- | --- |
| rFID, 10,000 test images reconstructed | {f["rfid"]:.2f} | {f["rfid_at_128"]:.2f} |
| FID of the 10,000 test images themselves | {f["fid_of_test_images"]:.2f} | \
{f["fid_of_test_images_at_128"]:.2f} |
{fids}

| figure | value |
| --- | --- |
| PSNR of the test images, dB | {f["psnr_db"]:.2f} |
| codes in use on the test images | {100 * f["codes_used"]:.1f} % |
| test NLL, nats/token | {f["transformer_test_nll"]:.4f} |
| KID, precision, recall, ISC at {min(5000, samples):,} | {f["kid"]:.5f}, {f["precision"]:.3f}, \
{f["recall"]:.3f}, {f["isc"]:.2f} |

Training seed {f["transformer_seed"]:.0f}, {f["transformer_steps"]:.0f} transformer steps. What the
training printed:

```
{training.strip()}
```
"""
    )


if __name__ == "__main__":
    typer.run(main)
