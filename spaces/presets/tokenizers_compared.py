"""Image tokenizers of every family, some with several settings of decoding: for a grid.

Those that differ in decoding alone are trained once. Number 0 of a study is cosine VQ of 512 codes
on 8 x 8 places already.
"""

from __future__ import annotations

from typing import Any

import pyglove as pg

from paretoken.spaces.candidate import from_tree
from paretoken.spaces.plugins import component
from paretoken.spaces.space import Space

_COMPARED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("vq", {"grid": 4}),
    ("vq", {"grid": 16, "codebook": 1024}),
    ("fsq", {"levels": "8,5,5,5"}),
    ("lfq", {"bits": 10}),
    ("residual", {"kept": 1}),
    ("residual", {"kept": 2}),
    ("residual", {}),
    ("tokenbridge", {"bits": 2}),
    ("tokenbridge", {"bits": 4}),
    ("flextok", {"kept": 2}),
    ("flextok", {"kept": 8}),
    ("flextok", {}),
    ("one_dimensional", {}),
    ("multi_scale", {}),
    ("jpeg", {"quality": 10}),
    ("jpeg", {"quality": 25}),
)


def tokenizers_compared() -> Space:
    """Sixteen tokenizers of nine families."""
    among = [
        from_tree({"is": f"image_tokenizers/{name}", **knobs}, "image_tokenizers")
        for name, knobs in _COMPARED
    ]
    root = component("candidates/image_tokenizing")
    return Space(root(tokenizer=pg.oneof(among), budget=1.0))


plugin = tokenizers_compared
