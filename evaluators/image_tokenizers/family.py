"""Family: the base of image tokenizers; a family says what is trained, and how it codes.

What is trained belongs to a key of the settings that training depends on. Knobs of decoding
(`decoding`) are not among them: however they are set, nothing is trained again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from paretoken.evaluators.image_tokenizers.coder import Coder
from paretoken.spaces.candidate import to_tree
from paretoken.spaces.component import Component

SIDE = 32  # pixels along one side of an image


@dataclass(frozen=True)
class Sizes:
    """Of the networks, the same for every tokenizer. width: channels of convolutions, a multiple
    of 8, and numbers of a transformer's state. blocks: residual blocks of a resolution, layers of
    a transformer. batch: images of a training step.
    """

    width: int
    blocks: int
    batch: int


class Learner(nn.Module, ABC):
    """A network that is trained: `loss` in training, and what a coder wants of it afterwards.

    guarded: entries of a codebook that may collapse; 0 where nothing can.
    """

    guarded: int = 0

    @abstractmethod
    def loss(self, images: Tensor) -> Tensor:
        """The loss of a batch of images [B, 1, H, W], float32 in [-1, 1]."""

    def chosen(self, images: Tensor) -> Tensor:
        """Of a guarded codebook, the entries that images choose, int64; asked of no other."""
        raise NotImplementedError(f"{type(self).__name__} guards a codebook: say what is chosen")


class ImageTokenizer(Component):
    """One family of tokenizers of images."""

    kind = "image_tokenizers"
    # Without annotations, which PyGlove would read as fields. Knobs of decoding alone:
    decoding = cast("tuple[str, ...]", ())
    # Knobs that change neither an image nor how many bits its tokens take where nobody models them.
    modelling = cast("tuple[str, ...]", ())

    @property
    def libraries(self) -> tuple[str, ...]:
        """Distributions of whose versions its tokens depend, beside those of all tokenizers."""
        return ()

    def trained(self) -> dict[str, Any]:
        """The settings that training depends on, as plain JSON."""
        tree = to_tree(self)
        return {name: value for name, value in tree.items() if name not in self.decoding}

    @abstractmethod
    def learner(self, sizes: Sizes) -> Learner | None:
        """The network before training, drawn with torch's global generator; None without one."""

    @abstractmethod
    def coder(self, learner: Learner | None, images: Tensor) -> Coder:
        """The tokenizer, ready; images: uint8 [n, 1, H, W], the first of those trained on.

        They lie on the learner's device, and statistics of them may be part of the tokenizer.
        """
