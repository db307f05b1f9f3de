"""TokenBridge: a continuous autoencoder, each channel of whose latents is rounded after training.

Levels, stretch and order are settings of decoding: one autoencoder serves all. A model then writes
one small token after the other, all channels of a place in turn, each channel with entries and an
output layer of its own. The released system writes channels by a light head of its own; here the
model writes them too, so all are counted as sequential calls.
Source: Wang et al. (2025, arXiv:2503.16430).
"""

from __future__ import annotations

from torch import Tensor

from paretoken.evaluators.image_tokenizers.coder import Coder
from paretoken.evaluators.image_tokenizers.family import ImageTokenizer, Learner, Sizes
from paretoken.evaluators.image_tokenizers.latent import LatentCoder, Rounding, Variational
from paretoken.evaluators.image_tokenizers.levels import ORDERS, RULES
from paretoken.spaces.component import knob


class TokenBridge(ImageTokenizer):
    """`channels` tokens for each place of a grid."""

    decoding = ("bits", "stretch", "clip", "level_rule", "order")
    modelling = ("order",)

    grid: int = knob(4, among=(4, 8, 16), doc="Places along one side.")
    channels: int = knob(8, low=1, high=32, grid=(4, 8), doc="Numbers of a latent.")
    prior: float = knob(
        1e-3, low=0.0, high=1.0, grid=(1e-3,), doc="Weight of the latents' normal prior."
    )
    bits: int = knob(4, low=1, high=8, grid=(2, 3, 4, 6), doc="Base-2 logarithm of the levels.")
    clip: float = knob(
        3.0, low=2.0, high=4.0, grid=(3.0,), doc="Where the table of levels ends, in deviations."
    )
    stretch: float = knob(
        5 / 3, low=1.0, high=2.5, grid=(1.0, 1.3, 5 / 3),
        doc="How much wider than the table the latents are taken to be; the released one is 5 / 3.",
    )  # fmt: skip
    level_rule: str = knob(
        "conditional_mean", among=RULES, grid=("conditional_mean",),
        doc="How levels are chosen for a normal number.",
    )  # fmt: skip
    order: str = knob(
        "frequency", among=ORDERS, grid=("frequency",), doc="In which order channels are written."
    )

    def learner(self, sizes: Sizes) -> Learner:
        return Variational(self.grid, self.channels, self.prior, sizes)

    def coder(self, learner: Learner | None, images: Tensor) -> Coder:
        assert isinstance(learner, Variational)
        how = Rounding(self.bits, self.clip, self.stretch, self.level_rule, self.order)
        return LatentCoder(learner, how, images)

    def simplified(self) -> ImageTokenizer:
        if self.channels == 1 and self.order != "natural":  # one channel has one order
            inert: ImageTokenizer = self.clone(override={"order": "natural"})
            return inert
        return self


plugin = TokenBridge
