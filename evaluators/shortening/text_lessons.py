"""Lessons of a language model: its own answers to prompts that are made up, not those judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import xxhash

from paretoken.evaluators.models.corpus import read_corpus
from paretoken.evaluators.models.weights import digest_of
from paretoken.evaluators.shortening.course import TextCourse
from paretoken.evaluators.shortening.school import School
from paretoken.evaluators.shortening.teaching import Sizes
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.evaluators.workloads.text.head_data import Answers, learned

if TYPE_CHECKING:
    from paretoken.evaluators.text_answering import Answering

_VERSION = "paretoken lessons 1"
_ROWS = {"cpu": 8, "cuda": 512}  # prompts that are answered side by side
_SEED = 20_261
_TOLD = 4_000  # characters of the corpus that a tokenizer is known by


@dataclass(frozen=True)
class TextLessons:
    """folder: where answers and what is learnt from them are kept. tokens: of an answer at most."""

    folder: Path
    sizes: Sizes
    tokens: int

    def school(self, answering: Answering, corpus: Path) -> School:
        """Where the depths of a model learn. corpus: a text that prompts are about."""
        device, text = answering.device.type, read_corpus(corpus)
        identity = {
            "course": _VERSION,
            "model": digest_of(answering.model),
            "asked_in": _asked_in(answering, text[:_TOLD]),
            "corpus": xxhash.xxh3_128_hexdigest(text.encode()),
            "tokens": self.tokens,
            "arithmetic": "bfloat16 on cuda" if device == "cuda" else "float32",
        }

        def course() -> TextCourse:
            dtype = torch.bfloat16 if device == "cuda" else torch.float32
            target = answering.target_in(dtype)
            found = self._answers(target.model, answering.tokenizer, corpus, identity, school)
            return TextCourse(
                target, *(part.clone().long() for part in (found.lines, found.begins, found.ends))
            )

        school = School(course, sizes=self.sizes, identity=identity, folder=self.folder)
        return school

    def _answers(
        self, model: Any, tokenizer: Any, corpus: Path, identity: Mapping[str, Any], school: School
    ) -> Answers:  # fmt: skip
        kept = Artefacts(self.folder, "answers")
        told = [dict(identity), self.sizes.lessons]
        key = xxhash.xxh3_128_hexdigest(json.dumps(told, sort_keys=True).encode())
        found = kept.load(key, "answers")
        if found is None:
            wanted = self.sizes.lessons

            def due(known: Answers) -> bool:
                done = min(len(known.lines), wanted)
                school.report(f"{done} of {wanted} answers to learn from", done / wanted)
                return False

            with torch.random.fork_rng(
                devices=[torch.cuda.current_device()] if model.device.type == "cuda" else []
            ):
                answers = learned(
                    model, tokenizer, read_corpus(corpus), wanted, tokens=self.tokens,
                    batch=min(wanted, _ROWS[model.device.type]), seed=_SEED, known=None, due=due,
                    say=lambda line: None,
                )  # fmt: skip
            assert answers is not None
            tensors = {name: value[:wanted].clone() for name, value in vars(answers).items()}
            kept.save(key, {"answers": tensors}, {"lessons": wanted})
            return Answers(**tensors)
        return Answers(**found.tensors["answers"])


def _asked_in(answering: Answering, text: str) -> str:
    """How prompts reach the model and where answers end: weights do not tell."""
    tokenizer = answering.tokenizer
    tokens = tokenizer(text, verbose=False)["input_ids"]
    told = [tokenizer.chat_template, tokens, answering.ends]
    return xxhash.xxh3_128_hexdigest(json.dumps(told).encode())
