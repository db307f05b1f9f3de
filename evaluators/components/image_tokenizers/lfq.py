"""LFQ: every number of a vector becomes its sign; the signs together are the token.

An entropy loss wants each token to be sure and all tokens to be used. spherical puts vectors on the
unit sphere first (binary spherical quantization).
Source: Yu et al., MAGVIT-v2 (2023, arXiv:2310.05737); Zhao et al., BSQ (2024, arXiv:2406.07548).
"""

from __future__ import annotations

from torch import Tensor

from paretoken.evaluators.image_tokenizers.coder import Coder
from paretoken.evaluators.image_tokenizers.family import ImageTokenizer, Learner, Sizes
from paretoken.evaluators.image_tokenizers.quantizing import GridCoder, Quantizing
from paretoken.spaces.component import knob

# Of the entropy loss every vector is compared with every entry: so many numbers at once at most,
# and of more a share of the vectors, drawn anew at every step, stands for all.
_MOST = 1 << 22


class _Signs(Quantizing):
    def quantized(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        codes, tokens, auxiliary = self.quantizer(vectors)
        return codes, tokens.unsqueeze(-1), auxiliary

    def codes(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.quantizer.indices_to_codes(tokens[..., 0])
        return found


class LFQ(ImageTokenizer):
    """2 ** bits entries, one for each place of a grid."""

    grid: int = knob(8, among=(4, 8, 16), doc="Tokens along one side.")
    bits: int = knob(10, low=2, high=14, grid=(8, 10, 12), doc="Signs of a token.")
    spherical: bool = knob(False, doc="Whether vectors are put on the unit sphere.")
    entropy: float = knob(0.02, low=0.0, high=1.0, grid=(0.02,), doc="Weight of the entropy loss.")
    diversity: float = knob(
        1.0, low=0.0, high=10.0, grid=(1.0,), doc="What use of all entries weighs in it."
    )

    def learner(self, sizes: Sizes) -> Learner:
        from vector_quantize_pytorch import LFQ as Quantizer

        compared = sizes.batch * self.grid**2 * 2**self.bits
        quantizer = Quantizer(
            dim=self.bits,
            codebook_size=2**self.bits,
            entropy_loss_weight=self.entropy,
            commitment_loss_weight=0.25,
            diversity_gamma=self.diversity,
            spherical=self.spherical,
            frac_per_sample_entropy=min(1.0, _MOST / compared),
        )
        return _Signs(self.grid, self.bits, quantizer, sizes, guarded=2**self.bits)

    def coder(self, learner: Learner | None, images: Tensor) -> Coder:
        assert isinstance(learner, Quantizing)
        return GridCoder(learner, 2**self.bits)

    def simplified(self) -> ImageTokenizer:
        if self.entropy == 0.0 and self.diversity != 1.0:  # weighed in a loss that weighs nothing
            inert: ImageTokenizer = self.clone(override={"diversity": 1.0})
            return inert
        return self


plugin = LFQ
