"""Image tokenizers: trained on images, judged by what they keep, what they cost and how they serve.

Few tokens make a model fast: `sequential_calls` counts the model's calls and the decoder's to a
finished image. Few `bits` make tokens easy to predict, and both cost detail. A "sample" is one
training with a seed of its own; with a single one, spreads are over images alone. How many images
are judged is the workload's own. What was trained is kept under a key of all that it depends on,
which settings of decoding are not among.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
import xxhash
from torch import Tensor

from paretoken.evaluators.environment import environment
from paretoken.evaluators.image_tokenizers.autoregressive import Budget, Model, digest
from paretoken.evaluators.image_tokenizers.codec import library
from paretoken.evaluators.image_tokenizers.coder import Coder, rate
from paretoken.evaluators.image_tokenizers.family import ImageTokenizer, Learner, Sizes
from paretoken.evaluators.image_tokenizers.fitting import Fit, Recipe
from paretoken.evaluators.image_tokenizers.judging import Judge
from paretoken.evaluators.image_tokenizers.pictures import Pictures, identity
from paretoken.evaluators.metrics.extractors import Extractor
from paretoken.evaluators.timing import mean_and_error, repeat
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.evaluators.training.trainer import Counts
from paretoken.evaluators.workloads.fashion.data import pixels
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput, MeasurementFailed
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Quantity
from paretoken.spaces.workload import Behaviour, Observed, Report, Sampled

CALLS = Objective(
    "sequential_calls", "calls", False, "Calls of model and decoder, one after the other, an image."
)
RFID = Objective(
    "rfid", "squared feature units", False, "Frechet distance of reconstructions to originals."
)
BITS = Objective("bits", "bits/image", False, "Of an image's tokens, under the best model there is.")
GFID = Objective(
    "gfid", "squared feature units", False, "Frechet distance of generated images to real ones."
)
_VERSION = "paretoken image tokenizer 1"
_COLLAPSED = 0.05  # perplexity, as a share of the codebook
_LOOKED_AT = 0.2  # share of training after which a codebook is looked at
_PROBED = 256  # images that it is looked at with
_STATISTICS = 10_000  # images at most that a tokenizer's statistics are taken of
_PEAK = 2e-3
_DRAWN_AT_ONCE = {"cpu": 100, "cuda": 1000}
_TIMED_AT_ONCE = {"cpu": 50, "cuda": 250}
_UNITS = {
    "h0_bits": "bits/image", "nll_bits": "bits/image", "raw_bits": "bits/image",
    "tokens": "tokens/image", "usage": "fraction", "perplexity": "entries", "psnr": "dB",
    "paired_distance": "squared feature units", "broken": "fraction", "out_of_range": "fraction",
    "rfid": RFID.unit, "gfid": GFID.unit, "bits": BITS.unit, "generated_broken": "fraction",
}  # fmt: skip
_HIGHER = frozenset({"usage", "perplexity", "psnr"})


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
        self._artefacts, self._models = artefacts, models
        self._train, self._classes = pictures.train.to(device), pictures.classes.to(device)
        self._held_out = pictures.held_out.to(device)
        self._held_out_classes = pictures.held_out_classes.to(device)
        self._judge = Judge(pictures, extractor)
        self._extractor = extractor.identity
        self._ready: tuple[str, Learner | None] | None = None
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
            "model": asdict(self._budget) if self._generate else {},
            "generate": self._generate,
            "libraries": _libraries(),
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
            drafting={"tokenizer": told, "budget": float(candidate.budget)},
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
        quantities = tuple(self._quantity(name, numbers, spreads) for name in numbers[0])
        detail = {
            "seeds": [seed + nth for nth in range(len(runs))],
            "per_run": numbers,
            "runs": [run.told for run in runs],
        }
        return Observed(quantities, sampled.seconds + time.perf_counter() - begun, detail)

    def speed(self, candidate: Component, report: Report) -> Observed:
        """Calls, counted, and the time of encoding and decoding by an untrained network.

        What it has learnt changes neither.
        """
        begun = time.perf_counter()
        tokenizer = _tokenizer(candidate)
        report("timing encoding and decoding", 0.0)
        coder = self._coder(tokenizer, self._untrained(tokenizer, 0))
        ids = coder.encode(self._held_out)
        tokens = rate(coder.layout, ids, coder.kept).tokens
        at_once = min(_TIMED_AT_ONCE[self._device.type], len(ids))
        images, ids = self._held_out[:at_once], ids[:at_once]
        quantities = [
            Quantity(
                "sequential_calls", tokens + coder.calls, 0.0, len(self._held_out), "calls", False,
                detail={"model": tokens, "decoder": coder.calls},
            )
        ]  # fmt: skip
        for nth, (name, call) in enumerate(
            (
                ("encode_ms", lambda: coder.encode(images)),
                ("decode_ms", lambda: coder.decode(ids, 0)),
            )
        ):
            report(f"timing {name}", (1 + nth) / 3)

            def work(_: int, call: Any = call) -> float:
                started = time.perf_counter()
                call()
                if self._device.type == "cuda":
                    torch.cuda.synchronize()
                return time.perf_counter() - started

            timed = repeat(work, warm_up=2, least=5, most=20, enough_s=0.3)
            each = 1e3 / at_once
            quantities.append(
                Quantity(
                    name, each * timed.median, each * timed.spread, len(timed.seconds), "ms/image",
                    False, f"{at_once} at once", {"batch": at_once},
                )
            )  # fmt: skip
        trace = np.array([round(1e6 * tokens), coder.calls], dtype=np.int64)
        return Observed(tuple(quantities), time.perf_counter() - begun, {}, (trace,))

    def generate(
        self, tree: Mapping[str, Any], classes: tuple[int, ...], samples: int, seed: int
    ) -> Any:
        """Images uint8 [n, 32, 32] that a model of the tokenizer's tokens draws."""
        candidate = from_tree(tree)
        wanted = torch.tensor(
            [(classes or tuple(range(10)))[nth % (len(classes) or 10)] for nth in range(samples)],
            device=self._device,
        )
        with_model = self._with_model(candidate, seed, lambda phase, share: None)
        return with_model(wanted, lambda done, of: None)[0][:, 0].cpu().numpy()

    def _run(self, candidate: Component, seed: int, say: Report) -> tuple[_Run, str]:
        tokenizer, budget = _tokenizer(candidate), float(candidate.budget)
        counts = Counts()
        learner = self._trained(tokenizer, budget, seed, counts, say)
        coder = self._coder(tokenizer, learner)
        say("reconstructing", 0.5)
        ids = coder.encode(self._held_out)
        decoded = coder.decode(ids, seed)
        cost = rate(coder.layout, ids, coder.kept)
        numbers = {
            "bits": cost.bits, "h0_bits": cost.bits, "raw_bits": cost.raw_bits,
            "tokens": cost.tokens, "usage": cost.usage, "perplexity": cost.perplexity,
            **coder.facts(self._held_out),
        }  # fmt: skip
        if bool(decoded.broken.any()):
            numbers["broken"] = float(decoded.broken.double().mean())
        spreads: dict[str, float] = {}
        told: dict[str, Any] = {"steps": counts.trained + counts.spared}
        generated, key = None, ""
        if self._generate:
            model = self._model(coder, budget)
            key = model.train(seed, _within(say, "training a model", 0.5, 0.8))
            bits = model.bits(ids, self._held_out_classes, coder.kept)
            numbers["bits"] = numbers["nll_bits"] = float(bits.mean())
            spreads["bits"] = spreads["nll_bits"] = float(bits.std()) / len(bits) ** 0.5
            wanted = torch.arange(self._generate, device=self._device) % 10
            drawn = model.drawn(
                wanted, coder.kept, seed, _DRAWN_AT_ONCE[self._device.type],
                _within(say, "drawing tokens", 0.8, 0.95),
            )  # fmt: skip
            made = coder.decode(drawn, seed)
            generated = made.images
            if not coder.calls:
                numbers["generated_broken"] = float(made.broken.double().mean())
            told |= {"model": key, "model_steps": model.steps}
            counts.trained += model.counts.trained
            counts.spared += model.counts.spared
        told |= {"trained_steps": counts.trained, "spared_steps": counts.spared}
        self._finite(numbers)
        run = _Run(numbers, spreads, decoded.images, generated, told)
        made_of = digest(
            _bytes_of(ids[:, : coder.kept]), _bytes_of(decoded.images), key,
            "" if generated is None else _bytes_of(generated), coder.calls, coder.layout.entries,
        )  # fmt: skip
        return run, made_of

    def _with_model(self, candidate: Component, seed: int, say: Report) -> Any:
        """A function from classes to decoded images and their tokens."""
        tokenizer, budget = _tokenizer(candidate), float(candidate.budget)
        coder = self._coder(tokenizer, self._trained(tokenizer, budget, seed, Counts(), say))
        model = self._model(coder, budget)
        model.train(seed, _within(say, "training a model", 0.5, 0.8))
        at_once = _DRAWN_AT_ONCE[self._device.type]

        def draw(classes: Tensor, told: Any) -> tuple[Tensor, Tensor]:
            drawn = model.drawn(classes, coder.kept, seed, at_once, told)
            return coder.decode(drawn, seed).images, drawn

        return draw

    def _model(self, coder: Coder, budget: float) -> Model:
        share = Budget(**{**asdict(self._budget), "operations": budget * self._budget.operations})
        ids = coder.encode(self._train)
        return Model(coder.layout, ids, self._classes, share, self._models)

    def _coder(self, tokenizer: ImageTokenizer, learner: Learner | None) -> Coder:
        return tokenizer.coder(learner, self._train[:_STATISTICS])

    def _untrained(self, tokenizer: ImageTokenizer, seed: int) -> Learner | None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            learner = tokenizer.learner(self._sizes)
        return None if learner is None else learner.to(self._device).eval()

    def _trained(
        self, tokenizer: ImageTokenizer, budget: float, seed: int, counts: Counts, say: Report
    ) -> Learner | None:
        """The network, trained unless it was before."""
        steps = max(1, round(budget * self._steps))
        recipe = Recipe(
            steps, self._sizes.batch, _PEAK,
            "bfloat16" if self._device.type == "cuda" else "float32",
        )  # fmt: skip
        key = digest(
            _VERSION, _libraries(), self._pictures.digest, asdict(self._sizes), asdict(recipe),
            tokenizer.tag(), tokenizer.trained(), seed,
        )  # fmt: skip
        if self._ready is not None and self._ready[0] == key:
            counts.spared += steps if self._ready[1] is not None else 0
            return self._ready[1]
        learner = self._untrained(tokenizer, seed)
        if learner is not None:
            fit = Fit(
                learner, lambda picked: learner.loss(pixels(self._train[picked])),
                len(self._train), recipe, self._device,
                watch=lambda step: self._watch(learner, step, steps), counts=counts,
            )  # fmt: skip
            fit.train(key, self._artefacts, seed, _within(say, "training the tokenizer", 0.0, 0.5))
            learner.eval()
        self._ready = key, learner
        return learner

    def _watch(self, learner: Learner, step: int, steps: int) -> None:
        """Give up a codebook that collapses: looked at early, and at the end."""
        early = int(_LOOKED_AT * steps) // 10 * 10
        if not learner.guarded or step not in (early, steps):
            return
        learner.eval()
        with torch.inference_mode():
            chosen = learner.chosen(pixels(self._train[:_PROBED]))
        learner.train()
        share = torch.bincount(chosen, minlength=learner.guarded).double() / len(chosen)
        perplexity = float(torch.exp(-(share * share.clamp_min(1e-300).log()).sum()))
        least = _COLLAPSED * min(learner.guarded, len(chosen))
        if perplexity < least:
            raise MeasurementFailed(
                "collapsed",
                f"after {step} of {steps} steps {len(chosen)} tokens have a perplexity of "
                f"{perplexity:.1f}, less than {least:.1f}, a twentieth of what there is to choose "
                "from: take a smaller codebook.",
            )

    def _finite(self, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            if not np.isfinite(value):
                raise MeasurementFailed("nan", f"{name} is {value}: training diverged")

    def _quantity(
        self, name: str, runs: Sequence[Mapping[str, float]], spreads: Sequence[Mapping[str, float]]
    ) -> Quantity:
        values = [run[name] for run in runs]
        if len(values) > 1:
            value, spread = mean_and_error(values)
            source = f"standard error over {len(values)} seeds"
        else:
            (value,) = values
            spread, source = spreads[0].get(name, 0.0), "over images of one training"
        images = self._generate if name == "gfid" else len(self._held_out)
        by = f"{len(values)} trainings, {images} images"
        if name == "bits":
            by += ", by a model" if self._generate else ", order 0"
        if name in ("rfid", "gfid", "paired_distance"):
            by += f", {self._extractor}"
        return Quantity(
            name, value, spread, len(values) * images, _UNITS[name], name in _HIGHER, by,
            {"spread_from": source, "images": images},
        )  # fmt: skip


def _tokenizer(candidate: Component) -> ImageTokenizer:
    tokenizer = getattr(candidate, "tokenizer", None)
    if not isinstance(tokenizer, ImageTokenizer):
        raise MeasurementFailed(
            "unsupported",
            f"{candidate.tag()} has no tokenizer of images: this workload searches "
            "candidates/image_tokenizing.",
        )
    return tokenizer


def _libraries() -> list[str]:
    """What other versions of may train and code differently."""
    return [version("vector-quantize-pytorch"), *library()]


def _bytes_of(tensor: Tensor) -> str:
    values = tensor.cpu().contiguous().numpy()
    return xxhash.xxh3_128_hexdigest(f"{values.shape}".encode() + values.tobytes())


def _within(say: Report, what: str, first: float, last: float) -> Any:
    """Told steps of a number of them, which are a part of the whole."""

    def told(step: int, of: int) -> None:
        say(f"{what}: {step} of {of}", first + (last - first) * step / of)

    return told
