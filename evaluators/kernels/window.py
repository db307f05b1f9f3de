"""A whole window forward of a LlamaGen transformer in five launches a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from torch import Tensor

from paretoken.evaluators.kernels.attention import attend
from paretoken.evaluators.kernels.linear import accumulate, embed, gate, normed_product, project

if TYPE_CHECKING:
    from paretoken.evaluators.models.key_value_cache import KeyValueCache
    from paretoken.evaluators.models.llamagen import Block, Transformer


def forward_window(
    model: Transformer, tokens: Tensor, positions: Tensor, cache: KeyValueCache
) -> Tensor:
    """`Transformer.forward_window` by fused kernels; the residual stream is float32 throughout."""
    rows, window = tokens.shape
    eps = model.config.norm_eps
    x = embed(cache.table, tokens.reshape(-1))
    for block, layer in zip(cast("list[Block]", model.layers), cache.layers, strict=True):
        attention, ffn = block.attention, block.feed_forward
        q = project(
            x, block.attention_norm.weight, attention.wqkv.weight, eps, model.rotary, positions,
            layer, window,
        )  # fmt: skip
        accumulate(attend(q, layer, positions, window), attention.wo.weight, x)
        hidden = gate(x, block.ffn_norm.weight, ffn.w1.weight, ffn.w3.weight, eps)
        accumulate(hidden, ffn.w2.weight, x)
    logits = normed_product(x, model.norm.weight, model.output.weight, eps)
    return logits.view(rows, window, -1)
