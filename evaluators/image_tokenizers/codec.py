"""JPEG with fixed settings, as bytes without what all images have in common.

The start of a file and its tables depend on the settings alone, so that only entropy-coded data are
kept. A stream that a model made may be damaged: it is decoded as far as it goes, or is grey.
Source: Han et al., JPEG-LM (2024, arXiv:2408.08459).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, features

from paretoken.evaluators.image_tokenizers.family import SIDE
from paretoken.spaces.errors import MeasurementFailed

CHROMA = ("grey", "4:2:0", "4:2:2", "4:4:4")
_START, _SCAN, _END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
_GREY = 128
_IMAGE_ALONE, _TABLES_ALONE = 2, 1  # Pillow's streamtype

Pixels = NDArray[np.uint8]


def library() -> list[str]:
    """What other versions of may write other bytes."""
    return [PIL.__version__, str(features.version("libjpeg_turbo"))]


@dataclass(frozen=True)
class Settings:
    """quality: 1 to 95. chroma: grey, or how colour is sampled. restart: units of blocks between
    two places where decoding can begin anew, 0 for none."""

    quality: int
    chroma: str
    restart: int

    def written(self, image: Pixels, streamtype: int) -> bytes:
        """A file, or a part of it, of an image [32, 32]."""
        out = io.BytesIO()
        picture = Image.fromarray(image)
        if self.chroma != "grey":
            picture = picture.convert("RGB")
        more = {} if self.chroma == "grey" else {"subsampling": self.chroma}
        if self.restart:
            more["restart_marker_blocks"] = self.restart  # type: ignore[assignment]
        picture.save(out, "JPEG", quality=self.quality, streamtype=streamtype, **more)
        return out.getvalue()


@cache
def _head(settings: Settings) -> tuple[bytes, bytes]:
    """What comes before the data without tables, and with them."""
    blank = np.zeros((SIDE, SIDE), np.uint8)
    bare = _cut(settings.written(blank, _IMAGE_ALONE))[0]
    tables = settings.written(blank, _TABLES_ALONE)
    return bare, _START + tables[len(_START) : -len(_END)] + bare[len(_START) :]


def _cut(stream: bytes) -> tuple[bytes, bytes]:
    """A stream without tables, before and after the end of its headers."""
    scan = stream.index(_SCAN)
    place = scan + 2 + int.from_bytes(stream[scan + 2 : scan + 4], "big")
    return stream[:place], stream[place:]


def payload(settings: Settings, image: Pixels) -> bytes:
    """The entropy-coded data of an image [32, 32], end marker left out."""
    head, data = _cut(settings.written(image, _IMAGE_ALONE))
    if head != _head(settings)[0] or not data.endswith(_END):
        raise MeasurementFailed(
            "unsupported", "JPEG files of equal settings begin differently: the payload alone "
            "cannot be read back",
        )  # fmt: skip
    return data[: -len(_END)]


def image_of(settings: Settings, data: bytes) -> Pixels | None:
    """The image [32, 32] of a payload; None where it cannot be decoded. Raises nothing."""
    try:
        with Image.open(io.BytesIO(_head(settings)[1] + data + _END)) as picture:
            return np.asarray(picture.convert("L"), dtype=np.uint8).copy()
    except Exception:  # whatever a made-up stream makes a decoder do
        return None


def grey() -> Pixels:
    """What stands for an image that cannot be decoded."""
    return np.full((SIDE, SIDE), _GREY, np.uint8)


@cache
def quantization(quality: int, colour: bool) -> tuple[tuple[int, ...], ...]:
    """The integer tables that a quality stands for: equal ones are one codec."""
    out = io.BytesIO()
    Image.new("RGB" if colour else "L", (8, 8)).save(out, "JPEG", quality=quality)
    with Image.open(io.BytesIO(out.getvalue())) as found:
        tables = found.quantization  # type: ignore[attr-defined]
        return tuple(tuple(tables[name]) for name in sorted(tables))


@cache
def same_tables(quality: int, colour: bool) -> int:
    """The lowest quality whose tables are the same."""
    wanted = quantization(quality, colour)
    return next(q for q in range(1, quality + 1) if quantization(q, colour) == wanted)
