"""Image workloads: decode classes with a candidate, judge the pictures, time the decoding.

Quality is measured on `samples` images at whatever batch is quick, speed on a few images at the
batch the user names: the law is the same, the time is not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paretoken.evaluators.components.decoders.shortened import Shortened
from paretoken.evaluators.components.decoders.speculative import Speculative
from paretoken.evaluators.contact_sheet import contact_sheet
from paretoken.evaluators.engine.decode import Decoding
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.groups import Groups
from paretoken.evaluators.environment import environment
from paretoken.evaluators.image_pixels import MOST_ROWS, in_pixels, in_turn
from paretoken.evaluators.image_speed import IMAGES_PER_S, TIMED_SEED, time_images
from paretoken.evaluators.law import law_of
from paretoken.evaluators.metrics.by_sample import ImageMetric, identities, scored
from paretoken.evaluators.metrics.extractors import Extractor
from paretoken.evaluators.metrics.features import extract
from paretoken.evaluators.metrics.quality import OBJECTIVES, quality
from paretoken.evaluators.metrics.reference import Reference
from paretoken.evaluators.metrics.spread import SETS, Calibration, check_disjoint
from paretoken.evaluators.models.image_target import ImageTarget
from paretoken.evaluators.models.llamagen import Transformer
from paretoken.evaluators.models.shortened_image import ShortenedImage
from paretoken.evaluators.models.stages import Shortening
from paretoken.evaluators.models.vq import Tokenizer
from paretoken.evaluators.models.weights import digest_of
from paretoken.evaluators.recorded_rows import SAMPLES, RecordedRows
from paretoken.evaluators.runtime import at_batch, dtype_of, precision
from paretoken.evaluators.shortening.image_lessons import ImageLessons
from paretoken.evaluators.shortening.shortenings import Shortenings, digest_of_layers
from paretoken.evaluators.timing import mean_and_error
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput
from paretoken.spaces.workload import Behaviour, Observed, Report, Sampled

# Tokens fed to the model at once when quality is measured: on CUDA they fill the device, on a CPU
# they still fit its caches (window 16 of the fashion model: 32 rows took 90 s for 500 images where
# 125 rows took 114 s). Their laws hold so many numbers at most: 128 MB a tensor.
_FED_AT_ONCE = {"cpu": 512, "cuda": 32768}
_LAWS_AT_ONCE = 1 << 25
# What rows are recorded with: token for token plain decoding, in a quarter of the forwards.
_RECORDED = {
    "is": "decoders/speculative",
    "drafter": {"is": "drafters/jacobi", "window": 16, "coupling": "gumbel"},
}


class ImageWorkload:
    """A class-conditional image model with its tokenizer, reference and extractor.

    metrics: measured beside its own quantities. lessons: how depths learn; without, those that have
    to are refused.
    """

    objectives = (IMAGES_PER_S, OBJECTIVES["fid"])

    def __init__(
        self,
        transformer: Transformer,
        tokenizer: Tokenizer,
        *,
        device: torch.device,
        samples: int,
        batch: int | None,
        extractor: Extractor | None = None,
        reference: Reference | None = None,
        calibration: Calibration | None = None,
        metrics: Sequence[ImageMetric] = (),
        lessons: ImageLessons | None = None,
    ) -> None:
        self._transformer, self._device = transformer, device
        self._tokenizer = tokenizer.to(device).eval().requires_grad_(False)
        self.samples, self._batch = samples, batch
        self._extractor, self._reference = extractor, reference
        self._calibration, self._metrics = calibration, tuple(metrics)
        self.check_samples(samples)
        # The grid is no weight, but the same weights on another grid are another model.
        self._identity = digest_of(transformer, tokenizer) + f" {transformer.config.length}"
        self._geometry = Geometry(
            transformer.tok_embeddings.weight.detach().to(device),
            tokenizer.quantize.embedding.weight.detach(),
        )
        self._target: ImageTarget | None = None
        self._school = (
            None if lessons is None else lessons.school(transformer, self._identity, device)
        )
        self._shortenings = Shortenings(lambda: self._exact, self._school)
        self._rows: tuple[bytes, RecordedRows] | None = None
        self.environment = environment(device)

    def plain(self) -> Component:
        """Plain decoding at temperature 1 and the batch that speed is measured at."""
        return at_batch(from_tree({}), self._batch)

    def check_samples(self, samples: int) -> None:
        """Refuse a number of samples that would have no spread, before all work."""
        if self._calibration is None:
            check_disjoint(samples)
            return
        for name in OBJECTIVES:
            self._calibration.std(name, samples, 0.0)

    def context(self) -> Mapping[str, Any]:
        return {"model": self._identity, "classes": self._transformer.config.classes}

    def record(self) -> bytes:
        """Rows of eight samples in float32: of plain decoding's tokens, found in few forwards."""
        candidate = from_tree({"decoder": _RECORDED, "runtime": {"is": "runtimes/local"}})
        target = ImageTarget(self._transformer, self._device, torch.float32)
        decoding = Decoding(
            target, candidate.decoder, candidate.sampling, self._geometry,
            batch=SAMPLES, seed=0, graphs=False,
        )  # fmt: skip
        classes = self._classes(SAMPLES)
        tokens, _ = decoding.run(classes)
        device = self._device
        return RecordedRows.of(*_logits(target.model, tokens.to(device), classes.to(device))).dump()

    def behaviour(self, candidate: Component, recording: bytes) -> Behaviour:
        begun = time.perf_counter()
        candidate = at_batch(candidate, self._batch)
        decoder = _decoder(candidate)
        if self._rows is None or self._rows[0] != recording:
            self._rows = (recording, RecordedRows.load(recording))
        short = self._shortenings.of_target(decoder)
        law = law_of(decoder, candidate.sampling, self._geometry_on_cpu, self._rows[1])
        tree = to_tree(candidate)
        dtype = str(dtype_of(candidate, self._device)).removeprefix("torch.")
        conditions: dict[str, Any] = {}
        if self._reference is not None:
            conditions["extractor"] = self._reference.extractor
            conditions["reference"] = self._reference.digest
        if self._metrics:
            conditions["metrics"] = identities(self._metrics)
        context = {**self.context(), "dtype": dtype, "precision": precision(self._device)}
        evidence = law.evidence
        if short is not None:  # another target, known exactly
            context["layers"] = digest_of_layers(short)
            evidence = {"lossless": "no", "target": "layers are left out", "rule": evidence}
        return Behaviour(
            context=context,
            target=law.target,
            drafting={part: tree["decoder"][part] for part in ("drafter", "length")},
            rule=law.rule,
            lossless=law.lossless,
            evidence=evidence,
            conditions=conditions,
            runtime=tree["runtime"],
            seconds=time.perf_counter() - begun,
        )

    def prepare(self, candidate: Component, report: Report) -> str:
        """Have learnt what the candidate's layers are left out by."""
        return self._shortenings.learn(_decoder(candidate), report)

    def sample(self, candidate: Component, samples: int, seed: int, report: Report) -> Sampled:
        """Tokens of so many images, classes in turn."""
        self._judges()
        begun = time.perf_counter()
        batch = self._batch_of(candidate, samples)
        report("preparing", 0.0)
        decoding = self._decoding(candidate, batch, seed)
        tokens, trace = decoding.run(
            self._classes(samples),
            0,
            lambda done, of: report(f"quality: {done} of {of} images", 0.9 * done / of),
        )
        seconds = time.perf_counter() - begun
        return Sampled(tokens.numpy(), trace.arrays(), seconds, (trace, batch))

    def judge(self, sampled: Sampled, report: Report) -> Observed:
        """FID, KID, ISC, precision and recall of the sampled images."""
        extractor, reference = self._judges()
        begun = time.perf_counter()
        trace, batch = sampled.payload
        report("quality: features", 0.9)
        images = self._pixels(torch.from_numpy(sampled.tokens))
        features = extract(images, extractor)
        report("quality: distances", 0.97)
        # Without a calibration the spread comes from disjoint sets.
        sets = [features] if self._calibration else features.split(len(images) // SETS)
        quantities = quality(sets, reference, self._calibration)
        quantities += scored(self._metrics, images, f"{self._identity[:12]}|n={len(images)}")
        forwards, _ = mean_and_error(trace.forwards.tolist())
        detail = {
            "classes": "in turn",
            "batch": batch,
            "target_forwards": forwards,
            "acceptance_rate": _or_none(trace.acceptance_rate()),
            "decode_seconds": trace.seconds,
            "capture_seconds": trace.capture_seconds,
            "samples_png": contact_sheet(images),
        }
        return Observed(quantities, sampled.seconds + time.perf_counter() - begun, detail)

    def speed(self, candidate: Component, report: Report) -> Observed:
        """Images per second at the candidate's batch, with forwards and acceptance rate."""
        begun = time.perf_counter()
        candidate = at_batch(candidate, self._batch)
        batch = int(candidate.runtime.batch)
        report("preparing", 0.0)
        found = time_images(
            lambda: self._decoding(candidate, batch, TIMED_SEED),
            batch=batch,
            length=self._transformer.config.length,
            classes=self._transformer.config.classes,
            device=self._device.type,
            pixels=self._pixels,
            report=report,
        )
        layers = self._shortenings.layers_run(_decoder(candidate))
        seconds = time.perf_counter() - begun
        return replace(found, quantities=(*found.quantities, layers), seconds=seconds)

    def generate(
        self,
        tree: Mapping[str, Any],
        classes: tuple[int, ...],
        samples: int,
        seed: int,
        study_seed: int,
        report: Report,
    ) -> NDArray[np.uint8]:
        candidate = from_tree(tree)
        known = self._transformer.config.classes
        for one in classes:
            if not 0 <= one < known:
                raise BadInput(f"class {one} does not exist: the model knows 0 to {known - 1}.")
        chosen = torch.tensor(classes or tuple(range(known)))
        labels = chosen[torch.arange(samples) % len(chosen)]
        self.prepare(candidate, report)
        decoding = self._decoding(candidate, self._batch_of(candidate, samples), seed)
        tokens, _ = decoding.run(
            labels, 0, lambda done, of: report(f"{done} of {of} images", done / of)
        )
        images = self._pixels(tokens)
        return np.asarray(images.squeeze(1) if images.shape[1] == 1 else images)

    def _batch_of(self, candidate: Component, samples: int) -> int:
        """Rows to decode side by side, in even waves: a last one of a few rows would cost as much
        as a full one."""
        kind = self._device.type
        fed = min(_FED_AT_ONCE[kind], _LAWS_AT_ONCE // self._transformer.config.vocabulary)
        fitting = fed // int(candidate.decoder.drafter.most)
        rows = max(1, min(samples, MOST_ROWS[kind], fitting))
        return -(-samples // -(-samples // rows))

    def _classes(self, samples: int) -> Tensor:
        return in_turn(samples, self._transformer.config.classes)

    @cached_property
    def _exact(self) -> ImageTarget:
        """The target in float32, which depths are asked about."""
        return ImageTarget(self._transformer, self._device, torch.float32, self._school)

    def _decoding(self, candidate: Component, batch: int, seed: int) -> Decoding | Groups:
        decoder, dtype = _decoder(candidate), dtype_of(candidate, self._device)
        if self._target is None or self._target.dtype != dtype:
            self._target = ImageTarget(self._transformer, self._device, dtype)
        whole = self._target

        def build(short: Shortening | None, classes: Tensor | None, rows: int) -> Decoding:
            target = whole if short is None else ShortenedImage(whole, *short, classes)
            return Decoding(
                target, decoder, candidate.sampling, self._geometry, batch=rows, seed=seed,
                graphs=bool(candidate.runtime.graphs), prompts=classes,
            )  # fmt: skip

        known = self._transformer.config.classes
        return self._shortenings.decoding(decoder, build, prompts=known, batch=batch)

    def _pixels(self, tokens: Tensor) -> Tensor:
        """uint8 images [n, C, H, W] on the CPU."""
        config = self._transformer.config
        return in_pixels(self._tokenizer, tokens, config.height, config.width, self._device)

    @cached_property
    def _geometry_on_cpu(self) -> Geometry:
        if self._device.type == "cpu":
            return self._geometry
        return Geometry(
            self._transformer.tok_embeddings.weight.detach().cpu(),
            self._tokenizer.quantize.embedding.weight.detach().cpu(),
        )

    def _judges(self) -> tuple[Extractor, Reference]:
        if self._extractor is None or self._reference is None:
            raise BadInput(
                "this workload was opened without a reference, so quality cannot be measured: give "
                "one with --option reference=FILE."
            )
        return self._extractor, self._reference


@torch.inference_mode()
def _logits(model: Transformer, tokens: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [n, N, V] of samples [n, N] under their classes [n] and under none."""
    null = torch.full_like(classes, model.config.classes)
    return model(tokens, classes).cpu(), model(tokens, null).cpu()


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _decoder(candidate: Component) -> Speculative:
    decoder = candidate.decoder
    if not isinstance(decoder, Speculative) or decoder.modality not in ("", "image"):
        raise BadInput(f"images are decoded with decoders/speculative, not {decoder.tag()}.")
    if isinstance(decoder, Shortened) and decoder.depth.modality not in ("", "image"):
        raise BadInput(
            f"{decoder.depth.tag()} looks at the words of a prompt, which images have none of: use "
            "depths/routed."
        )
    return decoder
