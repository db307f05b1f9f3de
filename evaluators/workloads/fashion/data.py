"""Fashion-MNIST as it is trained on: 28 x 28 grey pictures on a black margin of two pixels.

Only training and the reference statistics need it; searching does not.
Source: Xiao, Rasul and Vollgraf (2017, arXiv:1708.07747), MIT licence.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from paretoken.spaces.errors import Unreadable

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
MARGIN = 2
CLASSES = (
    "T-shirt", "trousers", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "boot",
)  # fmt: skip


def load(split: str, folder: Path = DEBIAN) -> tuple[Tensor, Tensor]:
    """Images [n, 1, 32, 32] uint8 and classes [n] int64 of "train" (60,000) or "test" (10,000)."""
    stem = {"train": "train", "test": "t10k"}[split]
    images = _idx(folder / f"{stem}-images-idx3-ubyte.gz", header=16).reshape(-1, 1, 28, 28)
    labels = _idx(folder / f"{stem}-labels-idx1-ubyte.gz", header=8)
    padded = np.pad(images, ((0, 0), (0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))
    return torch.from_numpy(padded), torch.from_numpy(labels.astype(np.int64))


def _idx(path: Path, header: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """The bytes of a gzipped IDX file after its header."""
    try:
        with gzip.open(path) as file:
            return np.frombuffer(file.read(), dtype=np.uint8, offset=header)
    except FileNotFoundError:
        raise Unreadable(
            f"{path} is missing: install Debian's package dataset-fashion-mnist, or name the "
            "folder that holds the four .gz files with --data."
        ) from None
    except (OSError, EOFError, ValueError) as error:
        raise Unreadable(f"{path} is no gzipped IDX file: {error}.") from error


def pixels(images: Tensor) -> Tensor:
    """uint8 pixels to the tokenizer's range [-1, 1], such that `vq.to_uint8` takes them back."""
    return images.float() / 127.5 - 1.0
