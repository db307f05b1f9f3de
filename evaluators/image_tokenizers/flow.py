"""Flow: a decoder that turns noise into an image, in steps, given the registers that are kept.

x_t = t noise + (1 - t) image; the network foretells noise - image, and an image is drawn by Euler
steps from t = 1 down to 0.
Source: Liu et al., rectified flow (2022, arXiv:2209.03003); Bachmann et al., FlexTok (2025,
arXiv:2502.13967); its normalised guidance: Sadat et al., APG (2024, arXiv:2410.02416).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from paretoken.evaluators.image_tokenizers.family import Sizes
from paretoken.evaluators.image_tokenizers.registers import (
    PATCH,
    PLACES,
    Layer,
    RegisterLearner,
    joined,
    kept_at_random,
    patches,
)

_WITHOUT = 0.1  # share of images in training whose registers are all hidden, for guidance
_FREQUENCIES = 64
# Of normalised guidance: how much of the last direction is taken back, and how long one may be.
_MOMENTUM, _LONGEST = -0.5, 2.5


class Flow(RegisterLearner):
    """Registers, and a transformer over noised patches and them that foretells the velocity."""

    def __init__(self, registers: int, levels: list[int], draw: str, sizes: Sizes) -> None:
        super().__init__(registers, levels, draw, sizes)
        width = sizes.width
        self.noisy = nn.Linear(PATCH**2, width)
        self.where = nn.Parameter(0.02 * torch.randn(PLACES, width))
        self.nothing = nn.Parameter(0.02 * torch.randn(width))
        self.time = nn.Sequential(
            nn.Linear(2 * _FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.steps = nn.ModuleList(Layer(width, True) for _ in range(2 * sizes.blocks))
        self.last = nn.LayerNorm(width)
        self.velocity_of = nn.Linear(width, PATCH**2)
        nn.init.zeros_(self.velocity_of.weight)
        nn.init.zeros_(self.velocity_of.bias)

    def velocity(self, x: Tensor, t: Tensor, registers: Tensor) -> Tensor:
        """float32, like x [B, 64, 16], patches at times t [B]; registers: [B, K, D]."""
        turns = torch.arange(_FREQUENCIES, device=x.device) / _FREQUENCIES
        angle = 1000.0 * t.unsqueeze(1) * torch.exp(-math.log(10_000.0) * turns)
        condition = self.time(torch.cat([angle.cos(), angle.sin()], 1))
        h = torch.cat([self.noisy(x) + self.where, registers], 1)
        for layer in self.steps:
            h = layer(h, None, condition)
        out: Tensor = self.velocity_of(self.last(h[:, :PLACES])).float()
        return out

    def hidden(self, rows: int) -> Tensor:
        """[rows, K, D]: what stands for registers that nothing is known of."""
        return self.nothing.expand(rows, self.registers, -1)

    def loss(self, images: Tensor) -> Tensor:
        rows, device = len(images), images.device
        codes, _ = self.rounded(self.vectors(images))
        kept = kept_at_random(rows, self.registers, self.draw, device)
        registers = self.shown(codes, kept)
        without = (torch.rand(rows, device=device) < _WITHOUT).view(-1, 1, 1)
        registers = torch.where(without, self.hidden(rows).to(registers.dtype), registers)
        target = patches(images)
        noise = torch.randn_like(target)
        t = torch.randn(rows, device=device).sigmoid()
        mixed = t.view(-1, 1, 1) * noise + (1 - t).view(-1, 1, 1) * target
        loss: Tensor = functional.mse_loss(self.velocity(mixed, t, registers), noise - target)
        return loss

    def drawn(
        self, codes: Tensor, noise: Tensor, steps: int, guidance: float, normalised: bool
    ) -> Tensor:
        """Images [B, 1, 32, 32], about [-1, 1], of codes [B, k, numbers] and noise [B, 64, 16].

        guidance: 1 for none; otherwise known and hidden registers go through the network together,
        in one call.
        """
        rows = len(codes)
        kept = torch.full((rows,), codes.shape[1], device=codes.device)
        registers = self.shown(codes, kept)
        guided = guidance != 1.0
        if guided:
            registers = torch.cat([registers, self.hidden(rows).to(registers.dtype)])
        x, before = noise, torch.zeros_like(noise)
        for step in range(steps):
            t = torch.full((len(registers),), 1 - step / steps, device=codes.device)
            if guided:
                known, unknown = self.velocity(torch.cat([x, x]), t, registers).chunk(2)
                apart = known - unknown
                if normalised:
                    before = apart + _MOMENTUM * before
                    apart = _across(_shortened(before), known)
                velocity = known + (guidance - 1.0) * apart
            else:
                velocity = self.velocity(x, t, registers)
            x = x - velocity / steps
        return joined(x)


def _shortened(direction: Tensor) -> Tensor:
    """Each image's direction [B, 64, 16], no longer than the longest allowed."""
    length = direction.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1)
    shortened: Tensor = direction * (_LONGEST / length).clamp_max(1.0)
    return shortened


def _across(direction: Tensor, known: Tensor) -> Tensor:
    """The part of each image's direction that is at right angles to what is known."""
    unit = functional.normalize(known.flatten(1), dim=1)
    along = (direction.flatten(1) * unit).sum(1, keepdim=True) * unit
    rest: Tensor = direction - along.view_as(direction)
    return rest
