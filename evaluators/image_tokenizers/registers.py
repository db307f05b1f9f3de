"""Registers: a transformer writes an image into a line of tokens, the first of which say most.

Patches see each other; registers see all patches and the registers before them. So the first tokens
are what they are, however many follow. In training only a random number of them is kept and the
rest replaced by one learnt vector, which is what puts the gist in front.
Source: Bachmann et al., FlexTok (2025, arXiv:2502.13967).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from paretoken.evaluators.image_tokenizers.family import SIDE, Learner, Sizes

PATCH = 4
PLACES = (SIDE // PATCH) ** 2
DRAWS = ("uniform", "pow2", "uniform_pow2")
_LEAST = 1e-5  # of a variance
_MOVES = 0.05  # how far the averages for later move towards those of a batch
_HEAD = 32  # numbers of an attention head, or the width if that is less


def patches(images: Tensor) -> Tensor:
    """[B, 64, 16] of images [B, 1, 32, 32]."""
    return functional.unfold(images, PATCH, stride=PATCH).mT


def joined(parts: Tensor) -> Tensor:
    """Images [B, 1, 32, 32] of patches [B, 64, 16]."""
    return functional.fold(parts.mT, (SIDE, SIDE), PATCH, stride=PATCH)


def kept_at_random(rows: int, registers: int, draw: str, device: torch.device) -> Tensor:
    """int64 [rows]: how many registers each row keeps, 1 to `registers`.

    uniform: any number. pow2: a power of two, each as likely as the others. uniform_pow2: any
    number, rounded up to a power of two.
    """
    powers = [1 << n for n in range(registers.bit_length()) if 1 << n <= registers]
    if draw == "pow2":
        return torch.tensor(powers, device=device)[
            torch.randint(len(powers), (rows,), device=device)
        ]
    kept = torch.randint(1, registers + 1, (rows,), device=device)
    if draw == "uniform_pow2":
        steps = torch.tensor([*powers, registers], device=device)
        kept = steps[torch.searchsorted(steps, kept)]
    return kept


class Layer(nn.Module):
    """Attention and a feed-forward layer, added to the stream.

    conditioned: norms are moved and scaled by a condition, and what is added is scaled too, from
    zero at the start (adaLN-zero: Peebles and Xie 2022, arXiv:2212.09748).
    """

    def __init__(self, width: int, conditioned: bool) -> None:
        super().__init__()
        self.heads = max(1, width // _HEAD)
        self.norm1 = nn.LayerNorm(width, elementwise_affine=not conditioned)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=not conditioned)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        if conditioned:
            self.modulation = nn.Linear(width, 6 * width)
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, mask: Tensor | None, condition: Tensor | None = None) -> Tensor:
        """x: [B, T, D]. mask: bool [T, T], what each row sees. condition: [B, D]."""
        h = self.norm1(x)
        if condition is None:
            x = x + self._attended(h, mask)
            out: Tensor = x + self.down(functional.gelu(self.up(self.norm2(x))))
            return out
        parts = self.modulation(functional.silu(condition)).unsqueeze(1).chunk(6, dim=-1)
        move1, scale1, gate1, move2, scale2, gate2 = parts
        x = x + gate1 * self._attended(h * (1 + scale1) + move1, mask)
        h = self.norm2(x) * (1 + scale2) + move2
        moved: Tensor = x + gate2 * self.down(functional.gelu(self.up(h)))
        return moved

    def _attended(self, x: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).movedim(2, 0).transpose(2, 3)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class RegisterLearner(Learner):
    """Base: the encoder, the quantizer (FSQ) and the registers as a decoder sees them."""

    mean: Tensor
    variance: Tensor

    def __init__(self, registers: int, levels: list[int], draw: str, sizes: Sizes) -> None:
        super().__init__()
        from vector_quantize_pytorch import FSQ

        width = sizes.width
        self.registers, self.draw = registers, draw
        self.read = nn.Linear(PATCH**2, width)
        self.places = nn.Parameter(0.02 * torch.randn(PLACES, width))
        self.written = nn.Parameter(0.02 * torch.randn(registers, width))
        self.layers = nn.ModuleList(Layer(width, False) for _ in range(2 * sizes.blocks))
        self.narrow = nn.Sequential(
            nn.LayerNorm(width, bias=False), nn.Linear(width, len(levels), bias=False)
        )
        self.register_buffer("mean", torch.zeros(registers, len(levels)))
        self.register_buffer("variance", torch.ones(registers, len(levels)))
        self.quantizer: Any = FSQ(levels)
        self.wide = nn.Linear(len(levels), width)
        self.dropped = nn.Parameter(0.02 * torch.randn(width))  # in place of what is not kept
        self.stands = nn.Parameter(0.02 * torch.randn(registers, width))

    def _seen(self, registers: int) -> Tensor:
        """bool [64 + registers, 64 + registers]: patches see patches, registers what is before."""
        mask = torch.ones(PLACES + registers, PLACES + registers, dtype=torch.bool).tril()
        mask[:PLACES, :PLACES] = True
        return mask.to(self.places.device)

    def vectors(self, images: Tensor, registers: int | None = None) -> Tensor:
        """float32 [B, registers, numbers] of images in [-1, 1], before rounding.

        registers: only so many are written, all by default; the first are the same.
        """
        wanted = self.registers if registers is None else registers
        x = self.read(patches(images)) + self.places
        x = torch.cat([x, self.written[:wanted].expand(len(x), -1, -1).to(x.dtype)], 1)
        mask = self._seen(wanted)
        for layer in self.layers:
            x = layer(x, mask)
        return self._standard(self.narrow(x[:, PLACES:]).float())

    def _standard(self, vectors: Tensor) -> Tensor:
        """Every number with mean 0 and variance 1 over images, those of the batch in training.

        Images are much alike at first, and all would be rounded to the same few levels, which
        teaches a decoder to do without: after 150 steps 13 of 1,000 codes were in use.
        """
        if not self.training:
            kept = vectors.shape[1]
            return (vectors - self.mean[:kept]) / (self.variance[:kept] + _LEAST).sqrt()
        mean, variance = vectors.mean(0), vectors.var(0)
        self.mean.lerp_(mean.detach(), _MOVES)
        self.variance.lerp_(variance.detach(), _MOVES)
        return (vectors - mean) / (variance + _LEAST).sqrt()

    def rounded(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Codes like vectors, and their tokens int64 [B, registers]."""
        with torch.autocast(vectors.device.type, enabled=False):
            codes, tokens = self.quantizer(vectors)
        return codes, tokens.long()

    def shown(self, codes: Tensor, kept: Tensor) -> Tensor:
        """[B, registers, D]: codes [B, k, numbers] as a decoder sees them, the first kept [B]."""
        x = self.wide(codes)
        missing = self.registers - x.shape[1]
        x = functional.pad(x, (0, 0, 0, missing))
        place = torch.arange(self.registers, device=x.device)
        stays = (place < kept.unsqueeze(1)).unsqueeze(-1)
        return torch.where(stays, x, self.dropped.to(x.dtype)) + self.stands

    def of_tokens(self, ids: Tensor) -> Tensor:
        """Codes [B, k, numbers] of tokens [B, k]."""
        found: Tensor = self.quantizer.indices_to_codes(ids)
        return found
