"""Stages: which layers of a shortened model have to run, by how far its rows stand.

A table says which layers run for which prompt and token (`Depth.kept`). A layer that was left out
never comes back, so a forward whose rows all stand behind some token needs the layers of that token
at most. Which rows of a window need a layer is looked up on the device; which layers any row may
need is known to the host without asking, from a lower bound of where the rows stand. So a forward
can be captured once for each stage, and is exact however late the host learns where rows are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from paretoken.evaluators.models.lora import LoRA

# A table of layers as of `Depth.kept`, and what the matrices are changed by.
Shortening = tuple[Tensor, LoRA | None]


class Stages:
    """kept: bool [P or 1, 1 + N, L], on the CPU. prompts: [n], those that will be asked, or None
    for all of them. begins: the positions that stages begin at, the first of them -1: the last
    token that was read with the prompt, which a draft model is fed again.
    """

    def __init__(self, kept: Tensor, prompts: Tensor | None, device: torch.device) -> None:
        assert not (kept[:, 1:] & ~kept[:, :-1]).any(), "a layer never comes back"
        self._told = kept
        asked = kept if prompts is None or len(kept) == 1 else kept[prompts.cpu()]
        self._some, self._every = asked.any(0), asked.all(0)  # [1 + N, L]
        self.length = kept.shape[1] - 1
        changes = (self._some[1:] != self._some[:-1]).any(-1).nonzero().flatten()
        self.begins: tuple[int, ...] = (-1, *changes.tolist())
        self._kept = kept.to(device)
        self._runs: list[bool] = self._some[1].tolist()
        self._gates: list[bool] = (~self._every[-1]).tolist()

    def aim(self, least: int) -> None:
        """The next forwards are fed at position `least` or behind; -1 at least."""
        self._runs = self._some[1 + min(least, self.length - 1)].tolist()

    def read(self, prompt: int) -> list[bool]:
        """The layers that read a prompt."""
        told: list[bool] = self._told[min(prompt, len(self._told) - 1), 0].tolist()
        return told

    def choices(self, prompts: Tensor, positions: Tensor, steps: Tensor) -> Sequence[bool | Tensor]:
        """What becomes of each layer: as `gated_layer.Choose` says it, bool [B, W, 1].

        prompts [B], positions [B] of the first token that is fed, and how far behind it each one
        stands, steps [W].
        """
        fed = (positions.unsqueeze(-1) + 1 + steps).clamp(max=self.length)
        at = prompts.unsqueeze(-1) if len(self._kept) > 1 else torch.zeros_like(fed)
        needed = self._kept[at, fed] if any(self._gates) else None
        return [
            needed[..., i : i + 1] if runs and needed is not None and self._gates[i] else runs
            for i, runs in enumerate(self._runs)
        ]


def same(flat: Tensor) -> Tensor:
    """Which rows of bool [P, n] are equal: each has the number of the first of them, [P]."""
    return (flat.unsqueeze(0) == flat.unsqueeze(1)).all(-1).long().argmax(-1)


def whole_table(layers: int, length: int, runs: Sequence[bool] | Tensor) -> Tensor:
    """The table [1, 1 + N, L] of one set of layers for all prompts and tokens."""
    row = torch.as_tensor(runs, dtype=torch.bool)
    assert row.shape == (layers,)
    return row.expand(1, 1 + length, layers).clone()
