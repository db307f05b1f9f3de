"""Image tokenizers: trained on images, judged by what they keep, what they cost and how they serve.

Few tokens make a model fast: `sequential_calls` counts the model's calls and the decoder's to a
finished image. Few `bits` make tokens easy to predict, and both cost detail. A "sample" is one
training with a seed of its own; with a single one, spreads are over images alone. How many images
are judged is the workload's own. What was trained is kept under a key of all that it depends on,
which settings of decoding are not among.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from torch import Tensor

from paretoken.evaluators.environment import environment
from paretoken.evaluators.image_tokenizers.autoregressive import CLASSES, Budget, Model, digest
from paretoken.evaluators.image_tokenizers.coder import Coder, Decoded, rate
from paretoken.evaluators.image_tokenizers.family import ImageTokenizer, Sizes
from paretoken.evaluators.image_tokenizers.fitting import Say
from paretoken.evaluators.image_tokenizers.judging import Judge
from paretoken.evaluators.image_tokenizers.making import Maker, libraries, own_libraries
from paretoken.evaluators.image_tokenizers.pace import calls, times
from paretoken.evaluators.image_tokenizers.pictures import Pictures, identity
from paretoken.evaluators.image_tokenizers.told import (
    BITS,
    CALLS,
    GFID,
    RFID,
    Conditions,
    quantities,
)
from paretoken.evaluators.image_tokenizers.writing import save
from paretoken.evaluators.metrics.extractors import Extractor
from paretoken.evaluators.runtime import precision
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.evaluators.training.trainer import Counts
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput, MeasurementFailed
from paretoken.spaces.workload import Behaviour, Observed, Report, Sampled

_DRAWN_AT_ONCE = {"cpu": 100, "cuda": 1000}


@dataclass(frozen=True)
class _Run:
    """One training. numbers, spreads: by name. images: reconstructions; generated: or None."""

    numbers: dict[str, float]
    spreads: dict[str, float]
    images: Tensor
    generated: Tensor | None
    told: dict[str, Any]


class TokenizerWorkload:
    """pictures: to train on and judge by. sizes, steps: of tokenizers and their training. budget:
    of the model of their tokens. generate: images that it draws; 0 trains no model. samples:
    trainings. artefacts: where trained tokenizers are kept; models: where trained models are.
    """

    def __init__(
        self,
        pictures: Pictures,
        sizes: Sizes,
        budget: Budget,
        *,
        steps: int,
        generate: int,
        samples: int,
        extractor: Extractor,
        artefacts: Artefacts,
        models: Artefacts,
        device: torch.device,
    ) -> None:
        self._pictures, self._sizes, self._budget = pictures, sizes, budget
        self._steps, self._generate, self._device = steps, generate, device
        self._models = models
        self._train, self._classes = pictures.train.to(device), pictures.classes.to(device)
        self._held_out = pictures.held_out.to(device)
        self._held_out_classes = pictures.held_out_classes.to(device)
        self._judge = Judge(pictures, extractor)
        self._extractor = extractor.identity
        self._maker = Maker(self._train, pictures.digest, sizes, steps, artefacts)
        self.objectives = (CALLS, RFID, BITS, GFID) if generate else (CALLS, RFID, BITS)
        self.samples = samples
        self.check_samples(samples)
        self.environment = environment(device)

    def check_samples(self, samples: int) -> None:
        """Refuse no training at all."""
        if samples < 1:
            raise BadInput(f"a tokenizer is judged by 1 training or more, not by {samples}.")

    def plain(self) -> Component:
        """Cosine VQ of 512 codes on 8 x 8 places, to which others are compared."""
        return from_tree({"is": "candidates/image_tokenizing"})

    def context(self) -> Mapping[str, Any]:
        return {
            **identity(self._pictures),
            "sizes": asdict(self._sizes),
            "steps": self._steps,
            "precision": f"{self._maker.precision}, {precision(self._device)}",
            "model": asdict(self._budget) if self._generate else {},
            "generate": self._generate,
            "libraries": libraries(),
            "bits": "in a code for what is trained on",
        }

    def record(self) -> bytes:
        """Nothing: tokenizers are compared by their settings, and by what they make of images."""
        return b""

    def behaviour(self, candidate: Component, recording: bytes) -> Behaviour:
        """The settings, without those that nothing here is judged by.

        Equal tokens and images are found out after training: see `sample`.
        """
        tokenizer = _tokenizer(candidate)
        tree = dict(to_tree(tokenizer))
        ignored = () if self._generate else tokenizer.modelling
        told = {name: value for name, value in tree.items() if name not in ignored}
        return Behaviour(
            context=self.context(),
            target=(),
            drafting={
                "tokenizer": told,
                "budget": float(candidate.budget),
                "libraries": own_libraries(tokenizer),
            },
            rule=(),
            lossless=False,
            evidence={"lossless": "no"},
            conditions={"extractor": self._extractor},
            runtime={"tokenizer": tree},
        )

    def sample(self, candidate: Component, samples: int, seed: int, report: Report) -> Sampled:
        """Train, reconstruct all held-out images and generate others, once for each seed.

        What was trained before is not trained again. Tokens are digests: of equal ones the same
        was made, whatever the settings say.
        """
        begun = time.perf_counter()
        runs, digests = [], []
        for nth in range(samples):

            def say(phase: str, share: float, nth: int = nth) -> None:
                which = f"training {nth + 1} of {samples}: " if samples > 1 else ""
                report(which + phase, 0.95 * (nth + share) / samples)

            run, made = self._run(candidate, seed + nth, say)
            runs.append(run)
            digests.append(made)
        words = [np.frombuffer(bytes.fromhex(made), dtype="<i8") for made in digests]
        seconds = time.perf_counter() - begun
        return Sampled(np.stack(words).astype(np.int64), (), seconds, (runs, seed))

    def judge(self, sampled: Sampled, report: Report) -> Observed:
        """Distances of images, and the rate, over seeds."""
        begun = time.perf_counter()
        runs, seed = sampled.payload
        numbers: list[dict[str, float]] = []
        spreads: list[dict[str, float]] = []
        for nth, run in enumerate(runs):
            report(f"judging training {nth + 1} of {len(runs)}", 0.95 + 0.05 * nth / len(runs))
            seen = self._judge.reconstructed(run.images)
            values, scatter = {**run.numbers, **seen.values}, {**run.spreads, **seen.spreads}
            if run.generated is not None:
                drawn = self._judge.generated(run.generated)
                values, scatter = values | drawn.values, scatter | drawn.spreads
            numbers.append(values)
            spreads.append(scatter)
        under = Conditions(len(self._held_out), self._generate, self._extractor)
        detail = {
            "seeds": [seed + nth for nth in range(len(runs))],
            "per_run": numbers,
            "runs": [run.told for run in runs],
        }
        seconds = sampled.seconds + time.perf_counter() - begun
        return Observed(quantities(numbers, spreads, under), seconds, detail)

    def speed(self, candidate: Component, report: Report) -> Observed:
        """Calls, counted, and the time of encoding and decoding by an untrained network.

        What it has learnt changes neither.
        """
        begun = time.perf_counter()
        report("counting calls", 0.0)
        coder = self._maker.untrained(_tokenizer(candidate))
        counted = calls(coder, self._held_out)
        timed = times(coder, self._held_out, report)
        trace = np.array([round(1e6 * counted.value), coder.calls], dtype=np.int64)
        return Observed((counted, *timed), time.perf_counter() - begun, {}, (trace,))

    def generate(
        self,
        tree: Mapping[str, Any],
        classes: tuple[int, ...],
        samples: int,
        seed: int,
        study_seed: int,
        report: Report,
    ) -> Any:
        """Images uint8 [n, 32, 32] that a model of the tokenizer's tokens draws.

        Both are trained first where they are not kept.
        """
        candidate = from_tree(tree)
        for one in classes:
            if not 0 <= one < CLASSES:
                raise BadInput(f"class {one} does not exist: the model knows 0 to {CLASSES - 1}.")
        among = classes or tuple(range(CLASSES))
        wanted = torch.tensor([among[nth % len(among)] for nth in range(samples)])
        coder = self._coder(candidate, study_seed, Counts(), report)
        model = self._model(candidate, coder, coder.encode(self._train))
        model.train(study_seed, _within(report, "training a model", 0.5, 0.8))
        drawing = _within(report, "drawing", 0.8, 1.0)
        made = self._drawn(model, coder, wanted.to(self._device), seed, drawing)
        return made.images[:, 0].cpu().numpy()

    def save(self, candidate: Component, folder: Path, seed: int, say: Say) -> Coder:
        """Write the trained tokenizer into a folder; see `image_tokenizers.writing`."""
        tokenizer, budget = _tokenizer(candidate), float(candidate.budget)
        learner = self._maker.learner(tokenizer, budget, seed, Counts(), say)
        return save(tokenizer, learner, self._sizes, self._train, folder)

    def _run(self, candidate: Component, seed: int, say: Report) -> tuple[_Run, str]:
        counts = Counts()
        coder = self._coder(candidate, seed, counts, say)
        say("reconstructing", 0.5)
        ids = coder.encode(self._held_out)
        decoded = coder.decode(ids, seed)
        trained_on = coder.encode(self._train)
        cost = rate(coder.layout, ids, coder.kept, trained_on)
        numbers = {
            "bits": cost.bits, "h0_bits": cost.bits, "raw_bits": cost.raw_bits,
            "tokens": cost.tokens, "usage": cost.usage, "perplexity": cost.perplexity,
            **coder.facts(self._held_out),
        }  # fmt: skip
        spreads = {"bits": cost.bits_error, "h0_bits": cost.bits_error}
        told: dict[str, Any] = {}
        generated, key = None, ""
        if self._generate:
            model = self._model(candidate, coder, trained_on)
            key = model.train(seed, _within(say, "training a model", 0.5, 0.8))
            bits = model.bits(ids, self._held_out_classes, coder.kept)
            numbers["bits"] = numbers["nll_bits"] = float(bits.mean())
            spreads["bits"] = spreads["nll_bits"] = float(bits.std()) / len(bits) ** 0.5
            wanted = torch.arange(self._generate, device=self._device) % CLASSES
            made = self._drawn(model, coder, wanted, seed, _within(say, "drawing", 0.8, 0.95))
            generated = made.images
            numbers["generated_broken"] = float(made.broken.double().mean())
            told = {"model": key, "model_steps": model.steps}
            counts.trained += model.counts.trained
            counts.spared += model.counts.spared
        told |= {"trained_steps": counts.trained, "spared_steps": counts.spared}
        for name, value in numbers.items():
            if not np.isfinite(value):
                raise MeasurementFailed("nan", f"{name} is {value}: training diverged")
        emitted = digest(
            _pixels_of(ids[:, : coder.kept]), _pixels_of(decoded.images), key, coder.calls,
            coder.layout.entries, "" if generated is None else _pixels_of(generated),
        )  # fmt: skip
        return _Run(numbers, spreads, decoded.images, generated, told), emitted

    def _coder(self, candidate: Component, seed: int, counts: Counts, say: Report) -> Coder:
        told = _within(say, "training the tokenizer", 0.0, 0.5)
        budget = float(candidate.budget)
        return self._maker.coder(_tokenizer(candidate), budget, seed, counts, told)

    def _model(self, candidate: Component, coder: Coder, ids: Tensor) -> Model:
        """Of the tokens of all that is trained on."""
        operations = float(candidate.budget) * self._budget.operations
        budget = replace(self._budget, operations=operations)
        return Model(coder.layout, ids, self._classes, budget, self._models)

    def _drawn(self, model: Model, coder: Coder, classes: Tensor, seed: int, say: Say) -> Decoded:
        at_once = _DRAWN_AT_ONCE[self._device.type]
        return coder.decode(model.drawn(classes, coder.kept, seed, at_once, say), seed)


def _tokenizer(candidate: Component) -> ImageTokenizer:
    tokenizer = getattr(candidate, "tokenizer", None)
    if not isinstance(tokenizer, ImageTokenizer):
        raise MeasurementFailed(
            "unsupported",
            f"{candidate.tag()} has no tokenizer of images: this workload searches "
            "candidates/image_tokenizing.",
        )
    return tokenizer


def _pixels_of(tensor: Tensor) -> str:
    """A digest of numbers and shape."""
    values = tensor.cpu().contiguous().numpy()
    return xxhash.xxh3_128_hexdigest(f"{values.shape}".encode() + values.tobytes())


def _within(say: Report, what: str, first: float, last: float) -> Say:
    """Told steps of a number of them, which are a part of the whole."""

    def told(step: int, of: int) -> None:
        say(f"{what}: {step} of {of}", first + (last - first) * step / of)

    return told
