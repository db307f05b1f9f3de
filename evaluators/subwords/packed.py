"""Packed: a trained tokenizer as its tokenizer.json in a short text, to go with a measurement.

So whoever has the store can export what was measured, wherever it was trained. Needs no library.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

from paretoken.spaces.errors import BadInput


def packed(text: str) -> str:
    """Compressed, as ASCII."""
    return base64.b85encode(zlib.compress(text.encode(), 9)).decode("ascii")


def unpacked(text: str) -> dict[str, Any]:
    """The document again; raises BadInput where it is damaged."""
    try:
        return dict(json.loads(zlib.decompress(base64.b85decode(text))))
    except (TypeError, ValueError, zlib.error) as error:
        raise BadInput(
            f"the stored tokenizer is damaged ({error}): measure it again with --no-reuse."
        ) from error
