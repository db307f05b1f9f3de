"""LlamaGen's class-conditional transformer, with the official parameter names.

A Llama-type decoder over a raster of image tokens: RMSNorm, SwiGLU, 2-D rotary positions (see
`rotary`) and one class token in front, with a null class for guidance.
Source: Sun et al., "Autoregressive model beats diffusion" (2024, arXiv:2406.06525).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from paretoken.evaluators.kernels import fused
from paretoken.evaluators.models.key_value_cache import Attend, KeyValueCache
from paretoken.evaluators.models.rotary import rotary_table, rotate
from paretoken.spaces.errors import BadValue, UnknownName

# A window may overhang the end of a sample by up to this many tokens; the cache and the rotary
# table have scratch slots for them, so that no row needs a special case.
OVERHANG = 64
# What is computed by fused kernels on CUDA devices; float32 stays the plain reference.
_FUSED = (torch.bfloat16, torch.float16)


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

    def __post_init__(self) -> None:
        if self.dim % (4 * self.heads):
            raise BadValue(
                f"dim must be a multiple of 4 * heads (2-D rotary pairs), not {self.dim} with "
                f"{self.heads} heads: choose another dim or number of heads."
            )

    @property
    def length(self) -> int:
        """Tokens of one image."""
        return self.height * self.width

    @property
    def slots(self) -> int:
        """Cache slots of one row: the class token, N tokens and the overhang, in whole eights.

        Fused attention kernels would copy a mask of any other width.
        """
        return -(-(1 + self.length + OVERHANG) // 8) * 8

    @property
    def hidden(self) -> int:
        """Width of the FFN: two thirds of 4 * dim, rounded up to `multiple_of`."""
        wanted = int(2 * 4 * self.dim / 3)
        return -(-wanted // self.multiple_of) * self.multiple_of

    @classmethod
    def named(cls, name: str, side: int = 16) -> TransformerConfig:
        """A published size (B, L, XL, XXL, XXXL, 1B, 3B, 7B) on a grid of side * side tokens."""
        if name not in OFFICIAL_SIZES:
            raise UnknownName("LlamaGen size", name, OFFICIAL_SIZES)
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


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in float32 or wider, cast back, then scaled."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, x.shape[-1:], eps=self.eps) * self.weight


class Attention(nn.Module):
    """Multi-head attention with one fused projection, split in the order q, k, v."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.wqkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.wo = nn.Linear(config.dim, config.dim, bias=False)
        self.drop = nn.Dropout(config.dropout)

    def project(self, x: Tensor, factors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values: [B, T, D] -> three of [B, heads, T, head_dim].

        factors: [T, 2, head_dim] or [B, T, 2, head_dim], rows of `rotary_table`.
        """
        projected: Tensor = self.wqkv(x)
        projected = projected.view(*x.shape[:-1], 3, self.heads, -1)
        turned = rotate(projected[..., :2, :, :], factors[..., None, None, :, :])
        q, k = turned.transpose(1, 3).unbind(2)
        return q, k, projected[..., 2, :, :].transpose(1, 2)

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

    def forward(self, x: Tensor, factors: Tensor, attend: Attend) -> Tensor:
        q, k, v = self.attention.project(self.attention_norm(x), factors)
        x = x + self.attention.merge(attend(q, k, v))
        out: Tensor = x + self.feed_forward(self.ffn_norm(x))
        return out


class ClassEmbedding(nn.Module):
    """One row per class and a last one for "no class"."""

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(classes + 1, dim)


def _causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True)


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
        self._place_rotary()

    def _place_rotary(self) -> None:
        weight = self.output.weight
        config = self.config
        table = rotary_table(
            config.height, config.width, config.slots, config.dim // config.heads, config.rope_base
        )
        wide = torch.promote_types(weight.dtype, torch.float32)
        self.rotary = table.to(weight.device, wide)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Transformer:
        # No buffer: `model.bfloat16()` would round the angles, which the official code keeps in
        # float32, and a model that was built on "meta" would keep an empty table.
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._place_rotary()
        return self

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
        return self._wide(self.output(self.states(condition, tokens)))

    def states(self, condition: Tensor, tokens: Tensor) -> Tensor:
        """What the output layer reads, [B, T, D]; for the arguments see `predict`."""
        x = torch.cat([condition, self.tok_embeddings(tokens[:, :-1])], dim=1)
        x = self.tok_dropout(x)
        factors = self.rotary[: x.shape[1]]
        for block in self.layers:
            x = block(x, factors, _causal)
        normed: Tensor = self.norm(x)
        return normed

    def forward(self, tokens: Tensor, classes: Tensor) -> Tensor:
        """Teacher-forced logits [B, T, V] of tokens [B, T] under classes [B]."""
        return self.predict(self.condition(classes), tokens)

    def allocate(self, rows: int) -> KeyValueCache:
        """An empty cache for `rows` rows; it holds a copy of the embeddings as they are now."""
        table = torch.cat([self.tok_embeddings.weight, self.cls_embedding.embedding_table.weight])
        config = self.config
        head_dim = config.dim // config.heads
        return KeyValueCache(config.layers, rows, config.heads, config.slots, head_dim, table)

    def forward_window(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: KeyValueCache,
        key_length: int | None = None,
        chosen: Sequence[bool | Tensor] | None = None,
    ) -> Tensor:
        """Feed W tokens to each row at its own position and return the laws that follow them.

        tokens: [R, W] int64, R at most the rows of the cache (the first R are used), W at most
        OVERHANG; ids from V on are class tokens, V + classes the null class. positions: [R], where
        each row's window starts: sequence position 0 holds the class token, 1 + t image token t.
        key_length: how many slots are read, all by default (static shapes, for a CUDA graph).
        chosen: which layers run: all of them, or each or not, or each for some places only, bool
        [R, W, 1], the others' states passing through as they came.
        Returns logits [R, W, V], float32 or wider; those at sequence position s are of image token
        s. Asks the device nothing.
        """
        if fused(tokens.device) and cache.table.dtype in _FUSED:
            from paretoken.evaluators.kernels import window

            return window.forward_window(self, tokens, positions, cache, chosen)
        return self.reference_window(tokens, positions, cache, key_length, chosen)

    def reference_window(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: KeyValueCache,
        key_length: int | None = None,
        chosen: Sequence[bool | Tensor] | None = None,
    ) -> Tensor:
        """`forward_window` in plain torch: on every device, and what kernels must equal."""
        place = positions.unsqueeze(1) + torch.arange(tokens.shape[1], device=tokens.device)
        x = functional.embedding(tokens, cache.table)
        factors = self.rotary[place]
        layers = cache.window(place, key_length)
        each = chosen or (True,) * len(layers)
        for block, attend, runs in zip(self.layers, layers, each, strict=True):
            if runs is False:
                continue
            found = block(x, factors, attend)
            x = found if runs is True else torch.where(runs, found, x)
        return self._wide(self.output(self.norm(x)))

    @staticmethod
    def _wide(logits: Tensor) -> Tensor:
        return logits.to(torch.promote_types(logits.dtype, torch.float32))
