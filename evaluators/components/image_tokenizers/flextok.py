"""FlexTok: a line of tokens from coarse to fine, and a decoder that draws images of a beginning.

`kept`, `steps` and `guidance` are settings of decoding: one training serves all. With few tokens
the decoder makes up what they do not say: look at PSNR beside rFID.
Source: Bachmann et al. (2025, arXiv:2502.13967).
"""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.components.image_tokenizers.fsq import numbers
from paretoken.evaluators.image_tokenizers.coder import Coder
from paretoken.evaluators.image_tokenizers.family import ImageTokenizer, Learner, Sizes
from paretoken.evaluators.image_tokenizers.flow import Flow
from paretoken.evaluators.image_tokenizers.prefix import PrefixCoder
from paretoken.evaluators.image_tokenizers.registers import DRAWS, PATCH, PLACES
from paretoken.spaces.component import knob

LEVELS = ("8,6,5", "8,5,5,5", "7,5,5,5,5", "8,8,8,6,5")


class FlexTok(ImageTokenizer):
    """Up to `registers` tokens, with no places."""

    decoding = ("kept", "steps", "guidance", "normalised")

    registers: int = knob(16, low=1, high=64, grid=(16, 32), doc="Tokens that are trained.")
    levels: str = knob("8,5,5,5", among=LEVELS, grid=("8,5,5,5",), doc="As of fsq.")
    draw: str = knob(
        "uniform", among=DRAWS, grid=("uniform", "pow2"),
        doc="How many tokens training keeps: any number, a power of two, or rounded up to one.",
    )  # fmt: skip
    kept: int = knob(
        64, low=1, high=64, grid=(1, 2, 4, 8, 16, 64),
        doc="Tokens that images are decoded from; all where there are fewer.",
    )  # fmt: skip
    steps: int = knob(10, low=1, high=50, grid=(1, 4, 10, 25), log=True, doc="Steps of decoding.")
    guidance: float = knob(
        1.0, low=1.0, high=15.0, grid=(1.0, 1.5, 3.0), doc="Of decoding; 1 is none."
    )
    normalised: bool = knob(
        True, doc="Whether guidance is shortened and kept at right angles to what is known."
    )

    def learner(self, sizes: Sizes) -> Learner:
        return Flow(self.registers, numbers(self.levels), self.draw, sizes)

    def coder(self, learner: Learner | None, images: Tensor) -> Coder:
        assert isinstance(learner, Flow)
        return _Drawing(learner, self)

    def simplified(self) -> ImageTokenizer:
        usual = {name: declared.default for name, declared in self.fields.items()}
        wanted = {}
        if self.kept >= self.registers:
            wanted["kept"] = usual["kept"]
        if self.guidance == 1.0:
            wanted["normalised"] = usual["normalised"]
        if self.registers <= 2 and self.draw == "pow2":  # 1 and 2 are all powers of two
            wanted["draw"] = "uniform"
        changed = {name: v for name, v in wanted.items() if self.sym_getattr(name) != v}
        if not changed:
            return self
        simple: ImageTokenizer = self.clone(override=changed)
        return simple


class _Drawing(PrefixCoder):
    def __init__(self, learner: Flow, how: FlexTok) -> None:
        super().__init__(learner, numbers(how.levels), min(how.kept, how.registers))
        self._flow, self._how = learner, how
        self.calls = how.steps

    def pictures(self, codes: Tensor, first: int, seed: int) -> Tensor:
        how = self._how
        chance = torch.Generator().manual_seed((seed << 20) + first)
        noise = torch.randn(len(codes), PLACES, PATCH**2, generator=chance).to(codes.device)
        return self._flow.drawn(codes, noise, how.steps, how.guidance, how.normalised)


plugin = FlexTok
