"""Lessons of an image model: images that it draws itself, classes in turn, none of those judged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import xxhash

from paretoken.evaluators.engine.decode import Decoding
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.models.image_target import ImageTarget
from paretoken.evaluators.models.llamagen import Transformer
from paretoken.evaluators.shortening.course import ImageCourse
from paretoken.evaluators.shortening.school import School
from paretoken.evaluators.shortening.teaching import Sizes
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.spaces.candidate import from_tree

# How much is learnt where nobody says so.
LESSONS = {
    "cpu": {"lessons": 24, "steps": 30, "lesson_batch": 4, "calibration": 8, "trials": 24},
    "cuda": {"lessons": 512, "steps": 300, "lesson_batch": 32, "calibration": 64, "trials": 100},
}
_VERSION = "paretoken image lessons 1"
_ROWS = {"cpu": 32, "cuda": 512}  # drawn side by side
_FIRST = 1 << 25  # row ids from here on belong to lessons: no image that is judged is among them
# Token for token plain decoding, in a quarter of the forwards.
_DRAWN_BY = {
    "is": "decoders/speculative",
    "drafter": {"is": "drafters/jacobi", "window": 16, "coupling": "gumbel"},
}


@dataclass(frozen=True)
class ImageLessons:
    """folder: where images and what is learnt from them are kept."""

    folder: Path
    sizes: Sizes

    def school(self, model: Transformer, identity: str, device: torch.device) -> School:
        """Where the depths of a model learn. identity: of the model, its grid included."""
        on = device.type
        told = {
            "course": _VERSION,
            "model": identity,
            "arithmetic": "bfloat16 on cuda" if on == "cuda" else "float32",
        }

        def course() -> ImageCourse:
            target = ImageTarget(model, device, torch.float32)
            many = self.sizes.lessons
            classes = torch.arange(many) % model.config.classes
            kept = Artefacts(self.folder, "answers")
            written = json.dumps([told, many], sort_keys=True)
            key = xxhash.xxh3_128_hexdigest(written.encode())
            found = kept.load(key, "answers")
            if found is None:
                school.report(f"drawing {many} images to learn from", 0.0)
                candidate = from_tree({"decoder": _DRAWN_BY, "runtime": {"is": "runtimes/local"}})
                rows = target.model.tok_embeddings.weight.detach()
                decoding = Decoding(
                    target, candidate.decoder, candidate.sampling, Geometry(rows, rows),
                    batch=min(many, _ROWS[on]), seed=0, graphs=False,
                )  # fmt: skip
                tokens, _ = decoding.run(
                    classes, _FIRST,
                    lambda done, of: school.report(f"{done} of {of} images drawn", done / of),
                )  # fmt: skip
                tokens = tokens.clone()
                kept.save(key, {"answers": {"tokens": tokens}}, {"lessons": many})
            else:
                tokens = found.tensors["answers"]["tokens"]
            if on == "cuda":
                target = ImageTarget(model, device, torch.bfloat16)
            return ImageCourse(target, tokens, classes)

        school = School(course, sizes=self.sizes, identity=told, folder=self.folder)
        return school
