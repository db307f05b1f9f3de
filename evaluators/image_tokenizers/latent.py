"""A continuous autoencoder, trained once, and the tokens that its latents are rounded to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from paretoken.evaluators.image_tokenizers import levels
from paretoken.evaluators.image_tokenizers.coder import Coder, Decoded
from paretoken.evaluators.image_tokenizers.convolutional import Autoencoder, difference
from paretoken.evaluators.image_tokenizers.family import Sizes
from paretoken.evaluators.image_tokenizers.layout import Layout
from paretoken.evaluators.models.vq import to_uint8
from paretoken.evaluators.workloads.fashion.data import pixels

_AT_ONCE = 256
_LOG_VARIANCES = (-12.0, 4.0)


class Variational(Autoencoder):
    """Latents with a normal posterior, pulled towards a standard normal prior by `weight`.

    Source: Kingma and Welling (2013, arXiv:1312.6114).
    """

    def __init__(self, grid: int, channels: int, weight: float, sizes: Sizes) -> None:
        super().__init__(grid, 2 * channels, channels, sizes)
        self.weight = weight

    def loss(self, images: Tensor) -> Tensor:
        mean, log_variance = self.vectors(images).chunk(2, dim=-1)
        log_variance = log_variance.clamp(*_LOG_VARIANCES)
        sampled = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        nats = (mean.square() + log_variance.exp() - 1.0 - log_variance).mean() / 2
        return difference(self.pictures(sampled), images) + self.weight * nats

    def means(self, images: Tensor) -> Tensor:
        """float32 [B, places, channels]: the middle of each posterior, for images in [-1, 1]."""
        return self.vectors(images).chunk(2, dim=-1)[0]


@dataclass(frozen=True)
class Rounding:
    """How latents are rounded; see `levels`. stretch: over the table, of latents of deviation 1."""

    bits: int
    clip: float
    stretch: float
    rule: str
    order: str


class LatentCoder(Coder):
    """One token for each channel of each place, in an order of channels that the latents give.

    Latents are moved and scaled, channel by channel, to mean 0 and deviation 1 over the images that
    were trained on. The posterior's middle is rounded, so that encoding draws nothing.
    """

    calls = 1

    def __init__(self, learner: Variational, rounding: Rounding, images: Tensor) -> None:
        self._learner, self._how = learner.eval(), rounding
        seen = self._latents(images)  # [n, places, C]
        self._middle = seen.mean((0, 1))
        self._scale = seen.std((0, 1)).clamp_min(1e-6)
        self.order = levels.order_of(rounding.order, learner.field(seen))
        self._table = levels.table(rounding.bits, rounding.clip, rounding.rule)
        grid, channels = learner.grid, seen.shape[-1]
        self.layout = Layout.channels(2**rounding.bits, channels, grid, grid)
        self.kept = self.layout.length

    @torch.inference_mode()
    def _latents(self, images: Tensor) -> Tensor:
        return torch.cat(
            [self._learner.means(pixels(part)) for part in torch.split(images, _AT_ONCE)]
        )

    def _standard(self, images: Tensor) -> Tensor:
        return ((self._latents(images) - self._middle) / self._scale)[..., self.order]

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        how = self._how
        return levels.nearest(self._standard(images), self._table, how.clip, how.stretch).flatten(1)

    @torch.inference_mode()
    def decode(self, ids: Tensor, seed: int) -> Decoded:
        values = levels.restored(ids, self._table, self._how.stretch)
        values = values.reshape(len(ids), -1, len(self.order))
        back = torch.tensor(self.order, device=ids.device).argsort()
        latents = values[..., back] * self._scale + self._middle
        found = [to_uint8(self._learner.pictures(part)) for part in torch.split(latents, _AT_ONCE)]
        return Decoded(torch.cat(found), torch.zeros(len(ids), dtype=torch.bool))

    @torch.inference_mode()
    def facts(self, images: Tensor) -> dict[str, float]:
        """out_of_range: share of latents that are clipped, whose tails are lost."""
        beyond = self._standard(images).abs() > self._how.clip * self._how.stretch
        return {"out_of_range": float(beyond.double().mean())}
