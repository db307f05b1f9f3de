"""Image workloads: decode classes with a candidate, judge the pictures, time the decoding.

Quality is measured on `samples` images at whatever batch is quick, speed on a few images at the
batch the user names: the law is the same, the time is not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from torch import Tensor

from paretoken.evaluators.components.decoders.speculative import Speculative
from paretoken.evaluators.contact_sheet import contact_sheet
from paretoken.evaluators.engine.decode import Decoding, Trace
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.environment import environment
from paretoken.evaluators.metrics.extractors import Extractor
from paretoken.evaluators.metrics.features import extract
from paretoken.evaluators.metrics.quality import OBJECTIVES, quality
from paretoken.evaluators.metrics.reference import Reference
from paretoken.evaluators.metrics.spread import Calibration
from paretoken.evaluators.models.image_target import ImageTarget
from paretoken.evaluators.models.llamagen import Transformer
from paretoken.evaluators.models.vq import Tokenizer, to_uint8
from paretoken.evaluators.timing import mean_and_error, repeat
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput, MeasurementFailed
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Quantity
from paretoken.spaces.workload import Behaviour, Observed, Report

IMAGES_PER_S = Objective("images_per_s", "images/s", True, "decoded images per second")

# Tokens fed to the model at once when quality is measured: on CUDA they fill the device, on a CPU
# they still fit its caches (window 16 of the fashion model: 32 rows took 90 s for 500 images where
# 125 rows took 114 s). Pixels are decoded in parts of as many images at most.
_FED_AT_ONCE = {"cpu": 512, "cuda": 16384}
_MOST_ROWS = {"cpu": 128, "cuda": 512}
# Row ids from here on belong to timing, so that timed images are not the judged ones.
_TIMED_IDS = 1 << 24
# Timing: after one warm-up, 3 to 15 repeats, until so many seconds were timed.
_ENOUGH_S = {"cpu": 3.0, "cuda": 1.5}


class ImageWorkload:
    """A class-conditional image model with its tokenizer, reference and extractor."""

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
    ) -> None:
        self._transformer, self._device = transformer, device
        self._tokenizer = tokenizer.to(device).eval().requires_grad_(False)
        self._samples, self._batch = samples, batch
        self._extractor, self._reference = extractor, reference
        self._calibration = calibration
        if calibration is not None:
            for name in OBJECTIVES:  # refuse a number of samples without a spread before all work
                calibration.std(name, samples, 0.0)
        # The grid is no weight, but the same weights on another grid are another model.
        self._identity = _digest(transformer, tokenizer) + f" {transformer.config.length}"
        self._geometry = Geometry(
            transformer.tok_embeddings.weight.detach().to(device),
            tokenizer.quantize.embedding.weight.detach(),
        )
        self._target: ImageTarget | None = None
        self.environment = environment(device)

    def plain(self) -> Component:
        """Plain decoding at temperature 1 and the batch that speed is measured at."""
        return self._at_batch(from_tree({}))

    def behaviour(self, candidate: Component) -> Behaviour:
        candidate = self._at_batch(candidate)
        tree = to_tree(candidate)
        dtype = str(self._dtype(candidate)).removeprefix("torch.")
        lossless = candidate.decoder.lossless
        law = {"sampling": tree["sampling"]} | ({} if lossless else {"decoder": tree["decoder"]})
        conditions: dict[str, Any] = {"samples": self._samples}
        if self._reference is not None:
            conditions["extractor"] = self._reference.extractor
            conditions["reference"] = self._reference.digest
        runtime = tree["runtime"] | {"dtype": dtype}
        return Behaviour(self._identity, dtype, law, conditions, tree["decoder"], runtime)

    def quality(self, candidate: Component, seed: int, report: Report) -> Observed:
        """FID, KID, ISC, precision and recall of `samples` images, classes in turn."""
        if self._extractor is None or self._reference is None:
            raise BadInput(
                "this workload was opened without a reference, so quality cannot be measured: give "
                "one with --option reference=FILE."
            )
        begun = time.perf_counter()
        wanted = self._samples
        batch = self._rows(candidate, wanted)
        classes = self._classes(wanted)
        report("preparing", 0.0)
        decoding = self._decoding(candidate, batch, seed)
        tokens, trace = decoding.run(
            classes, 0, lambda done, of: report(f"quality: {done} of {of} images", 0.9 * done / of)
        )
        images = self._pixels(tokens)
        report("quality: features", 0.9)
        features = extract(images, self._extractor)
        report("quality: distances", 0.97)
        # Without a calibration the spread comes from disjoint sets, each a quarter of the images.
        sets = [features] if self._calibration else features.split(wanted // 4)
        quantities = quality(sets, self._reference, self._calibration)
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
        return Observed(quantities, time.perf_counter() - begun, detail)

    def speed(self, candidate: Component, seed: int, report: Report) -> Observed:
        """Images per second at the candidate's batch, with forwards and acceptance rate."""
        begun = time.perf_counter()
        candidate = self._at_batch(candidate)
        batch = int(candidate.runtime.batch)
        report("preparing", 0.0)
        decoding = self._decoding(candidate, batch, seed)
        traces: list[Trace] = []
        decoded = torch.empty(0)

        def once(i: int) -> float:
            nonlocal decoded
            report(f"speed: repeat {i + 1}", min(0.95, len(traces) / 8))
            ids = torch.arange(batch) + i * batch  # the same images for every candidate
            decoded, trace = decoding.run(
                ids % self._transformer.config.classes, _TIMED_IDS + i * batch
            )
            traces.append(trace)
            return trace.seconds

        timed = repeat(once, warm_up=1, least=3, most=15, enough_s=_ENOUGH_S[self._device.type])
        rate = batch / timed.median
        pixels = repeat(
            lambda _: self._pixel_seconds(decoded), warm_up=1, least=3, most=3, enough_s=0.0
        )
        counted = traces[1:]  # the warm-up repeats the first images
        repeats = len(timed.seconds)
        forwards = torch.cat([t.forwards for t in counted]).tolist()
        mean, error = mean_and_error(forwards)
        length = self._transformer.config.length
        spread = {"spread_from": "standard error over images"}
        quantities = [
            Quantity(
                "images_per_s", rate, rate * timed.spread / timed.median, repeats, "images/s", True,
                detail={"batch": batch, "spread_from": "standard error of the median over repeats"},
            ),
            Quantity(
                "latency_s", timed.median, timed.spread, repeats, "s", False,
                detail={"batch": batch, "spread_from": "standard error of the median over repeats"},
            ),
            Quantity(
                "target_forwards", mean, _finite(error), len(forwards), "forwards/image", False,
                detail=spread,
            ),
            Quantity(
                "step_compression", length / mean, _finite(length * error / mean**2),
                len(forwards), "tokens/forward", True, detail=spread,
            ),
            Quantity(
                "pixels_ms", 1e3 * pixels.median / batch, 1e3 * pixels.spread / batch,
                len(pixels.seconds), "ms/image", False,
                detail={"batch": batch, "spread_from": "standard error of the median over repeats"},
            ),
        ]  # fmt: skip
        rates = [t.acceptance_rate() for t in counted]
        if all(np.isfinite(rates)):
            mean, error = mean_and_error(rates)
            quantities.append(
                Quantity(
                    "acceptance_rate", mean, _finite(error), len(rates), "", True, detail=spread
                )
            )
        detail = {
            "batch": batch,
            "threads": torch.get_num_threads(),
            "seconds": list(timed.seconds),
            "capture_seconds": traces[0].capture_seconds,
        }
        return Observed(tuple(quantities), time.perf_counter() - begun, detail)

    def generate(
        self, tree: Mapping[str, Any], classes: tuple[int, ...], samples: int, seed: int
    ) -> NDArray[np.uint8]:
        candidate = from_tree(tree)
        known = self._transformer.config.classes
        for one in classes:
            if not 0 <= one < known:
                raise BadInput(f"class {one} does not exist: the model knows 0 to {known - 1}.")
        chosen = torch.tensor(classes or tuple(range(known)))
        labels = chosen[torch.arange(samples) % len(chosen)]
        decoding = self._decoding(candidate, self._rows(candidate, samples), seed)
        tokens, _ = decoding.run(labels)
        images = self._pixels(tokens)
        return np.asarray(images.squeeze(1) if images.shape[1] == 1 else images)

    def _rows(self, candidate: Component, samples: int) -> int:
        """Rows to decode side by side, in even waves: a last one of a few rows would cost as much
        as a full one."""
        kind = self._device.type
        fitting = _FED_AT_ONCE[kind] // int(candidate.decoder.drafter.most)
        rows = max(1, min(samples, _MOST_ROWS[kind], fitting))
        return -(-samples // -(-samples // rows))

    def _classes(self, samples: int) -> Tensor:
        """All classes in turn; evenly spaced ones where there are more classes than samples."""
        known = self._transformer.config.classes
        order = torch.arange(samples)
        return order * known // samples if samples < known else order % known

    def _at_batch(self, candidate: Component) -> Component:
        if self._batch is None or candidate.runtime.batch == self._batch:
            return candidate
        changed: Component = candidate.clone(override={"runtime.batch": self._batch})
        return changed

    def _dtype(self, candidate: Component) -> torch.dtype:
        name = candidate.runtime.dtype
        if name == "auto":
            name = "bfloat16" if self._device.type == "cuda" else "float32"
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]

    def _decoding(self, candidate: Component, batch: int, seed: int) -> Decoding:
        dtype = self._dtype(candidate)
        if self._target is None or self._target.dtype != dtype:
            self._target = ImageTarget(self._transformer, self._device, dtype)
        if not isinstance(candidate.decoder, Speculative):
            raise BadInput(
                f"image workloads decode with decoders/speculative, not {candidate.decoder.tag()}."
            )
        return Decoding(
            self._target, candidate.decoder, candidate.sampling, self._geometry,
            batch=batch, seed=seed, graphs=bool(candidate.runtime.graphs),
        )  # fmt: skip

    @torch.inference_mode()
    def _pixels(self, tokens: Tensor) -> Tensor:
        """uint8 images [n, C, H, W] on the CPU."""
        config = self._transformer.config
        parts = []
        for part in torch.split(tokens, _MOST_ROWS[self._device.type]):
            images = self._tokenizer.decode(part.to(self._device), config.height, config.width)
            if not bool(images.isfinite().all()):
                raise MeasurementFailed(
                    "nan", "the tokenizer decoded to pixels that are no numbers"
                )
            parts.append(to_uint8(images).cpu())
        return torch.cat(parts)

    def _pixel_seconds(self, tokens: Tensor) -> float:
        """Seconds to turn tokens [n, N] into pixels."""
        begun = time.perf_counter()
        self._pixels(tokens)
        return time.perf_counter() - begun


def _digest(*models: torch.nn.Module) -> str:
    """xxh3-128 of the weights of all models, names included, as stored."""
    state = xxhash.xxh3_128()
    for model in models:
        for name, value in sorted(model.state_dict().items()):
            raw = value.detach().cpu().contiguous().view(torch.uint8)
            state.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            state.update(raw.numpy().tobytes())
    return state.hexdigest()


def _finite(error: float) -> float:
    """A standard error for the record; one image has none, which the sample count says."""
    return error if np.isfinite(error) else 0.0


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
