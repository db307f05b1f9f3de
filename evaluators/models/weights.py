"""The identity of weights: a digest under which measurements of one model are kept."""

from __future__ import annotations

import torch
import xxhash


def digest_of(*models: torch.nn.Module) -> str:
    """xxh3-128 of the weights of all models, names included, as stored."""
    state = xxhash.xxh3_128()
    for model in models:
        for name, value in sorted(model.state_dict().items()):
            raw = value.detach().cpu().contiguous().view(torch.uint8)
            state.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            state.update(raw.numpy().tobytes())
    return state.hexdigest()
