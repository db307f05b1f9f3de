"""Cluster granularity: train a coarse and a fine stage for a clustering of codes, draw, and judge.

Every candidate trains on the same arithmetic. How fast and how good it draws is measured as for any
image model; how well it predicts held-out images is told in bits, which compare over all numbers of
clusters. Training has one seed, so a spread is that of drawing, not of training.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paretoken.evaluators.clusters.auxiliary import Auxiliary
from paretoken.evaluators.clusters.clustering import Points, unit
from paretoken.evaluators.clusters.decoding import TwoStages
from paretoken.evaluators.clusters.fine_pass import FinePass
from paretoken.evaluators.clusters.likelihood import Bits, bits
from paretoken.evaluators.clusters.partition import Partition
from paretoken.evaluators.clusters.stages import Sizes, Stages
from paretoken.evaluators.components.candidates.coarse_to_fine import CoarseToFine
from paretoken.evaluators.components.decoders.speculative import Speculative
from paretoken.evaluators.contact_sheet import contact_sheet
from paretoken.evaluators.engine.decode import Decoding
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.sampling import Sampling
from paretoken.evaluators.environment import environment
from paretoken.evaluators.image_pixels import MOST_ROWS, in_pixels, in_turn
from paretoken.evaluators.image_speed import IMAGES_PER_S, TIMED_SEED, time_images
from paretoken.evaluators.metrics.extractors import Extractor
from paretoken.evaluators.metrics.features import extract
from paretoken.evaluators.metrics.quality import OBJECTIVES, quality
from paretoken.evaluators.metrics.reference import Reference
from paretoken.evaluators.metrics.spread import Calibration
from paretoken.evaluators.models.image_target import ImageTarget
from paretoken.evaluators.models.llamagen import Transformer
from paretoken.evaluators.models.vq import Tokenizer
from paretoken.evaluators.models.weights import digest_of
from paretoken.evaluators.runtime import at_batch, dtype_of, precision
from paretoken.evaluators.timing import mean_and_error
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.evaluators.training.domains import Domain
from paretoken.evaluators.workloads.continual.source import Source
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput, MeasurementFailed
from paretoken.spaces.records import Quantity
from paretoken.spaces.workload import Behaviour, Observed, Report, Sampled

# Images of a fine pass: its laws hold 256 times the vocabulary numbers for each.
_FINE_ROWS = {"cpu": 32, "cuda": 128}


@dataclass(frozen=True)
class _Trained:
    """The stages of a candidate. keys: of their weights."""

    partition: Partition
    coarse: Transformer | None
    fine: Auxiliary | None
    keys: tuple[str, ...]
    steps: tuple[int, int]


class ClustersWorkload:
    """source: the images, as codes of the tokenizer. sizes: of models and training. artefacts:
    where trained models are kept.
    """

    objectives = (IMAGES_PER_S, OBJECTIVES["fid"])

    def __init__(
        self,
        source: Source,
        tokenizer: Tokenizer,
        sizes: Sizes,
        *,
        samples: int,
        batch: int | None,
        artefacts: Artefacts,
        device: torch.device,
        extractor: Extractor,
        reference: Reference,
        calibration: Calibration,
    ) -> None:
        self._source, self._sizes, self._device = source, sizes, device
        self._tokenizer = tokenizer.to(device).eval().requires_grad_(False)
        self._artefacts, self._batch, self.samples = artefacts, batch, samples
        self._extractor, self._reference, self._calibration = extractor, reference, calibration
        self._identity = {"data": dict(source.identity), "tokenizer": digest_of(tokenizer)}
        self.check_samples(samples)
        self.environment = environment(device)
        self._last: tuple[tuple[str, ...], _Trained] | None = None
        self._partitions: dict[str, Partition] = {}
        self._bits: dict[tuple[str, ...], Bits] = {}

    @property
    def race_samples(self) -> int:
        """Images by which an entrant of a race is judged: one has no distance to anything."""
        return self.samples

    def plain(self) -> Component:
        """As many clusters as codes: plain autoregressive prediction, on the same budget."""
        clusters = {"is": "clusterings/kmeans", "clusters": self._source.format.vocabulary}
        tree = {"is": "candidates/coarse_to_fine", "clustering": clusters}
        return at_batch(from_tree(tree), self._batch)

    def check_samples(self, samples: int) -> None:
        """Refuse a number of samples that would have no spread, before all work."""
        for name in OBJECTIVES:
            self._calibration.std(name, samples, 0.0)

    def context(self) -> Mapping[str, Any]:
        return {**self._identity, "training": asdict(self._sizes)}

    def record(self) -> bytes:
        """Nothing: candidates are compared by their partitions and settings."""
        return b""

    def behaviour(self, candidate: Component, recording: bytes) -> Behaviour:
        """The partition, and of the settings those that it leaves something to say: two clusterings
        that make the same of the codes are one, and at either end a stage has no settings."""
        begun = time.perf_counter()
        chosen = at_batch(self._checked(candidate), self._batch)
        assert isinstance(chosen, CoarseToFine)
        partition = self._partition(chosen)
        tree = to_tree(chosen)
        dtype = str(dtype_of(chosen, self._device)).removeprefix("torch.")
        settled = _settled(tree, partition)
        sampled = ("coarse", "fine")
        return Behaviour(
            context={**self.context(), "dtype": dtype, "precision": precision(self._device)},
            target=(),
            drafting=settled,
            rule=(),
            lossless=False,
            evidence={"lossless": "no", "clusters": len(partition)},
            conditions={
                "extractor": self._reference.extractor,
                "reference": self._reference.digest,
                # Bits are of what was trained: equal images of other stages are not judged alike.
                "trained": {name: settled[name] for name in settled if name not in sampled},
            },
            runtime=tree["runtime"],
            seconds=time.perf_counter() - begun,
        )

    def sample(self, candidate: Component, samples: int, seed: int, report: Report) -> Sampled:
        """Codes of so many images, classes in turn; stages that were trained alike before are not
        trained again."""
        begun = time.perf_counter()
        chosen = self._checked(candidate)
        before = replace(self._stages.counts)
        trained = self._trained(chosen, report)
        waves = -(-samples // MOST_ROWS[self._device.type])
        decoding = self._decoding(chosen, trained, -(-samples // waves), seed)
        tokens, trace = decoding.run(
            in_turn(samples, self._source.format.classes),
            0,
            lambda done, of: report(f"quality: {done} of {of} images", 0.6 + 0.3 * done / of),
        )
        after = self._stages.counts
        counted = {
            "trained_steps": after.trained - before.trained,
            "spared_steps": after.spared - before.spared,
        }
        seconds = time.perf_counter() - begun
        return Sampled(tokens.numpy(), trace.arrays(), seconds, (trained, trace, counted))

    def judge(self, sampled: Sampled, report: Report) -> Observed:
        """FID, KID, ISC, precision and recall of the images; bits of held-out ones."""
        begun = time.perf_counter()
        trained, trace, counted = sampled.payload
        report("quality: features", 0.9)
        images = self._pixels(torch.from_numpy(sampled.tokens))
        features = extract(images, self._extractor)
        report("quality: distances", 0.97)
        quantities = quality([features], self._reference, self._calibration)
        report("quality: bits of held-out images", 0.98)
        quantities += self._in_bits(trained)
        partition = trained.partition
        of_clusters, of_codes = partition.entropies(self._counts)
        forwards, _ = mean_and_error(trace.forwards.tolist())
        detail = {
            "classes": "in turn",
            "artefacts": list(trained.keys),
            "steps": {"coarse": trained.steps[0], "fine": trained.steps[1]},
            "partition": partition.digest,
            "cluster_sizes": [int(partition.sizes.min()), int(partition.sizes.max())],
            "order0_bits": {"coarse": of_clusters, "fine": of_codes},
            "sequential_calls": forwards,
            "decode_seconds": trace.seconds,
            "samples_png": contact_sheet(images),
            **counted,
        }  # fmt: skip
        return Observed(quantities, sampled.seconds + time.perf_counter() - begun, detail)

    def speed(self, candidate: Component, report: Report) -> Observed:
        """Images per second at the candidate's batch, from classes to codes; pixels apart."""
        begun = time.perf_counter()
        chosen = at_batch(self._checked(candidate), self._batch)
        assert isinstance(chosen, CoarseToFine)
        trained = self._trained(chosen, report)
        batch = int(chosen.runtime.batch)
        form = self._source.format
        found = time_images(
            lambda: self._decoding(chosen, trained, batch, TIMED_SEED),
            batch=batch,
            length=form.height * form.width,
            classes=form.classes,
            device=self._device.type,
            pixels=self._pixels,
            report=report,
        )
        return replace(found, seconds=time.perf_counter() - begun)

    def generate(
        self,
        tree: Mapping[str, Any],
        classes: tuple[int, ...],
        samples: int,
        seed: int,
        study_seed: int,
        report: Report,
    ) -> NDArray[np.uint8]:
        """Images of a candidate, whose stages are trained first where they are not kept."""
        chosen = self._checked(from_tree(tree))
        known = self._source.format.classes
        for one in classes:
            if not 0 <= one < known:
                raise BadInput(f"class {one} does not exist: the model knows 0 to {known - 1}.")
        among = torch.tensor(classes or tuple(range(known)))
        labels = among[torch.arange(samples) % len(among)]
        trained = self._trained(chosen, report)
        batch = min(samples, MOST_ROWS[self._device.type])
        decoding = self._decoding(chosen, trained, batch, seed)
        tokens, _ = decoding.run(
            labels, 0, lambda done, of: report(f"{done} of {of} images", done / of)
        )
        images = self._pixels(tokens)
        return np.asarray(images.squeeze(1) if images.shape[1] == 1 else images)

    # ------------------------------------------------------------------------------- its parts

    @cached_property
    def _data(self) -> Domain:
        """All images as codes, on the CPU."""
        return joined(self._source.load(lambda phase, share: None))

    @cached_property
    def _stages(self) -> Stages:
        return Stages(
            self._data.to(self._device), self._source.format, self._sizes, self._artefacts,
            self._identity, self._device,
        )  # fmt: skip

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        """How often each code is used by the images to train on, [V]."""
        used = self._data.tokens.long().flatten()
        return np.asarray(torch.bincount(used, minlength=self._source.format.vocabulary))

    @cached_property
    def _points(self) -> Points:
        """Where codes lie: on the unit sphere, for decoding normalises them."""
        return unit(self._tokenizer.quantize.embedding.weight.detach().double().cpu().numpy())

    def _checked(self, candidate: Component) -> CoarseToFine:
        if not isinstance(candidate, CoarseToFine):
            raise MeasurementFailed(
                "unsupported",
                f"{candidate.tag()} has no clustering: this workload searches "
                "candidates/coarse_to_fine.",
            )
        return candidate

    def _partition(self, candidate: CoarseToFine) -> Partition:
        name = str(to_tree(candidate.clustering))
        if name not in self._partitions:
            counts = self._counts.astype(np.float64)
            self._partitions[name] = candidate.clustering.partition(self._points, counts)
        return self._partitions[name]

    def _trained(self, candidate: CoarseToFine, report: Report) -> _Trained:
        partition = self._partition(candidate)
        both = self._stages.of(candidate, partition)
        steps = [0 if stage is None else stage.steps for stage in both]
        done, keys = 0, []
        for stage, name in zip(both, ("coarse", "fine"), strict=True):
            if stage is None:
                continue

            def say(step: int, of: int, done: int = done, name: str = name) -> None:
                told = f"training the {name} stage: step {step} of {of}"
                report(told, 0.6 * (done + step) / sum(steps))

            keys.append(self._stages.train(stage, partition, say))
            done += stage.steps
        if self._last is None or self._last[0] != tuple(keys):
            rest = iter(keys)
            coarse, fine = (
                None if stage is None else self._stages.load(stage, next(rest)) for stage in both
            )
            assert fine is None or isinstance(fine, Auxiliary)
            known = _Trained(partition, coarse, fine, tuple(keys), (steps[0], steps[1]))
            self._last = tuple(keys), known
        return self._last[1]

    def _decoding(
        self, candidate: CoarseToFine, trained: _Trained, batch: int, seed: int
    ) -> TwoStages:
        device, dtype = self._device, dtype_of(candidate, self._device)
        graphs = bool(candidate.runtime.graphs)
        coarse = fine = None
        if trained.coarse is not None:
            # With as many clusters as codes, codes are drawn as the only stage draws.
            coarse = _plain(trained.coarse, candidate.coarse, device, dtype, batch, seed, graphs)
        rows = min(batch, _FINE_ROWS[device.type])
        if trained.fine is not None:
            fine = FinePass(
                trained.fine, candidate.fine, batch=rows, seed=seed, device=device, dtype=dtype,
                graphs=graphs,
            )  # fmt: skip
        form = self._source.format
        return TwoStages(coarse, fine, length=form.height * form.width, batch=rows)

    def _in_bits(self, trained: _Trained) -> tuple[Quantity, ...]:
        """Bits of held-out images, and what they are made of."""
        if trained.keys not in self._bits:
            held_out = self._data.held_out, self._data.held_out_classes
            self._bits = {
                trained.keys: bits(
                    trained.coarse, trained.fine, trained.partition, *held_out, self._device
                )
            }
        found = self._bits[trained.keys]
        images = len(found.total)
        proper = trained.fine is None or trained.fine.proper
        detail = {"spread_from": "standard error over held-out images", "upper_bound": not proper}
        clusters = len(trained.partition)
        quantities = [Quantity("clusters", float(clusters), 0.0, 1, "clusters", False)]
        for name, of in (
            ("bits_per_image", found.total), ("coarse_bits", found.coarse),
            ("fine_bits", found.fine),
        ):  # fmt: skip
            mean, error = mean_and_error(of.tolist())
            quantities.append(
                Quantity(
                    name, mean, error if np.isfinite(error) else 0.0, images, "bits/image", False,
                    f"{images} images", detail,
                )
            )  # fmt: skip
        if not all(np.isfinite(one.value) for one in quantities):
            raise MeasurementFailed("nan", "bits of held-out images are no number: it diverged")
        return tuple(quantities)

    def _pixels(self, tokens: Tensor) -> Tensor:
        form = self._source.format
        return in_pixels(self._tokenizer, tokens, form.height, form.width, self._device)


def _plain(
    model: Transformer,
    sampling: Sampling,
    device: torch.device,
    dtype: torch.dtype,
    batch: int,
    seed: int,
    graphs: bool,
) -> Decoding:
    """Plain decoding of what a model predicts."""
    decoder = from_tree({"is": "decoders/speculative"}, "decoders")
    assert isinstance(decoder, Speculative)
    target = ImageTarget(model, device, dtype)
    # Nobody asks plain decoding how far tokens are apart.
    table = target.model.tok_embeddings.weight.detach()
    return Decoding(
        target, decoder, sampling, Geometry(table, table), batch=batch, seed=seed, graphs=graphs
    )


def _settled(tree: Mapping[str, Any], partition: Partition) -> dict[str, Any]:
    """What of a candidate's settings says something about its images, at this partition."""
    found: dict[str, Any] = {"partition": partition.digest, "budget": tree["budget"]}
    if len(partition) > 1:
        found["coarse"] = _all_kept(tree["coarse"], len(partition))
    if not partition.is_finest:
        by_rank = tree["fine_target"] == "rank"
        most = int(partition.sizes.max()) if tree["aux_masked"] or by_rank else partition.vocabulary
        found["fine"] = _all_kept(tree["fine"], most)
        told = ("aux_depth", "aux_width", "aux_attention", "fine_target")
        found["auxiliary"] = {name: tree[name] for name in told}
        found["auxiliary"]["masked"] = tree["aux_masked"] or by_rank
        if len(partition) > 1:
            found["auxiliary"]["share"] = tree["aux_share"]
    return found


def _all_kept(sampling: Mapping[str, Any], values: int) -> dict[str, Any]:
    """A sampling law whose top-k keeps all of so many values says so by 0."""
    if sampling.get("top_k", 0) >= values:
        return {**sampling, "top_k": 0}
    return dict(sampling)


def joined(domains: tuple[Domain, ...]) -> Domain:
    """Several data sets as one."""
    return Domain(
        " and ".join(of.name for of in domains),
        *(
            torch.cat([getattr(of, part) for of in domains])
            for part in ("tokens", "classes", "held_out", "held_out_classes")
        ),
    )
