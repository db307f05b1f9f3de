"""The fine pass: all codes of a batch of images in one forward, given their clusters.

Captured as one CUDA graph where the device allows, like the rounds of the first stage: with a
single cluster it is all there is to time.
"""

from __future__ import annotations

import copy
import time

import torch
from torch import Tensor

from paretoken.evaluators.clusters.auxiliary import Auxiliary
from paretoken.evaluators.engine.capture import captured
from paretoken.evaluators.engine.laws import draw
from paretoken.evaluators.engine.noise import Purpose, uniforms
from paretoken.evaluators.engine.sampling import Sampling
from paretoken.spaces.errors import MeasurementFailed


class FinePass:
    """Draws the codes of up to `batch` images at a time.

    A code's uniform is fixed by seed, image and place, so that it depends on no neighbour in the
    batch.
    """

    def __init__(
        self,
        model: Auxiliary,
        sampling: Sampling,
        *,
        batch: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        graphs: bool,
    ) -> None:
        self._model = copy.deepcopy(model).to(device, dtype).eval().requires_grad_(False)
        self._sampling, self._seed, self._batch = sampling, seed, batch
        length = model.config.length
        shape = (batch, length)
        self._coarse = torch.zeros(shape, dtype=torch.int64, device=device)
        self._codes = torch.zeros_like(self._coarse)
        self._uniforms = torch.full(shape, 0.5, device=device)
        self._index = torch.arange(length, device=device).expand(shape)
        self._classes = torch.zeros(batch, dtype=torch.int64, device=device)
        self._null = torch.full_like(self._classes, model.config.classes)
        self._finite = torch.ones((), dtype=torch.bool, device=device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self.capture_seconds = 0.0
        if graphs and device.type == "cuda":
            started = time.perf_counter()
            with torch.inference_mode():
                self._graph = captured(self._forward)
            self.capture_seconds = time.perf_counter() - started

    @torch.inference_mode()
    def run(self, coarse: Tensor, classes: Tensor, first_id: int) -> Tensor:
        """Codes [n, T] of clusters [n, T] under classes [n], n at most the batch; on the CPU.

        first_id: row id of the first image. Raises MeasurementFailed("nan").
        """
        images = len(coarse)
        device = self._coarse.device
        ids = first_id + torch.arange(images, device=device)
        places = self._coarse.shape[1]
        self._coarse[:images].copy_(coarse)
        self._classes[:images].copy_(classes)
        self._uniforms[:images].copy_(
            uniforms(self._seed, Purpose.FINE, ids, places, 1)[..., 0]
        )  # fmt: skip
        if self._graph is None:
            self._forward()
        else:
            self._graph.replay()
        codes = self._codes[:images].to("cpu", copy=True)  # the next batch writes over it
        if not bool(self._finite):
            raise MeasurementFailed("nan", "the auxiliary model's logits are no numbers")
        return codes

    def laws(self, coarse: Tensor, classes: Tensor) -> Tensor:
        """The laws [B, T, V] that codes are drawn from."""
        conditional = self._model.of_clusters(coarse, classes)
        unconditional = None
        if self._sampling.guided:
            unconditional = self._model.of_clusters(coarse, self._null[: len(coarse)])
        return self._sampling.laws(conditional, unconditional, self._index[: len(coarse)])

    def _forward(self) -> None:
        laws = self.laws(self._coarse, self._classes)
        flat = draw(laws.flatten(0, 1), self._uniforms.flatten())
        self._codes.copy_(flat.view_as(self._codes))
        self._finite.copy_(laws.sum(-1).isfinite().all())
