"""Layers by prompt: those that change little of what a prompt says are left out of its answer.

While a prompt is read, by all layers, each layer is measured: the cosine of what enters and what
leaves it. The layers above a threshold are then left out for every token of the answer, but never
the first and the last. The threshold comes of a calibration pass over passages of the corpus
(`--option corpus=FILE`): a text that is like their average loses the share `skipped` of the inner
layers, and a prompt may lose more or fewer. Measuring costs a cosine a layer while the prompt is
read anyway, so it is done beforehand, in float32, and not timed.
Departures: routers are not trained (see `routed`), and the model is not tuned to live without the
layers; FiRST also leaves them out of reading the prompt.
Equivalence: skipping nothing leaves out nothing.
Source: Jain et al., "FiRST" (Findings of EMNLP 2025, arXiv:2410.12513).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from paretoken.evaluators.engine.depth import Depth
from paretoken.spaces.component import knob
from paretoken.spaces.errors import BadInput


class ByPrompt(Depth):
    """Let a prompt choose its layers."""

    modality = "text"

    skipped: float = knob(
        0.1, low=0.0, high=1.0, grid=(0.05, 0.1, 0.2, 0.3),
        doc="Share of the inner layers that an average text loses.",
    )  # fmt: skip

    @property
    def whole(self) -> bool:
        return bool(self.skipped == 0.0)

    def kept(self, target: Any) -> Tensor:
        prompts, passages = target.likeness
        kept = torch.ones(len(prompts), 1 + target.length, target.layers, dtype=torch.bool)
        if self.whole or target.layers < 3:
            return kept
        if not len(passages):
            raise BadInput(
                "depths/by_prompt is calibrated on passages of two tokens or more, parted by empty "
                "lines, and the corpus has none: name another one with --option corpus=FILE."
            )
        threshold = torch.quantile(passages.mean(0)[1:-1], 1.0 - self.skipped)
        kept[:, 1:, 1:-1] = (prompts[:, 1:-1] <= threshold).unsqueeze(1)
        return kept


plugin = ByPrompt
