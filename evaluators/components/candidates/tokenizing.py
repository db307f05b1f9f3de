"""Tokenizing: how text is cut into tokens. What a workload that trains tokenizers searches."""

from __future__ import annotations

from paretoken.spaces.component import Component, knob, part


class Tokenizing(Component):
    """A tokenizer, to be trained on the workload's text, and how much its models are trained."""

    kind = "candidates"

    tokenizer: Component = part("tokenizers", default="bpe", doc="How words become tokens.")
    budget: float = knob(
        1.0, low=0.001, high=1.0, grid=(1.0,), doc="Share of the workload's arithmetic."
    )


plugin = Tokenizing
