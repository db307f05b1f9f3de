"""What each row has read and written so far, for drafters that look text up in it.

Everything is a tensor of fixed shape and nothing is asked of the device, so that lookups run inside
a CUDA graph as well.
"""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.engine.drafter import Round, Shape
from paretoken.evaluators.engine.laws import one_hot
from paretoken.evaluators.engine.proposal import Proposal
from paretoken.evaluators.engine.tree import side_by_side


class History:
    """Prompt and sample of every row in one line: board [B, S] int64.

    start: [B], tokens of the prompt. end: [B], tokens that stand. source: [B, 2], from where to
    where the prompt is text that an answer may copy; empty where it is not.
    """

    capturable = True

    def __init__(self, shape: Shape, window: int) -> None:
        self._shape = shape
        longest = max((len(context.tokens) for context in shape.target.contexts), default=0)
        rows, device = shape.batch, shape.device
        # Behind the sample, windows overhang; before the prompt, n-grams would.
        size = longest + shape.length + 2 * window
        self.board = torch.zeros(rows, size, dtype=torch.int64, device=device)
        self.start, self.end = torch.zeros(2, rows, dtype=torch.int64, device=device)
        self.source = torch.zeros(rows, 2, dtype=torch.int64, device=device)
        self._places = torch.arange(size, device=device)

    def reset(self, rows: Tensor, ids: Tensor, seed: int, classes: Tensor) -> None:
        """Begin with prompts `classes` [n] in some rows [n]."""
        for row, prompt in zip(rows.tolist(), classes.tolist(), strict=True):
            context = self._shape.target.contexts[prompt]
            size = len(context.tokens)
            self.board[row, :size] = context.tokens.to(self.board.device)
            self.start[row] = self.end[row] = size
            self.source[row] = torch.tensor(context.source, device=self.source.device)

    def observe(self, finished: Round) -> None:
        """Take in what a round has added."""
        place = self.start.unsqueeze(-1) + self._places[: finished.tokens.shape[1]]
        self.board.scatter_(1, place.clamp(max=self.board.shape[1] - 1), finished.tokens)
        self.end.copy_(self.start + finished.count)

    def repeats(self, size: int) -> Tensor:
        """Where the last `size` tokens occurred before: [B, S] bool, true at their last token, of
        which something follows."""
        found: Tensor = self._places < (self.end - 1).unsqueeze(-1)
        found = found & (self._places >= size - 1) & (self.end >= size).unsqueeze(-1)
        for back in range(size):
            wanted = self.board.gather(1, (self.end - 1 - back).clamp_min(0).unsqueeze(-1))
            found = found & self.board.roll(back, dims=1).eq(wanted)
        return found

    def copied(self, first: Tensor, until: Tensor, drafts: int) -> Proposal:
        """Drafts that repeat the board from places `first` [B, k] on, each so many, up to
        `until` [B]."""
        place = (first.unsqueeze(1) + self._places[:drafts].view(-1, 1)).flatten(1)
        valid = (place < until.unsqueeze(-1)) & (place >= 0)
        tokens = self.board.gather(1, place.clamp(0, self.board.shape[1] - 1))
        laws = one_hot(tokens, self._shape.vocabulary, self._shape.dtype)
        return Proposal(tokens, laws, valid, side_by_side(first.shape[1], drafts))
