"""How often a token followed the last few tokens in a corpus, for contexts of one token and more.

A context of i tokens is numbered by looking up (number of its last i - 1 tokens, the token before
them), so that codes fit into 64 bits whatever i is. Looking up is a binary search of whole tensors
at once: a device is never asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from torch import Tensor

# Tokens of the longest context: six-grams, as published for superposed decoding.
LONGEST = 5
_NEVER = np.iinfo(np.int64).max  # a code behind all others, so that no table is empty


class NGrams:
    """Shares count(context, v) / count(context) for contexts of 1 to LONGEST tokens.

    vocabulary: V < 2^31. contexts: for each length, sorted codes of the contexts that something
    follows; following: sorted codes (context, v); shares: float64 of those. On one device.
    """

    def __init__(
        self,
        vocabulary: int,
        contexts: Sequence[Tensor],
        following: Sequence[Tensor],
        shares: Sequence[Tensor],
    ) -> None:
        self.vocabulary = vocabulary
        self._contexts, self._following, self._shares = contexts, following, shares

    @classmethod
    def counted(cls, vocabulary: int, texts: Iterable[Sequence[int]]) -> NGrams:
        """Counted over texts in tokens; an n-gram never spans two texts."""
        lines = [np.asarray(text, dtype=np.int64) for text in texts if len(text) > 1]
        nothing = np.empty(0, dtype=np.int64)
        last = np.concatenate([nothing, *(line[:-1] for line in lines)])
        follower = np.concatenate([nothing, *(line[1:] for line in lines)])
        depth = np.concatenate([nothing, *(np.arange(len(line) - 1) for line in lines)])
        base, number = vocabulary + 1, np.zeros_like(last)
        found: dict[str, NDArray[np.int64] | NDArray[np.float64]] = {}
        for i in range(LONGEST):
            whole = depth >= i  # contexts that lie within their text
            before = np.roll(last, i)[whole]
            codes, inverse, counts = np.unique(
                number[whole] * base + before, return_inverse=True, return_counts=True
            )
            number[whole] = inverse
            pairs, times = np.unique(inverse * base + follower[whole], return_counts=True)
            found[f"contexts_{i}"] = np.append(codes, _NEVER)
            found[f"following_{i}"] = np.append(pairs, _NEVER)
            found[f"shares_{i}"] = np.append(times / counts[pairs // base], 0.0)
        return cls.of(vocabulary, found)

    @classmethod
    def of(cls, vocabulary: int, arrays: Mapping[str, NDArray[np.generic]]) -> NGrams:
        """The table that `arrays` came from."""

        def each(name: str) -> list[Tensor]:
            return [torch.from_numpy(arrays[f"{name}_{i}"]) for i in range(LONGEST)]

        return cls(vocabulary, each("contexts"), each("following"), each("shares"))

    @property
    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The table as named arrays, to be kept."""
        parts = {"contexts": self._contexts, "following": self._following, "shares": self._shares}
        each = ((f"{n}_{i}", t) for n, part in parts.items() for i, t in enumerate(part))
        return {name: table.cpu().numpy() for name, table in each}

    def to(self, device: torch.device) -> NGrams:
        """The table on a device."""
        parts = (self._contexts, self._following, self._shares)
        return NGrams(self.vocabulary, *([table.to(device) for table in part] for part in parts))

    def after(self, last: Tensor, tokens: Tensor) -> Tensor:
        """What share each token has after the contexts that end a text.

        last: [..., LONGEST] int64, the last tokens, the latest first; V where the text is shorter.
        tokens: [..., T]. Returns [LONGEST, ..., T] float64; 0 where a context was never seen.
        """
        base, number = self.vocabulary + 1, torch.zeros_like(last[..., 0])
        found = []
        for i, (contexts, following) in enumerate(
            zip(self._contexts, self._following, strict=True)
        ):
            place, seen = _place(contexts, number * base + last[..., i])
            # A context is seen only if all shorter ones are: -1 finds nothing from here on.
            number = torch.where(seen & (number >= 0), place, -1)
            place, seen = _place(following, number.unsqueeze(-1) * base + tokens)
            counts = seen & (number >= 0).unsqueeze(-1)
            found.append(torch.where(counts, self._shares[i][place], 0.0))
        return torch.stack(found)

    @cached_property
    def digest(self) -> str:
        """xxh3-128 of the whole table."""
        state = xxhash.xxh3_128(str(self.vocabulary).encode())
        for name, array in self.arrays.items():
            state.update(name.encode() + np.ascontiguousarray(array).tobytes())
        return state.hexdigest()


def _place(codes: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Where each wanted code stands among sorted codes, and whether it does."""
    place = torch.searchsorted(codes, wanted).clamp_(max=len(codes) - 1)
    return place, codes[place] == wanted
