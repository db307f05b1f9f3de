"""A whole window forward of a LlamaGen transformer in five launches a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from paretoken.evaluators.kernels.attention import attend
from paretoken.evaluators.kernels.linear import accumulate, embed, gate, normed_product, project

if TYPE_CHECKING:
    from paretoken.evaluators.models.key_value_cache import KeyValueCache
    from paretoken.evaluators.models.llamagen import Block, Transformer


def forward_window(
    model: Transformer,
    tokens: Tensor,
    positions: Tensor,
    cache: KeyValueCache,
    chosen: Sequence[bool | Tensor] | None = None,
) -> Tensor:
    """`Transformer.forward_window` by fused kernels; the residual stream is float32 throughout."""
    rows, window = tokens.shape
    eps = model.config.norm_eps
    x = embed(cache.table, tokens.reshape(-1))
    each = chosen or (True,) * len(model.layers)
    blocks = cast("list[Block]", model.layers)
    for block, layer, runs in zip(blocks, cache.layers, each, strict=True):
        if runs is False:
            continue
        before = None if runs is True else x.clone()  # the stream is added to in place
        attention, ffn = block.attention, block.feed_forward
        q = project(
            x, block.attention_norm.weight, attention.wqkv.weight, eps, model.rotary, positions,
            layer, window,
        )  # fmt: skip
        accumulate(attend(q, layer, positions, window), attention.wo.weight, x)
        hidden = gate(x, block.ffn_norm.weight, ffn.w1.weight, ffn.w3.weight, eps)
        accumulate(hidden, ffn.w2.weight, x)
        if before is not None:
            x = torch.where(cast("Tensor", runs).reshape(-1, 1), x, before)
    logits = normed_product(x, model.norm.weight, model.output.weight, eps)
    return logits.view(rows, window, -1)
