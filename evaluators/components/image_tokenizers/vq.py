"""VQ: the nearest vector of a learnt codebook; number 0 of a study.

The codebook is the moving average of the vectors that choose each code, begun by k-means; codes
that are hardly chosen are re-seeded with vectors of the batch. cosine compares directions only.
Source: van den Oord et al. (2017, arXiv:1711.00937); cosine codes: Yu et al. (2022,
arXiv:2110.04627); rotated gradients: Fifty et al. (2024, arXiv:2410.06424).
"""

from __future__ import annotations

from torch import Tensor

from paretoken.evaluators.image_tokenizers.coder import Coder
from paretoken.evaluators.image_tokenizers.family import ImageTokenizer, Learner, Sizes
from paretoken.evaluators.image_tokenizers.quantizing import GridCoder, Quantizing, dead_below
from paretoken.spaces.component import knob

BETA = 0.25  # of what pulls vectors towards their codes


class _Vectors(Quantizing):
    def quantized(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        codes, tokens, auxiliary = self.quantizer(vectors)
        return codes, tokens.unsqueeze(-1), auxiliary

    def codes(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.quantizer.get_codes_from_indices(tokens[..., 0])
        return found


class VQ(ImageTokenizer):
    """One code for each place of a grid."""

    grid: int = knob(8, among=(4, 8, 16), doc="Tokens along one side.")
    codebook: int = knob(
        512, low=16, high=16384, grid=(128, 512, 2048), log=True, doc="Codes to choose from."
    )
    dim: int = knob(8, low=2, high=64, grid=(8,), doc="Numbers in a code.")
    similarity: str = knob(
        "cosine", among=("cosine", "euclidean"), doc="By what the nearest code is found."
    )
    decay: float = knob(
        0.9, low=0.5, high=0.999, grid=(0.9,), doc="How much of a step's average the next keeps."
    )
    gradient: str = knob(
        "rotated", among=("rotated", "straight"),
        doc="How gradients pass the quantizer: turned and scaled as the vector was, or unchanged.",
    )  # fmt: skip

    def learner(self, sizes: Sizes) -> Learner:
        from vector_quantize_pytorch import VectorQuantize

        quantizer = VectorQuantize(
            dim=self.dim,
            codebook_size=self.codebook,
            use_cosine_sim=self.similarity == "cosine",
            decay=self.decay,
            commitment_weight=BETA,
            kmeans_init=True,
            threshold_ema_dead_code=dead_below(self.grid**2, self.codebook, sizes.batch),
            rotation_trick=self.gradient == "rotated",
        )
        return _Vectors(self.grid, self.dim, quantizer, sizes, guarded=self.codebook)

    def coder(self, learner: Learner | None, images: Tensor) -> Coder:
        assert isinstance(learner, Quantizing)
        return GridCoder(learner, self.codebook)


plugin = VQ
