"""llamagen: LlamaGen's class-conditional ImageNet models, from checkpoints that the user has.

    paretoken search llamagen --study big --option gpt=c2i_B_256.pt --option vq=vq_ds16_c2i.pt \\
        --option reference=imagenet.safetensors --samples 4000

The files are those of FoundationVision/LlamaGen, or others in its layout; nothing is downloaded.
`python -m paretoken.evaluators.metrics.make_reference` makes the reference from a folder of images.
Source: Sun et al., "Autoregressive model beats diffusion" (2024, arXiv:2406.06525).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paretoken.spaces.errors import BadInput, BadValue

# The published files do not hold their grid, but the image size is in their names.
_SIDES = {"256": 16, "384": 24, "512": 32}
_OPTIONS = (
    "gpt, vq, reference, extractor, weights, side, metrics, device, samples, batch, artefacts, "
    "lessons, lesson_batch, steps, calibration and trials"
)


class LlamaGen:
    """An image model from the user's files, judged against the user's reference."""

    modality = "image"

    def space_for(self, options: Mapping[str, Any]) -> str:
        return "image-decoding"

    def open(
        self,
        *,
        gpt: str | None = None,
        vq: str | None = None,
        reference: str | None = None,
        extractor: str = "lite0",
        weights: str | None = None,
        side: int | None = None,
        metrics: str | None = None,
        device: str | None = None,
        samples: int = 4000,
        batch: int | None = None,
        **more: Any,
    ) -> Any:
        """gpt, vq: checkpoints of the transformer and of the image tokenizer.

        reference: what `make_reference` wrote. extractor, weights: the ones it was made with.
        side: tokens along one side of an image; left out, 24 and 32 where the name of `gpt` has 384
        or 512 in it, otherwise 16. samples: a multiple of four times the classes has every class
        equally often in each of the four sets that give the spread. metrics: names of plug-ins that
        are measured too, with commas. more: artefacts, lessons, lesson_batch, steps, calibration
        and trials, as of the workload fashion.
        """
        # Imported here: listing workloads needs none of it.
        from paretoken.evaluators.environment import device_named
        from paretoken.evaluators.image_workload import ImageWorkload
        from paretoken.evaluators.metrics.by_sample import load_metrics
        from paretoken.evaluators.metrics.extractors import load_extractor
        from paretoken.evaluators.metrics.reference import Reference
        from paretoken.evaluators.metrics.spread import check_disjoint
        from paretoken.evaluators.models.checkpoint import load_tokenizer, load_transformer
        from paretoken.evaluators.shortening.image_lessons import LESSONS, ImageLessons
        from paretoken.evaluators.shortening.options import learning

        folder, sizes, _ = learning(more, LESSONS[device_named(device).type])
        if more:
            raise BadInput(
                f"workload llamagen has no option {', '.join(sorted(more))}: it knows {_OPTIONS}."
            )
        check_disjoint(samples)  # before files are read
        gpt_file = _required("gpt", gpt, "the transformer, e.g. gpt=c2i_B_256.pt")
        vq_file = _required("vq", vq, "the image tokenizer, e.g. vq=vq_ds16_c2i.pt")
        reference_file = _required(
            "reference",
            reference,
            "what real images look like: make it with python -m "
            "paretoken.evaluators.metrics.make_reference FOLDER --out ref.safetensors",
        )
        known = Reference.load(reference_file)
        chosen = device_named(device)
        judge = load_extractor(extractor, weights=_path("weights", weights), device=chosen)
        if known.extractor != judge.identity:
            raise BadInput(
                f"the reference {reference_file} was made with {known.extractor}, not with "
                f"{judge.identity}: name that one with --option extractor=, or make it again."
            )
        tokens = _side(side, gpt_file)
        transformer = load_transformer(gpt_file, height=tokens, width=tokens)
        tokenizer = load_tokenizer(vq_file)
        codes, vocabulary = tokenizer.config.codebook, transformer.config.vocabulary
        if codes != vocabulary:
            raise BadInput(
                f"{gpt_file} predicts {vocabulary} tokens, but {vq_file} has {codes} codes: name "
                "two files that belong together."
            )
        if transformer.config.classes < 1:
            raise BadInput(
                f"{gpt_file} has {transformer.config.classes + 1} row of class embeddings, and the "
                "last one is the null class: name a class-conditional model (c2i)."
            )
        return ImageWorkload(
            transformer,
            tokenizer,
            device=chosen,
            samples=samples,
            batch=batch,
            extractor=judge,
            reference=known,
            metrics=load_metrics(metrics, self.modality),
            lessons=ImageLessons(folder, sizes),
        )


def _required(option: str, value: Any, what: str) -> Path:
    path = _path(option, value)
    if path is None:
        raise BadInput(f"workload llamagen needs --option {option}=FILE: {what}.")
    return path


def _path(option: str, value: Any) -> Path | None:
    if value is None:
        return None
    path = Path(str(value)).expanduser()
    if not path.is_file():
        raise BadInput(f"--option {option} names a file; there is none at {path}.")
    return path


def _side(side: Any, gpt: Path) -> int:
    if side is None:
        return next((tokens for pixels, tokens in _SIDES.items() if pixels in gpt.stem), 16)
    if not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= 64:
        raise BadValue(f"--option side is a number of tokens from 1 to 64; it cannot be {side!r}.")
    return side


plugin = LlamaGen()
