"""Image tokenizing: what a workload that trains tokenizers of images searches."""

from __future__ import annotations

from paretoken.spaces.component import Component, knob, part


class ImageTokenizing(Component):
    """A tokenizer, to be trained on the workload's images, and how much it is trained."""

    kind = "candidates"

    tokenizer: Component = part("image_tokenizers", default="vq", doc="How images become tokens.")
    budget: float = knob(
        1.0, low=0.001, high=1.0, grid=(1.0,), doc="Share of the workload's training."
    )


plugin = ImageTokenizing
