"""LlamaGen's VQ tokenizer, with the official parameter names and its widths as parameters.

A convolutional autoencoder with a codebook on the unit sphere: encoder vectors and codebook rows
are L2-normalised before the nearest-neighbour search, and decoding looks up the normalised row.
Source: Sun et al. (2024, arXiv:2406.06525), after Esser et al., VQGAN (2021, arXiv:2012.09841).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

# The official code keeps the last so many code ids to report usage; the buffer is in checkpoints.
_USAGE_BUFFER = 65536


@dataclass(frozen=True)
class TokenizerConfig:
    """Sizes of one tokenizer; the defaults are VQ-16.

    multipliers: width of every resolution, over `channels`; each but the last halves the grid.
    blocks: residual blocks of one resolution in the encoder; the decoder has one more.
    """

    image_channels: int = 3
    channels: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    blocks: int = 2
    z_channels: int = 256
    codebook: int = 16384
    code_dim: int = 8
    commitment: float = 0.25

    def __post_init__(self) -> None:
        object.__setattr__(self, "multipliers", tuple(self.multipliers))  # a list out of JSON

    @property
    def stride(self) -> int:
        """Pixels along one side of a token."""
        return int(2 ** (len(self.multipliers) - 1))


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels, eps=1e-6)


def _unit(vectors: Tensor) -> Tensor:
    wide = torch.promote_types(vectors.dtype, torch.float32)
    return functional.normalize(vectors.to(wide), dim=-1)


def _conv(inputs: int, outputs: int, size: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions behind norm and swish, added to the stream."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(inputs), _conv(inputs, outputs)
        self.norm2, self.conv2 = _norm(outputs), _conv(outputs, outputs)
        if inputs != outputs:
            self.nin_shortcut = _conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(functional.silu(self.norm1(x)))
        out: Tensor = self.conv2(functional.silu(self.norm2(h)))
        return out + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class AttentionBlock(nn.Module):
    """Single-head attention over all pixels, added to the stream."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.q, self.k = _conv(channels, channels, 1), _conv(channels, channels, 1)
        self.v, self.proj_out = _conv(channels, channels, 1), _conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        # [B, 1, pixels, C]: without the axis of heads no fused kernel takes it.
        q, k, v = (
            layer(h).flatten(2).transpose(1, 2).unsqueeze(1) for layer in (self.q, self.k, self.v)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v).squeeze(1)
        added: Tensor = self.proj_out(mixed.transpose(1, 2).reshape(x.shape))
        return x + added


class Downsample(nn.Module):
    """Halve the grid: pad right and bottom by one, 3x3 convolution with stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(functional.pad(x, (0, 1, 0, 1)))
        return out


class Upsample(nn.Module):
    """Double the grid: nearest neighbour, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


class Level(nn.Module):
    """The blocks of one resolution, and the way to the next where there is one."""

    def __init__(
        self, inputs: int, outputs: int, blocks: int, attention: bool, towards: str = ""
    ) -> None:
        super().__init__()
        widths = [inputs] + [outputs] * blocks
        self.res = nn.ModuleList(ResidualBlock(*pair) for pair in pairwise(widths))
        self.attn = nn.ModuleList(AttentionBlock(outputs) for _ in range(blocks * attention))
        if towards == "down":
            self.downsample = Downsample(outputs)
        elif towards == "up":
            self.upsample = Upsample(outputs)

    def forward(self, x: Tensor) -> Tensor:
        for i, block in enumerate(self.res):
            x = block(x)
            if len(self.attn):
                x = self.attn[i](x)
        if hasattr(self, "downsample"):
            x = self.downsample(x)
        if hasattr(self, "upsample"):
            x = self.upsample(x)
        return x


def _middle(channels: int) -> nn.ModuleList:
    return nn.ModuleList(
        [
            ResidualBlock(channels, channels),
            AttentionBlock(channels),
            ResidualBlock(channels, channels),
        ]
    )


class Encoder(nn.Module):
    """Image [B, C, H, W] -> features [B, z_channels, H / stride, W / stride]."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        widths = [config.channels * m for m in config.multipliers]
        self.conv_in = _conv(config.image_channels, config.channels)
        self.conv_blocks = nn.ModuleList()
        inputs, last = config.channels, len(widths) - 1
        for i, width in enumerate(widths):
            towards = "down" if i < last else ""
            self.conv_blocks.append(Level(inputs, width, config.blocks, i == last, towards))
            inputs = width
        self.mid = _middle(widths[-1])
        self.norm_out, self.conv_out = _norm(widths[-1]), _conv(widths[-1], config.z_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for layer in (*self.conv_blocks, *self.mid):
            x = layer(x)
        out: Tensor = self.conv_out(functional.silu(self.norm_out(x)))
        return out


class Decoder(nn.Module):
    """Features [B, z_channels, h, w] -> image [B, C, h * stride, w * stride]."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        widths = [config.channels * m for m in config.multipliers]
        self.conv_in = _conv(config.z_channels, widths[-1])
        self.mid = _middle(widths[-1])
        self.conv_blocks = nn.ModuleList()
        inputs, last = widths[-1], len(widths) - 1
        for i in range(last, -1, -1):
            towards = "up" if i else ""
            self.conv_blocks.append(Level(inputs, widths[i], config.blocks + 1, i == last, towards))
            inputs = widths[i]
        self.norm_out, self.conv_out = _norm(inputs), _conv(inputs, config.image_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for layer in (*self.mid, *self.conv_blocks):
            x = layer(x)
        out: Tensor = self.conv_out(functional.silu(self.norm_out(x)))
        return out


class Quantizer(nn.Module):
    """The codebook: K rows of code_dim, used L2-normalised."""

    codebook_used: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.codebook, config.code_dim)
        nn.init.normal_(self.embedding.weight)
        self.register_buffer("codebook_used", torch.zeros(_USAGE_BUFFER))

    def rows(self) -> Tensor:
        """The normalised codebook [K, code_dim], in float32 or wider."""
        return _unit(self.embedding.weight)

    def nearest(self, z: Tensor) -> Tensor:
        """Code ids [...] of unit vectors z [..., code_dim]: largest inner product.

        Never in half precision, which would decide between neighbouring codes by rounding.
        """
        with torch.autocast(z.device.type, enabled=False):
            return (z @ self.rows().T).argmax(-1)


class Tokenizer(nn.Module):
    """Images to tokens and back."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quantize = Quantizer(config)
        self.quant_conv = _conv(config.z_channels, config.code_dim, 1)
        self.post_quant_conv = _conv(config.code_dim, config.z_channels, 1)

    def directions(self, images: Tensor) -> Tensor:
        """Unit encoder vectors [B, h, w, code_dim], float32 or wider, of images [B, C, H, W].

        images: in [-1, 1], in the model's type.
        """
        return _unit(self.quant_conv(self.encoder(images)).movedim(1, -1))

    def reconstruct(self, codes: Tensor) -> Tensor:
        """Images [B, C, H, W], about [-1, 1], of quantised vectors [B, h, w, code_dim]."""
        codes = codes.to(self.post_quant_conv.weight.dtype)
        images: Tensor = self.decoder(self.post_quant_conv(codes.movedim(-1, 1)))
        return images

    def encode(self, images: Tensor) -> Tensor:
        """Tokens [B, h * w] int64 of images [B, C, H, W] in [-1, 1], in raster order."""
        return self.quantize.nearest(self.directions(images)).flatten(1)

    def decode(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Images [B, C, H, W], about [-1, 1], of tokens [B, height * width]."""
        codes = self.quantize.rows()[tokens]
        return self.reconstruct(codes.view(len(tokens), height, width, -1))


def to_uint8(images: Tensor) -> Tensor:
    """Pixels 0 … 255 of images about [-1, 1]: clamp(127.5 x + 128), truncated as officially."""
    return (127.5 * images.float() + 128.0).clamp(0, 255).to(torch.uint8)
