"""The reference: what the real images look like to an extractor, in one file that can be shipped.

Published scores use statistics of the training images; those of validation images give other
numbers. Which ones a reference holds is told in `description`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor
from torch_fidelity.metric_fid import (  # type: ignore[import-untyped]
    fid_features_to_statistics,
)

from paretoken.evaluators.metrics.extractors import Extractor
from paretoken.evaluators.metrics.features import Features, extract
from paretoken.evaluators.metrics.manifold import radii
from paretoken.spaces.errors import BadInput, Unreadable

FORMAT = "paretoken-reference/1"
ROWS = 5000  # with D = 1280: 12.8 MB of rows and 3.3 MB of covariance, a file below 20 MB
SEED = 2020


@dataclass(frozen=True, eq=False)
class Seen:
    """A reference on one device, fp64: mean [D], covariance [D, D] and rows [M, D]."""

    mean: Tensor
    covariance: Tensor
    rows: Tensor

    @cached_property
    def root(self) -> Tensor:
        """The symmetric root of the covariance."""
        values, vectors = torch.linalg.eigh(self.covariance)
        root: Tensor = (vectors * values.clamp_min(0.0).sqrt()) @ vectors.T
        return root

    def radii(self, n: int) -> Tensor:
        """Those of the manifold of the first n rows, [n] (see `manifold`); the last are kept."""
        if n not in self._radii:
            self._radii.clear()
            self._radii[n] = radii(self.rows[:n])
        return self._radii[n]

    @cached_property
    def _radii(self) -> dict[int, Tensor]:
        return {}


@dataclass(frozen=True, eq=False)
class Reference:
    """Statistics of `images` real images in the features of `extractor`.

    mean: fp64 [D]. triangle: upper triangle of the covariance by rows, fp32 [D(D+1)/2].
    rows: fp16 [M, D], features of M of the images in random order, for KID, precision and recall.
    """

    mean: NDArray[np.float64]
    triangle: NDArray[np.float32]
    rows: NDArray[np.float16]
    images: int
    extractor: str
    description: str = ""

    @classmethod
    def of(
        cls,
        images: Tensor,
        extractor: Extractor,
        description: str = "",
        *,
        rows: int = ROWS,
        batch: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Reference:
        """The reference of uint8 images [N, 1 or 3, H, W]; raises as `extract` does."""
        features = extract(images, extractor, batch=batch, progress=progress)
        return cls.of_features(features, description, rows=rows)

    @classmethod
    def of_features(
        cls, features: Features, description: str = "", *, rows: int = ROWS
    ) -> Reference:
        """The reference of features [N, D], N at least 2; statistics are computed in fp64."""
        n = len(features)
        if n < 2:
            raise BadInput(f"a reference needs at least 2 images, got {n}: add images.")
        largest = float(features.pool.abs().max())
        if largest > float(np.finfo(np.float16).max):
            raise BadInput(
                f"features of a reference must fit fp16 (65,504), {features.extractor} reaches "
                f"{largest:.4g}: scale them in the extractor."
            )
        pool = features.pool.cpu()
        statistics = fid_features_to_statistics(pool.double())
        chosen = np.random.default_rng(SEED).permutation(n)[:rows]
        upper = np.triu_indices(len(statistics["mu"]))
        return cls(
            mean=statistics["mu"],
            triangle=statistics["sigma"][upper].astype(np.float32),
            rows=pool.numpy()[chosen].astype(np.float16),
            images=n,
            extractor=features.extractor,
            description=description,
        )

    @cached_property
    def digest(self) -> str:
        """xxh3-128, in hex, over everything that a score depends on; the description is free."""
        header = f"{FORMAT}|{self.extractor}|{self.images}|{self.rows.shape}|"
        state = xxhash.xxh3_128(header.encode())
        for array in (self.mean, self.triangle, self.rows):
            state.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return state.hexdigest()

    @cached_property
    def statistics(self) -> dict[str, NDArray[np.float64]]:
        """Mean [D] and covariance [D, D] in fp64, as torch-fidelity takes them."""
        d = len(self.mean)
        sigma = np.zeros((d, d))
        sigma[np.triu_indices(d)] = self.triangle
        return {"mu": self.mean, "sigma": sigma + np.triu(sigma, 1).T}

    def on(self, device: torch.device) -> Seen:
        """The same as tensors in fp64; those of the device that asked last are kept."""
        if self._kept.get("device") != device:
            statistics, rows = self.statistics, torch.from_numpy(self.rows)
            self._kept["seen"] = Seen(
                torch.from_numpy(statistics["mu"]).to(device),
                torch.from_numpy(statistics["sigma"]).to(device),
                rows.to(device).double(),
            )
            self._kept["device"] = device
        seen: Seen = self._kept["seen"]
        return seen

    @cached_property
    def _kept(self) -> dict[str, Any]:
        return {}

    def save(self, path: Path) -> None:
        """Write a safetensors file; an older one is replaced in one step."""
        metadata = {
            "format": FORMAT,
            "extractor": self.extractor,
            "images": str(self.images),
            "description": self.description,
            "digest": self.digest,
        }
        arrays: dict[str, NDArray[Any]] = {
            "mean": self.mean,
            "triangle": self.triangle,
            "rows": self.rows,
        }
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        part.write_bytes(save(arrays, metadata))
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Read what `save` wrote; raises Unreadable where the file is missing, cut or changed."""
        try:
            with safe_open(path, framework="numpy") as file:
                metadata: dict[str, str] = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise Unreadable(
                        f"a reference must be of format {FORMAT}, {path} says "
                        f"{metadata.get('format')!r}: make it again with Reference.of."
                    )
                arrays: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}
            reference = cls(
                **arrays,
                images=int(metadata["images"]),
                extractor=metadata["extractor"],
                description=metadata["description"],
            )
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise Unreadable(
                f"the reference {path} is damaged ({error}): restore it or make it again."
            ) from error
        except FileNotFoundError as error:
            raise Unreadable(f"there is no reference at {path}: check the path.") from error
        if reference.digest != metadata.get("digest"):
            raise Unreadable(
                f"the reference {path} must have digest {metadata.get('digest')}, its arrays have "
                f"{reference.digest}: it was changed or damaged; restore it or make it again."
            )
        return reference
