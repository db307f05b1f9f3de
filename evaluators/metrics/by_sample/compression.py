"""Compression: bytes of an answer for each byte that zlib makes of it; high where it repeats.

Whisper takes a text above 2.4 for a failure of decoding. Texts of a few words stay below 1, for
zlib adds some bytes of its own; an empty one counts as 1.
Source: Radford et al., "Robust speech recognition via large-scale weak supervision" (2022,
arXiv:2212.04356), `compression_ratio_threshold`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from paretoken.evaluators.metrics.by_sample import Said, TextMetric
from paretoken.spaces.objectives import Objective


class Compression(TextMetric):
    """How much smaller an answer gets without its repetitions."""

    objective = Objective("compression", "bytes/byte", False, "how far answers repeat themselves")

    def values(self, answers: Sequence[Said]) -> Sequence[float]:
        return [_ratio(answer.text.encode()) for answer in answers]


def _ratio(text: bytes) -> float:
    return len(text) / len(zlib.compress(text)) if text else 1.0


plugin = Compression()
