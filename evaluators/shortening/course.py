"""A course: answers that a model gave itself, by which it learns to go without some of its layers.

What is compared is the model's law before each token of an answer, whole and shortened. An answer's
tokens stand in a line behind its prompt; the state at a place tells the law of the next token.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# Rows that are read side by side where nothing is learnt from them.
_ROWS = {"cpu": 4, "cuda": 64}
_HELD_OUT = 8  # of so many answers one is not learnt from


class Course(ABC):
    """target: the whole model (`TextTarget` or `ImageTarget`). begins, ends: of answer i in its
    line, [n] each; size: places of a line.
    """

    def __init__(self, target: Any, begins: Tensor, ends: Tensor, size: int) -> None:
        self.target, self.device = target, target.device
        self._begins, self._ends = begins.to(self.device), ends.to(self.device)
        self._size = size
        longest = int((ends - begins).max())
        self._steps = torch.arange(longest, device=self.device)
        self._truth: Tensor | None = None

    def __len__(self) -> int:
        return len(self._begins)

    @abstractmethod
    def states(self, model: Any, rows: Tensor) -> Tensor:
        """What the output layer of a model reads [b, T, D], on the lines `rows` [b]."""

    @abstractmethod
    def logits(self, states: Tensor) -> Tensor:
        """The model's output layer on states [..., D]."""

    @property
    def learnt(self) -> Tensor:
        """The lines that are learnt from, [m]."""
        every = torch.arange(len(self))
        return every[every % _HELD_OUT != _HELD_OUT - 1] if len(self) >= _HELD_OUT else every

    @property
    def held_out(self) -> Tensor:
        """The others; all lines, where there are too few to hold any out."""
        every = torch.arange(len(self))
        return every[every % _HELD_OUT == _HELD_OUT - 1] if len(self) >= _HELD_OUT else every

    def prompts(self, rows: Tensor) -> Tensor:
        """Which places of lines `rows` [b] are of the prompt, bool [b, T]."""
        return torch.arange(self._size, device=self.device) < self._begins[
            self._at(rows)
        ].unsqueeze(-1)

    def fed(self, rows: Tensor, length: int) -> Tensor:
        """Where the token at each place stands in a table of `Depth.kept`: int64 [b, T], 0 for the
        prompt, 1 for its last token, with which the answer begins, `length` at most."""
        begins = self._begins[self._at(rows)].unsqueeze(-1)
        places = torch.arange(self._size, device=self.device)
        return (places - begins + 2).clamp(0, length)

    def apart(self, model: Any, rows: Tensor) -> Tensor:
        """How far a model's laws are from the whole one's: KL(whole || model), nats a token."""
        places, counts = self._places(rows)
        width = self.target.width_of_states
        found = self.states(model, rows).gather(1, places.unsqueeze(-1).expand(-1, -1, width))
        with torch.no_grad():
            law = self.logits(self._told(rows)).float().log_softmax(-1)
        mine = self.logits(found).float().log_softmax(-1)
        nats = (law.exp() * (law - mine)).sum(-1).masked_fill(~counts, 0.0)
        return nats.sum() / counts.sum()

    @torch.no_grad()
    def loss(self, model: Any, rows: Tensor) -> float:
        """`apart`, over many lines; every line weighs as much as it has tokens."""
        total, tokens = 0.0, 0
        for part in torch.split(rows, _ROWS[self.device.type]):
            many = int(self._places(part)[1].sum())
            total += float(self.apart(model, part)) * many
            tokens += many
        return total / tokens

    def _at(self, rows: Tensor) -> Tensor:
        return rows.to(self.device)

    def _places(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Places [b, A] whose states tell the answers' tokens, and which of them count."""
        begins, ends = (part[self._at(rows)].unsqueeze(-1) for part in (self._begins, self._ends))
        return (begins - 1 + self._steps).clamp(max=self._size - 1), begins + self._steps < ends

    def _told(self, rows: Tensor) -> Tensor:
        """The whole model's states there, [b, A, D]; computed once."""
        if self._truth is None:
            parts = []
            for part in torch.split(torch.arange(len(self)), _ROWS[self.device.type]):
                places, _ = self._places(part)
                states = self.states(self.target.model, part)
                wanted = places.unsqueeze(-1).expand(-1, -1, states.shape[-1])
                parts.append(states.gather(1, wanted))
            self._truth = torch.cat(parts)
        return self._truth[self._at(rows)]


class TextCourse(Course):
    """lines: tokens [n, T], padded behind."""

    def __init__(self, target: Any, lines: Tensor, begins: Tensor, ends: Tensor) -> None:
        super().__init__(target, begins, ends, lines.shape[1])
        self._lines = lines.to(target.device, torch.int64)

    def states(self, model: Any, rows: Tensor) -> Tensor:
        lines = self._lines[self._at(rows)]
        found: Tensor = model.base_model(input_ids=lines, use_cache=False).last_hidden_state
        return found

    def logits(self, states: Tensor) -> Tensor:
        found: Tensor = self.target.model.get_output_embeddings()(states)
        return found


class ImageCourse(Course):
    """tokens: [n, N] of images of classes [n]; the class token is the prompt."""

    def __init__(self, target: Any, tokens: Tensor, classes: Tensor) -> None:
        many, size = tokens.shape
        begins = torch.ones(many, dtype=torch.int64)
        super().__init__(target, begins, begins + size, size)
        self._tokens, self._classes = tokens.to(target.device), classes.to(target.device)

    def states(self, model: Any, rows: Tensor) -> Tensor:
        at = self._at(rows)
        found: Tensor = model.states(model.condition(self._classes[at]), self._tokens[at])
        return found

    def logits(self, states: Tensor) -> Tensor:
        found: Tensor = self.target.model.output(states)
        return found


def with_layers(target: Any, runs: Sequence[bool]) -> Any:
    """The target's model without some of its layers, for reading lines."""
    from paretoken.evaluators.models.gated_layer import gated

    return target.model_of(gated(lambda layer, _: runs[layer]))
