"""JPEG: the bytes of a file of fixed settings, without headers and tables. Nothing is trained.

`vocabulary` above 256 merges pairs of bytes that are met often. A model may write a stream that is
no JPEG: it counts as broken, and is grey.
Source: Han et al., JPEG-LM (2024, arXiv:2408.08459).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from paretoken.evaluators.image_tokenizers import codec
from paretoken.evaluators.image_tokenizers.byte_merges import BYTES, ByteMerges, learnt
from paretoken.evaluators.image_tokenizers.coder import Coder, Decoded
from paretoken.evaluators.image_tokenizers.family import ImageTokenizer, Learner, Sizes
from paretoken.evaluators.image_tokenizers.layout import Layout
from paretoken.spaces.component import knob

_LEARNT_FROM = 10_000  # images at most that merges are learnt from
_ROOM = 1.25  # of the longest stream seen: others may be longer


class JPEG(ImageTokenizer):
    """Bytes, or merges of them, and one entry that ends an image."""

    decoding = ("quality", "chroma", "restart", "vocabulary")

    quality: int = knob(25, low=1, high=95, grid=(5, 10, 25, 50, 75), doc="As in libjpeg.")
    chroma: str = knob(
        "grey", among=codec.CHROMA, grid=("grey",),
        doc="Grey images have no colour; the others pay for an empty one, as colour images would.",
    )  # fmt: skip
    restart: int = knob(
        0,
        low=0,
        high=16,
        grid=(0,),
        doc="Units of blocks between two places to begin anew; 0: none.",
    )
    vocabulary: int = knob(
        256, low=256, high=4096, grid=(256, 320, 1024), log=True, doc="Entries; 256 is bytes."
    )

    @property
    def libraries(self) -> tuple[str, ...]:
        return ("tokenizers",) if self.vocabulary > BYTES else ()

    def learner(self, sizes: Sizes) -> Learner | None:
        return None

    def coder(self, learner: Learner | None, images: Tensor) -> Coder:
        settings = codec.Settings(self.quality, self.chroma, self.restart)
        return _Bytes(settings, self.vocabulary, images)

    def simplified(self) -> ImageTokenizer:
        quality = codec.same_tables(self.quality, self.chroma != "grey")
        if quality != self.quality:
            same: ImageTokenizer = self.clone(override={"quality": quality})
            return same
        return self


class _Bytes(Coder):
    """Sequences of different lengths, filled with the entry that ends them."""

    calls = 0

    def __init__(self, settings: codec.Settings, vocabulary: int, images: Tensor) -> None:
        self._settings = settings
        streams = self._streams(images)
        merges = learnt(streams[:_LEARNT_FROM], vocabulary) if vocabulary > BYTES else []
        self._merges = ByteMerges(merges)
        longest = max(len(self._merges.encode(stream)) for stream in streams)
        length = int(_ROOM * longest) + 1
        self.layout = Layout.shared(len(self._merges) + 1, 1, length, ends=True)
        self.kept = length

    def _streams(self, images: Tensor) -> list[bytes]:
        return [codec.payload(self._settings, one[0]) for one in images.cpu().numpy()]

    def encode(self, images: Tensor) -> Tensor:
        ids = torch.full((len(images), self.kept), self.layout.end)
        for nth, stream in enumerate(self._streams(images)):
            found = self._merges.encode(stream)[: self.kept - 1]
            ids[nth, : len(found)] = torch.tensor(found, dtype=torch.int64)
        return ids.to(images.device)

    def decode(self, ids: Tensor, seed: int) -> Decoded:
        lengths = (self.layout.counted(ids) & (ids != self.layout.end)).sum(1).tolist()
        found = [
            codec.image_of(self._settings, self._merges.decode(row[:length]))
            for row, length in zip(ids.tolist(), lengths, strict=True)
        ]
        images = np.stack([codec.grey() if one is None else one for one in found])
        broken = torch.tensor([one is None for one in found])
        return Decoded(torch.from_numpy(images).unsqueeze(1).to(ids.device), broken)


plugin = JPEG
