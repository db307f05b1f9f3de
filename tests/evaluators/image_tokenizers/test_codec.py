"""JPEG payloads are read back to the pixels of the whole file; damaged ones never raise."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from PIL import Image

from paretoken.evaluators.image_tokenizers import codec
from paretoken.evaluators.image_tokenizers.byte_merges import BYTES, ByteMerges, learnt
from paretoken.evaluators.image_tokenizers.pictures import Pictures

SETTINGS = [
    codec.Settings(quality, chroma, restart)
    for quality, chroma, restart in (
        (5, "grey", 0), (25, "grey", 0), (25, "grey", 2), (75, "grey", 0), (25, "4:2:0", 0),
        (25, "4:2:2", 1), (25, "4:4:4", 0),
    )
]  # fmt: skip


def whole(settings: codec.Settings, image: codec.Pixels) -> codec.Pixels:
    """What an ordinary file of the same settings is decoded to."""
    with Image.open(io.BytesIO(settings.written(image, 0))) as found:
        return np.asarray(found.convert("L"))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_payload_is_the_file_pixel_for_pixel(settings: codec.Settings, some: Pictures) -> None:
    for image in some.held_out[:8, 0].numpy():
        data = codec.payload(settings, image)
        again = codec.image_of(settings, data)
        assert again is not None and np.array_equal(again, whole(settings, image))
        assert codec.payload(settings, image) == data  # equal images are equal tokens
        for place in [n for n, byte in enumerate(data[:-1]) if byte == 0xFF]:
            assert data[place + 1] == 0 or 0xD0 <= data[place + 1] <= 0xD7


def test_restarts_change_no_pixel_and_colour_costs_bytes(some: Pictures) -> None:
    image = some.held_out[0, 0].numpy()
    plain, marked = codec.Settings(25, "grey", 0), codec.Settings(25, "grey", 2)
    assert np.array_equal(whole(plain, image), whole(marked, image))
    assert len(codec.payload(marked, image)) > len(codec.payload(plain, image))
    sizes = [
        len(codec.payload(codec.Settings(25, chroma, 0), image))
        for chroma in ("grey", "4:2:0", "4:4:4")
    ]
    assert sizes == sorted(sizes) and len(set(sizes)) == 3


def test_a_damaged_stream_is_an_image_or_nothing(some: Pictures) -> None:
    settings, chance = codec.Settings(25, "grey", 0), random.Random(0)
    data = codec.payload(settings, some.held_out[0, 0].numpy())
    streams = [b"", b"\xff", b"\xff\xff\xff\xda\x00", data[: len(data) // 2], data + data]
    streams += [bytes(chance.randrange(256) for _ in range(80)) for _ in range(60)]
    for stream in streams:
        found = codec.image_of(settings, stream)
        assert found is None or (found.shape == (32, 32) and found.dtype == np.uint8)
    assert codec.grey().shape == (32, 32)


def test_equal_tables_are_one_codec() -> None:
    for quality in (5, 25, 50, 95):
        same = codec.same_tables(quality, False)
        assert codec.quantization(same, False) == codec.quantization(quality, False)
    assert codec.quantization(25, False) != codec.quantization(26, False)


def test_merges_are_nested_and_lose_nothing(some: Pictures) -> None:
    settings = codec.Settings(25, "grey", 0)
    streams = [codec.payload(settings, image) for image in some.train[:, 0].numpy()]
    few, many = learnt(streams, 280), learnt(streams, 320)
    assert many[: len(few)] == few and len(few) == 280 - BYTES
    coder = ByteMerges(many)
    lengths = [len(coder.encode(stream)) for stream in streams]
    assert sum(lengths) < sum(map(len, streams)) and len(coder) == 320
    assert all(coder.decode(coder.encode(stream)) == stream for stream in streams)
    nothing = ByteMerges([])
    assert nothing.encode(streams[0]) == list(streams[0]) and len(nothing) == BYTES
