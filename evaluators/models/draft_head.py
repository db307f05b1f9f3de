"""A draft head: one layer that foretells the states of a language model, and so its next tokens.

A pair is what the model thought after one token, its state, and the token that followed. From pairs
the head guesses the state after the second token of the last one; the model's own output layer
turns that into logits, and with a token drawn from them the guess makes the next pair. So a head
speaks a few tokens ahead at a fraction of the model's cost. A state here is what the model's output
layer reads.
Departures from the paper: states and embeddings are normalised before they meet, as in EAGLE-3, and
the guess is normalised as the model's states are.
Source: Li et al., EAGLE (ICML 2024, arXiv:2401.15077); EAGLE-3 (2025, arXiv:2503.01840).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from paretoken.evaluators.models.attention import repeatable_attention
from paretoken.evaluators.models.checkpoint import read_weights
from paretoken.evaluators.models.weights import digest_of
from paretoken.spaces.errors import BadInput, Unreadable


@dataclass(frozen=True)
class HeadConfig:
    """Sizes of a head, and which model it is for.

    width, vocabulary: of the model. inner: of the head's feed-forward part. base: of its rotary
    positions. model: digest of the model's weights.
    """

    width: int
    vocabulary: int
    heads: int
    inner: int
    base: float
    model: str

    @classmethod
    def of(cls, model: Any) -> HeadConfig:
        """A head's usual sizes for a Hugging Face causal language model."""
        text = model.config.get_text_config()
        width = int(text.hidden_size)
        heads = max(n for n in range(1, max(1, width // 64) + 1) if width % (2 * n) == 0)
        inner = 64 * max(1, round(width * 8 / 3 / 64))
        return cls(width, int(text.vocab_size), heads, inner, 10_000.0, digest_of(model))


class DraftHead(nn.Module):
    """Embedding and output layer are the model's own and no part of the head."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config, width = config, config.width
        self.state_norm, self.token_norm = _Norm(width), _Norm(width)
        self.fuse = nn.Linear(2 * width, width, bias=False)
        self.attention_norm, self.feed_norm, self.out_norm = (_Norm(width) for _ in range(3))
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attended = nn.Linear(width, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * config.inner, bias=False)
        self.down = nn.Linear(config.inner, width, bias=False)

    def initialise(self, states: Tensor) -> None:
        """Random weights; guesses begin with the scale, number by number, of states [..., D]."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)
        with torch.no_grad():
            rms = states.flatten(0, -2).double().pow(2).mean(0).sqrt()
            self.out_norm.weight.copy_(rms)

    def fused(self, states: Tensor, embedded: Tensor) -> Tensor:
        """Pairs [B, W, D] of states [B, W, D] and embeddings of the tokens after them."""
        both = torch.cat([self.state_norm(states), self.token_norm(embedded)], -1)
        pairs: Tensor = self.fuse(both)
        return pairs

    def projected(self, pairs: Tensor, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B, H, W, D / H] of pairs whose tokens stand at places [B, W],
        or [1, W]."""
        found = self.query_key_value(self.attention_norm(pairs))
        split = found.unflatten(-1, (3, self.config.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = split.unbind(0)
        return self._turned(query, places), self._turned(key, places), value

    def guessed(
        self, pairs: Tensor, query: Tensor, keys: Tensor, values: Tensor, seen: Tensor
    ) -> Tensor:
        """The states [B, W, D] after the tokens of pairs, which may look at keys and values
        [B, H, K, D / H] where seen [B or 1, 1, W, K] is true."""
        with repeatable_attention():
            found = functional.scaled_dot_product_attention(query, keys, values, attn_mask=seen)
        pairs = pairs + self.attended(found.transpose(1, 2).flatten(-2))
        gate, up = self.gate_up(self.feed_norm(pairs)).chunk(2, -1)
        guess: Tensor = self.out_norm(pairs + self.down(functional.silu(gate) * up))
        return guess

    def _turned(self, x: Tensor, places: Tensor) -> Tensor:
        """Rotary positions on x [B, H, W, d], halves of a head paired; angles in float32."""
        half = x.shape[-1] // 2
        steps = torch.arange(half, device=x.device, dtype=torch.float32)
        angle = places.unsqueeze(-1) * self.config.base ** (-steps / half)
        cos, sin = (part.unsqueeze(1).to(x.dtype) for part in (angle.cos(), angle.sin()))
        first, second = x.chunk(2, -1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


class _Norm(nn.RMSNorm):
    """In the precision of its weight: a head in float32 may learn from states in less."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype))


def save_head(head: DraftHead, path: Path, **facts: float) -> None:
    """Write bfloat16 weights with the configuration and what is known about them."""
    weights = {k: v.detach().bfloat16().contiguous().cpu() for k, v in head.state_dict().items()}
    described = {"config": json.dumps(asdict(head.config)), "facts": json.dumps(facts)}
    save_file(weights, path, metadata=described)


def load_head(path: Path) -> DraftHead:
    """The head of a file written by `save_head`, in float32."""
    weights, metadata = read_weights(path)
    try:
        config = HeadConfig(**json.loads(metadata["config"]))
        with torch.device("meta"):  # no memory and no random start
            head = DraftHead(config)
        head.load_state_dict(weights, assign=True)
    except (KeyError, TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Unreadable(
            f"{path} is no draft head ({reason}): name a file that "
            "paretoken.evaluators.workloads.text.train_head has written."
        ) from error
    return head.float().eval().requires_grad_(False)


def load_for(model: Any, path: Path) -> DraftHead:
    """The head of a file; raises BadInput where it was trained for another model."""
    head = load_head(path)
    mine, other = HeadConfig.of(model), head.config
    told = {
        "width": "states of {} numbers", "vocabulary": "{} tokens", "model": "weights of digest {}"
    }  # fmt: skip
    for what, words in told.items():
        has, asked = (words.format(getattr(one, what)) for one in (other, mine))
        if asked != has:
            raise BadInput(
                f"the draft head {path} was trained for a model with {has}, and this one has "
                f"{asked}: train one with python -m "
                "paretoken.evaluators.workloads.text.train_head --model MODEL."
            )
    return head
