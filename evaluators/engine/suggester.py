"""Suggesters: decoders that give several answers to one prompt."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from torch import Tensor

from paretoken.evaluators.engine.ngrams import NGrams
from paretoken.evaluators.engine.streams import Streams
from paretoken.spaces.component import Component


@dataclass(frozen=True)
class Request:
    """Some prompts, read into `streams`. wanted: suggestions for each. pending: [B], the last token
    of each prompt, not fed yet. prompts: [B], which ones. ids: [B], of their random numbers.
    ngrams: hands out the table of a corpus."""

    streams: Streams
    wanted: int
    pending: Tensor
    prompts: Tensor
    ids: Tensor
    seed: int
    ngrams: Callable[[], NGrams]


class Writing(Protocol):
    """Suggestions for B prompts on their way. open: [B] bool, which are not done yet."""

    @property
    def open(self) -> Tensor: ...

    def advance(self) -> None:
        """One target forward: every suggestion grows by a token."""

    def best(self) -> Tensor:
        """The suggestions [B, wanted, N]; behind its end a row repeats the token that ended it."""


class Suggester(Component):
    """Finds several answers to each prompt. It has a law of its own: the candidate's is inert."""

    kind = "decoders"
    modality = "suggestions"
    # Knobs that say no more than the `scores` they lead to.
    scored = cast("tuple[str, ...]", ())

    @property
    def asks_corpus(self) -> bool:
        """Whether it looks tokens up in a corpus."""
        return False

    def exactly(self, wanted: int) -> Suggester:
        """The simplest suggester that does the same where so many suggestions are wanted."""
        return self

    @abstractmethod
    def rows(self, wanted: int) -> int:
        """How many rows of the target's cache a prompt takes."""

    @abstractmethod
    def scores(self, logits: Tensor) -> Tensor:
        """Finite numbers [R, V] by which tokens are ranked or drawn after logits [R, V]."""

    @abstractmethod
    def begin(self, request: Request) -> Writing:
        """Start on some prompts."""
