"""Tokenizing: how text is cut into tokens. What a workload that trains tokenizers searches."""

from __future__ import annotations

from paretoken.spaces.component import Component, part


class Tokenizing(Component):
    """A tokenizer, to be trained on the workload's text."""

    kind = "candidates"

    tokenizer: Component = part("tokenizers", default="bpe", doc="How words become tokens.")


plugin = Tokenizing
