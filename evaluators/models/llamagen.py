"""LlamaGen's class-conditional transformer, with the official parameter names.

A Llama-type decoder over a raster of image tokens: RMSNorm, SwiGLU, 2-D rotary positions, one class
token in front. Two properties of the official code matter for loading its checkpoints and are kept:
the class token's rotary row is all zero (cos = sin = 0, not the identity), so that its query and key
vanish and it speaks through its value alone; and there is a null class row for guidance.
Source: Sun et al., "Autoregressive model beats diffusion" (2024, arXiv:2406.06525).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

# A window may overhang the end of a sample by up to this many tokens; the cache and the rotary
# table have scratch slots for them, so that no row needs a special case.
OVERHANG = 64


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of one transformer; `TransformerConfig.named` knows the published ones.

    height, width: the grid of image tokens, N = height * width. multiple_of: FFN rounding.
    Dropouts act in training only; class_dropout replaces the class by the null class.
    """

    dim: int = 768
    layers: int = 12
    heads: int = 12
    vocabulary: int = 16384
    height: int = 16
    width: int = 16
    classes: int = 1000
    dropout: float = 0.1
    class_dropout: float = 0.1
    norm_eps: float = 1e-5
    rope_base: float = 10000.0
    multiple_of: int = 256

    @property
    def length(self) -> int:
        """Tokens of one image."""
        return self.height * self.width

    @property
    def hidden(self) -> int:
        """Width of the FFN: two thirds of 4 * dim, rounded up to `multiple_of`."""
        wanted = int(2 * 4 * self.dim / 3)
        return -(-wanted // self.multiple_of) * self.multiple_of

    @classmethod
    def named(cls, name: str, side: int = 16) -> TransformerConfig:
        """A published size (B, L, XL, XXL, XXXL, 1B, 3B, 7B) on a grid of side * side tokens."""
        dim, layers, heads = OFFICIAL_SIZES[name]
        return cls(dim=dim, layers=layers, heads=heads, height=side, width=side)


# name: (dim, layers, heads)
OFFICIAL_SIZES = {
    "B": (768, 12, 12),
    "L": (1024, 24, 16),
    "XL": (1280, 36, 20),
    "XXL": (1536, 48, 24),
    "XXXL": (2560, 48, 40),
    "1B": (2048, 22, 32),
    "3B": (3200, 24, 32),
    "7B": (4096, 32, 32),
}


def rotary_table(config: TransformerConfig, slots: int) -> tuple[Tensor, Tensor]:
    """cos and sin, each [slots, head_dim / 2]: the class token's zero row, then the grid in raster
    order, then zeros for slots past its end (nothing that is read depends on those)."""
    quarter = config.dim // config.heads // 4
    frequency = config.rope_base ** (-2 * torch.arange(quarter, dtype=torch.float64) / (2 * quarter))
    place = torch.arange(config.length)
    rows = (place // config.width).double().unsqueeze(1) * frequency
    columns = (place % config.width).double().unsqueeze(1) * frequency
    angle = torch.cat([rows, columns], dim=1)
    cos, sin = torch.zeros(2, slots, 2 * quarter, dtype=torch.float64)
    cos[1 : 1 + config.length], sin[1 : 1 + config.length] = angle.cos(), angle.sin()
    return cos, sin


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate adjacent pairs of the last axis. x: [..., D]; cos, sin: broadcastable to [..., D / 2]."""
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1)
    return turned.flatten(-2).type_as(x)


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in float32 or wider, cast back, then scaled."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (wide * scale).type_as(x) * self.weight


class Attention(nn.Module):
    """Multi-head attention with one fused projection, split in the order q, k, v."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.wqkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.wo = nn.Linear(config.dim, config.dim, bias=False)
        self.drop = nn.Dropout(config.dropout)

    def project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values: [B, T, D] -> three of [B, heads, T, head_dim]."""
        q, k, v = self.wqkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        return (
            rotate(q, cos, sin).transpose(1, 2),
            rotate(k, cos, sin).transpose(1, 2),
            v.transpose(1, 2),
        )

    def merge(self, heads: Tensor) -> Tensor:
        """[B, heads, T, head_dim] -> [B, T, D]."""
        out: Tensor = self.drop(self.wo(heads.transpose(1, 2).flatten(2)))
        return out


class FeedForward(nn.Module):
    """SwiGLU: w2(silu(w1 x) * w3 x)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.w1 = nn.Linear(config.dim, config.hidden, bias=False)
        self.w3 = nn.Linear(config.dim, config.hidden, bias=False)
        self.w2 = nn.Linear(config.hidden, config.dim, bias=False)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.drop(self.w2(functional.silu(self.w1(x)) * self.w3(x)))
        return out


class Block(nn.Module):
    """Attention and feed-forward, each behind a norm and added to the stream."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config)
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.ffn_norm = RMSNorm(config.dim, config.norm_eps)


class ClassEmbedding(nn.Module):
    """One row per class and a last one for "no class"."""

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(classes + 1, dim)


class KeyValueCache:
    """Keys and values of R rows in S = 1 + N + OVERHANG slots, a pair of [R, heads, S, D] a layer.

    Nothing is ever erased: what lies beyond a row's position is masked until it is overwritten.
    """

    def __init__(self, config: TransformerConfig, rows: int, device: torch.device, dtype: torch.dtype):
        self.slots = 1 + config.length + OVERHANG
        shape = (config.layers, 2, rows, config.heads, self.slots, config.dim // config.heads)
        self.layers = torch.zeros(shape, device=device, dtype=dtype)
        self.row = torch.arange(rows, device=device).unsqueeze(1)
        self.slot = torch.arange(self.slots, device=device)


class Transformer(nn.Module):
    """The model; `forward` for training and scoring, `forward_window` for cached decoding."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.cls_embedding = ClassEmbedding(config.classes, config.dim)
        self.tok_embeddings = nn.Embedding(config.vocabulary, config.dim)
        self.tok_dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.dim, config.norm_eps)
        self.output = nn.Linear(config.dim, config.vocabulary, bias=False)
        cos, sin = rotary_table(config, 1 + config.length + OVERHANG)
        # Rebuilt from the configuration, as in the official code: not part of a checkpoint.
        self.register_buffer("cos", cos.float(), persistent=False)
        self.register_buffer("sin", sin.float(), persistent=False)

    def initialise(self) -> None:
        """The official start: normal 0.02 everywhere, zero in the output layer."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(self.output.weight)

    def condition(self, classes: Tensor) -> Tensor:
        """Class tokens [B, 1, D] of classes [B]; in training some become the null class."""
        if self.training and self.config.class_dropout > 0:
            dropped = torch.rand(classes.shape, device=classes.device) < self.config.class_dropout
            classes = torch.where(dropped, self.config.classes, classes)
        rows: Tensor = self.cls_embedding.embedding_table(classes)
        return rows.unsqueeze(1)

    def predict(self, condition: Tensor, tokens: Tensor) -> Tensor:
        """Logits of every token given those before it.

        condition: [B, 1, D] class tokens. tokens: [B, T] int64, T <= N; the last is not read.
        Returns [B, T, V], float32 or wider.
        """
        x = torch.cat([condition, self.tok_embeddings(tokens[:, :-1])], dim=1)
        x = self.tok_dropout(x)
        cos, sin = self.cos[: x.shape[1], None], self.sin[: x.shape[1], None]
        for block in self.layers:
            q, k, v = block.attention.project(block.attention_norm(x), cos, sin)
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + block.attention.merge(mixed)
            x = x + block.feed_forward(block.ffn_norm(x))
        return self._logits(x)

    def forward(self, tokens: Tensor, classes: Tensor) -> Tensor:
        """Teacher-forced logits [B, T, V] of tokens [B, T] under classes [B]."""
        return self.predict(self.condition(classes), tokens)

    def forward_window(
        self, tokens: Tensor, positions: Tensor, cache: KeyValueCache, key_length: int | None = None
    ) -> Tensor:
        """Feed W tokens to each row at its own position and return the laws that follow them.

        tokens: [R, W] int64; ids from V on are class tokens, V + classes the null class. positions:
        [R], where each row's window starts: sequence position 0 holds the class token, 1 + t image
        token t. key_length: how many slots are read; None reads all (static shapes for capture).
        Returns logits [R, W, V]; those at sequence position s are of image token s.
        """
        window = tokens.shape[1]
        place = positions.unsqueeze(1) + torch.arange(window, device=tokens.device)
        read = cache.slots if key_length is None else key_length
        table = torch.cat([self.tok_embeddings.weight, self.cls_embedding.embedding_table.weight])
        x = functional.embedding(tokens, table)
        cos, sin = self.cos[place].unsqueeze(2), self.sin[place].unsqueeze(2)
        visible = (cache.slot[:read] <= place.unsqueeze(2)).unsqueeze(1)
        for block, (keys, values) in zip(self.layers, cache.layers, strict=True):
            q, k, v = block.attention.project(block.attention_norm(x), cos, sin)
            keys[cache.row, :, place] = k.transpose(1, 2)
            values[cache.row, :, place] = v.transpose(1, 2)
            mixed = functional.scaled_dot_product_attention(
                q, keys[:, :, :read], values[:, :, :read], attn_mask=visible
            )
            x = x + block.attention.merge(mixed)
            x = x + block.feed_forward(block.ffn_norm(x))
        return self._logits(x)

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.output(self.norm(x))
        return logits.to(torch.promote_types(logits.dtype, torch.float32))
