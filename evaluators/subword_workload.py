"""Subword tokenizers: trained on a text, judged by how short and how predictable they make another.

Few tokens make a model fast, few bits a byte make it good, and each costs the other something: a
large vocabulary makes few tokens, each of which costs more arithmetic. So a small model is trained
on every tokenizer's tokens with the same arithmetic. A "sample" is one such training with a seed of
its own. Encoding is timed as one thread's processor time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xxhash

from paretoken.evaluators.environment import environment
from paretoken.evaluators.subwords.corpus import Corpus
from paretoken.evaluators.subwords.language import Language, Sizes
from paretoken.evaluators.subwords.packed import packed
from paretoken.evaluators.subwords.split import Split, split
from paretoken.evaluators.subwords.subword import Subword
from paretoken.evaluators.timing import mean_and_error, repeat
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput, MeasurementFailed
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Quantity
from paretoken.spaces.workload import Behaviour, Observed, Report, Sampled

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ENCODE = Objective(
    "encode_mb_per_s", "MB/s", True, "Megabytes of text encoded a second of one thread's CPU time."
)
TOKENS = Objective("tokens_per_byte", "tokens/byte", False, "Tokens of the held-out text a byte.")
BITS = Objective(
    "bits_per_byte", "bits/byte", False, "Held-out bits a byte of a small model of fixed compute."
)
_VERSION = "paretoken tokenizer 1"
# What is lost where it can be, and what only bytes can write: whoever loads the exported tokenizer
# can see whether it makes the same ids of it.
_PROBE = "  It's 3.14 in the Caf\u00e9\t\u2014 na\u00efve, A\u030a \u5f35 \U0001f600\r\n\n"
_PROBED = 400  # characters of held-out text in front of it
# Encoding the held-out text takes some milliseconds: what is timed, and how often begun anew.
_MOMENTS, _LEAST, _MOST, _ENOUGH_S = 5, 5, 40, 0.25


@dataclass(frozen=True)
class _Known:
    """A trained tokenizer. text: its tokenizer.json."""

    text: str
    split: Split

    @property
    def digest(self) -> str:
        return xxhash.xxh3_128_hexdigest(self.text.encode())


class SubwordWorkload:
    """corpus: the text. sizes: of the model. samples: trainings of it. artefacts: where trained
    tokenizers are kept; models: where trained models are.
    """

    objectives = (ENCODE, BITS, TOKENS)

    def __init__(
        self,
        corpus: Corpus,
        sizes: Sizes,
        *,
        samples: int,
        artefacts: Artefacts,
        models: Artefacts,
        device: torch.device,
    ) -> None:
        self._corpus, self._sizes = corpus, sizes
        self._artefacts, self._models, self._device = artefacts, models, device
        self.samples = samples
        self.check_samples(samples)
        self.environment = environment(device)
        self._last: tuple[str, _Known] | None = None

    def check_samples(self, samples: int) -> None:
        """Refuse a single training: it has no spread."""
        if samples < 2:
            raise BadInput(
                "a tokenizer is judged by 2 trainings of the small model or more, each with its "
                f"own seed, not by {samples}."
            )

    def plain(self) -> Component:
        """Byte-level BPE of 1,024 entries: what most models use, and others are compared to."""
        return from_tree({"is": "candidates/tokenizing"})

    def context(self) -> Mapping[str, Any]:
        sizes = {name: getattr(self._sizes, name) for name in self._sizes.__dataclass_fields__}
        return {"corpus": self._corpus.digest, "model": sizes}

    def record(self) -> bytes:
        """Nothing: tokenizers are compared by what they make of the text."""
        return b""

    def prepare(self, candidate: Component, report: Report) -> str:
        """Train the tokenizer, and cut the text with it."""
        report("training the tokenizer", 0.0)
        return self._known(candidate).digest

    def behaviour(self, candidate: Component, recording: bytes) -> Behaviour:
        """The tokens of all text: two tokenizers that make the same of it are judged once.

        How fast it encodes is a matter of the tokenizer itself, entry by entry.
        """
        begun = time.perf_counter()
        known = self._known(candidate)
        halves = (known.split.train, known.split.held_out)
        return Behaviour(
            context=self.context(),
            target=(),
            drafting={"split": known.split.digest, "budget": float(candidate.budget)},
            rule=(),
            lossless=False,
            evidence={"lossless": "no", "restored_bytes": sum(half.bytes for half in halves)},
            conditions={},
            runtime={"tokenizer": known.digest},
            seconds=time.perf_counter() - begun,
        )

    def sample(self, candidate: Component, samples: int, seed: int, report: Report) -> Sampled:
        """Train the small model so often; what was trained alike before is not trained again."""
        begun = time.perf_counter()
        known = self._known(candidate)
        budget = float(candidate.budget) * self._sizes.budget
        sizes = replace(self._sizes, budget=budget)
        language = Language(known.split, sizes, self._models, self._device)
        keys = []
        for nth in range(samples):

            def say(step: int, of: int, nth: int = nth) -> None:
                told = f"model {nth + 1} of {samples}: step {step} of {of}"
                report(told, 0.95 * (nth + step / of) / samples)

            keys.append(language.train(seed + nth, say))
        words = [np.frombuffer(bytes.fromhex(key), dtype="<i8") for key in keys]
        seconds = time.perf_counter() - begun
        payload = (known.split, language, keys, seed, budget)
        return Sampled(np.stack(words).astype(np.int64), (), seconds, payload)

    def judge(self, sampled: Sampled, report: Report) -> Observed:
        """Bits a byte over seeds, and what is counted."""
        begun = time.perf_counter()
        split, language, keys, seed, budget = sampled.payload
        bits = []
        for nth, key in enumerate(keys):
            report(f"judging model {nth + 1} of {len(keys)}", 0.95 + 0.05 * nth / len(keys))
            bits.append(language.bits_per_byte(key))
        if not np.isfinite(bits).all():
            raise MeasurementFailed("nan", "bits a byte are no number: training diverged")
        mean, error = mean_and_error(bits)
        of = split.held_out
        comparable = f"{len(keys)} models of {budget / 1e9:g} GFLOPs each"
        model = {
            "spread_from": "standard error over seeds",
            "steps": language.steps,
            "operations_per_token": language.operations,
            "bytes_seen": language.bytes_seen,
        }
        counted = {
            "tokens_per_byte": (len(of.ids) / of.bytes, "tokens/byte"),
            "tokens_per_word": (len(of.ids) / of.words, "tokens/word"),
            "order0_bits_per_byte": (of.order0_bits / of.bytes, "bits/byte"),
            "unknown_bits_per_byte": (of.spelt_bits / of.bytes, "bits/byte"),
            "entries": (split.vocabulary, "entries"),
        }
        quantities = [
            Quantity(name, float(value), 0.0, of.bytes, unit, False)
            for name, (value, unit) in counted.items()
        ]
        quantities.append(
            Quantity("bits_per_byte", mean, error, len(bits), "bits/byte", False, comparable, model)
        )
        detail = {
            "seeds": [seed + nth for nth in range(len(keys))],
            "per_run": bits,
            "artefacts": keys,
            "unknown_tokens": of.unknown,
            "trained_steps": language.trainer.counts.trained,
            "spared_steps": language.trainer.counts.spared,
        }
        seconds = sampled.seconds + time.perf_counter() - begun
        return Observed(tuple(quantities), seconds, detail)

    def speed(self, candidate: Component, report: Report) -> Observed:
        """Megabytes encoded a second: documents one by one, words met before remembered."""
        from tokenizers import Tokenizer

        begun = time.perf_counter()
        known = self._known(candidate)
        documents = self._corpus.held_out
        made: list[Tokenizer] = []

        def anew() -> None:
            report("timing encoding", 0.5)
            made[:] = [Tokenizer.from_str(known.text)]

        def work(nth: int) -> float:
            (tokenizer,) = made
            # Processor time: one thread computes and waits for nothing, so on an idle machine it
            # is the time that passes, and what else the machine does is not in it.
            started = time.thread_time()
            for document in documents:
                tokenizer.encode(document, add_special_tokens=False)
            return time.thread_time() - started

        timed = repeat(
            work,
            warm_up=2,
            least=_LEAST,
            most=_MOST,
            enough_s=_ENOUGH_S,
            moments=_MOMENTS,
            anew=anew,
        )
        probe = documents[0][:_PROBED] + _PROBE
        size = sum(len(document.encode()) for document in documents)
        rate = size / 1e6 / timed.median
        detail = {
            "text_bytes": size,
            "tokenizer": {
                "packed": packed(known.text),
                "digest": known.digest,
                "probe": {"text": probe, "ids": made[0].encode(probe).ids},
            },
        }
        speed = Quantity(
            "encode_mb_per_s", rate, rate * timed.spread / timed.median, len(timed.seconds),
            "MB/s", True, "", detail,
        )  # fmt: skip
        trace = np.frombuffer(bytes.fromhex(known.digest), dtype="<i8").astype(np.int64)
        return Observed((speed,), time.perf_counter() - begun, {}, (trace,))

    def generate(
        self,
        tree: Mapping[str, Any],
        classes: tuple[int, ...],
        samples: int,
        seed: int,
        study_seed: int,
        report: Report,
    ) -> Any:
        """Nothing: a tokenizer is exported."""
        raise BadInput(
            "a tokenizer generates nothing: write it with paretoken export --to tokenizer-json."
        )

    def _known(self, candidate: Component) -> _Known:
        """The trained tokenizer and its split, trained unless it was before."""
        tokenizer = getattr(candidate, "tokenizer", None)
        if not isinstance(tokenizer, Subword):
            raise MeasurementFailed(
                "unsupported",
                f"{candidate.tag()} has no tokenizer: this workload searches "
                "candidates/tokenizing.",
            )
        key = self._train_key(tokenizer)
        if self._last is None or self._last[0] != key:
            text = self._trained(tokenizer, key)
            self._last = key, _Known(text, self._split(text))
        return self._last[1]

    def _split(self, text: str) -> Split:
        from tokenizers import Tokenizer

        return split(Tokenizer.from_str(text), self._corpus.train, self._corpus.held_out)

    def _train_key(self, tokenizer: Subword) -> str:
        """A digest of all that determines the trained tokenizer."""
        libraries = [version("tokenizers"), version("sentencepiece")]
        told = [_VERSION, libraries, self._corpus.digest, to_tree(tokenizer)]
        return xxhash.xxh3_128_hexdigest(json.dumps(told, sort_keys=True).encode())

    def _trained(self, tokenizer: Subword, key: str) -> str:
        kept = self._artefacts.load(key, "tokenizer")
        if kept is not None:
            return bytes(kept.tensors["tokenizer"]["json"].numpy()).decode()
        text: str = tokenizer.train(self._corpus.train).to_str()
        tensor = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
        self._artefacts.save(key, {"tokenizer": {"json": tensor}}, {"tree": to_tree(tokenizer)})
        return text
