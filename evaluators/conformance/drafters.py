"""The suite of drafters: whatever is drafted, answers follow the target's law, row by row.

A drafter drafts for a model of three tokens whose law of every answer is known. What that model
lacks (layers to leave out, a trained head) its drafters cannot be tried with: of those the suite
sees that they say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from paretoken.evaluators.components.decoders.speculative import Speculative
from paretoken.evaluators.conformance.enumerable import LEVEL, p_value_of
from paretoken.evaluators.conformance.told_laws import ToldLaws
from paretoken.evaluators.engine.decode import Decoding
from paretoken.evaluators.engine.drafter import Drafter
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.proposal import Proposal
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.component import Part
from paretoken.spaces.conformance import Check
from paretoken.spaces.errors import BadInput, MeasurementFailed

_V, _N = 3, 4  # 81 answers
_ANSWERS, _ROWS = 4_000, 64
_WINDOWS = (2, 4)
_GEOMETRY = Geometry(torch.eye(_V), torch.eye(_V))


def suite(plugin: Any) -> Iterator[Check]:
    """The checks of a drafter's class."""
    if not (isinstance(plugin, type) and issubclass(plugin, Drafter)):
        yield "it is a class of drafters", lambda: f"it is {plugin!r}"
        return
    yield "it is documented", lambda: "" if (plugin.__doc__ or "").strip() else "no docstring"
    windows = _WINDOWS if "window" in plugin.fields else (None,)
    for window in windows:
        tried = _Tried(plugin, window)
        told = "" if window is None else f", window {window}"
        yield f"it drafts for any model, or says what it lacks{told}", tried.opens
        if tried.can:
            yield f"drafts are tokens, with laws they can be drawn from{told}", tried.proposes
            yield f"greedy answers are plain decoding's{told}", tried.greedy
            yield f"answers follow the target's law{told}", tried.follows
            yield f"an answer is the same whoever is answered beside it{told}", tried.alone
        elif tried.lacks:
            yield f"not tried{told}: {tried.lacks}", lambda: ""


class _Tried:
    """A drafter at one window (None: its own). can: whether it can draft for the model here;
    lacks: why not."""

    def __init__(self, plugin: type[Drafter], window: int | None) -> None:
        parts = {
            name: from_tree(field.named, field.kind)
            for name, field in plugin.fields.items()
            if isinstance(field, Part)
        }
        own: Any = plugin(**parts) if window is None else plugin(window=window, **parts)
        # Drafts beside each other are for rules that take them; the exact one takes a chain.
        self._drafter: Drafter = own.alone()
        self._target = ToldLaws(_V, _N)
        self.can, self.lacks = False, ""

    def opens(self) -> str:
        try:
            self._decoding(0.0, 1)
        except (BadInput, MeasurementFailed) as error:
            self.lacks = str(error)
            return "" if self.lacks else "it does not say what it lacks"
        self.can = True
        return ""

    def proposes(self) -> str:
        wrong: list[str] = []
        decoding = self._decoding(1.0, _ROWS)
        memory = decoding._session._memory
        propose: Callable[[int], Proposal] = memory.propose

        def watched(drafts: int) -> Proposal:
            found = propose(drafts)
            wrong.append(_amiss(found, drafts, reads_laws=not self._drafter.shares_noise))
            return found

        memory.propose = watched  # type: ignore[method-assign]
        try:
            decoding.run(torch.zeros(2 * _ROWS, dtype=torch.int64))
        except Exception:
            if not any(wrong):  # else it is known what led to that
                raise
        return next(filter(None, wrong), "") if wrong else "it was asked for none"

    def greedy(self) -> str:
        classes = torch.zeros(1, dtype=torch.int64)
        found, _ = self._decoding(0.0, 1).run(classes)
        plain, _ = self._decoding(0.0, 1, from_tree({}).decoder.drafter).run(classes)
        return "" if torch.equal(found, plain) else f"{found[0].tolist()}, not {plain[0].tolist()}"

    def follows(self) -> str:
        tokens = self._drawn(_ROWS, _ANSWERS)
        law = torch.tensor(list(self._target.law().values()), dtype=torch.float64)
        index = (tokens * _V ** torch.arange(_N - 1, -1, -1)).sum(-1)
        seen = torch.bincount(index, minlength=_V**_N)
        rare = law * _ANSWERS < 5  # one cell together, as the approximation asks for
        p = p_value_of(*(torch.cat([of[~rare], of[rare].sum().view(1)]) for of in (seen, law)))
        return "" if p > LEVEL else f"{_ANSWERS} answers have p = {p:.1g} under it"

    def alone(self) -> str:
        beside, by_itself = self._drawn(8, 24), self._drawn(1, 24)
        differ = int((beside != by_itself).any(-1).sum())
        return f"{differ} of 24 differ" if differ else ""

    def _drawn(self, rows: int, answers: int) -> Tensor:
        return self._decoding(1.0, rows).run(torch.zeros(answers, dtype=torch.int64))[0]

    def _decoding(self, temperature: float, rows: int, drafter: Drafter | None = None) -> Decoding:
        sampling = {"is": "samplings/standard", "temperature": temperature}
        candidate = from_tree({"sampling": sampling})
        decoder: Speculative = candidate.decoder.clone(
            override={"drafter": (drafter or self._drafter).clone()}
        )
        return Decoding(
            self._target, decoder, candidate.sampling, _GEOMETRY, batch=rows, seed=0,
            dtype=torch.float64,
        )  # fmt: skip


def _amiss(found: Proposal, drafts: int, reads_laws: bool) -> str:
    """What is wrong with the drafts of one round."""
    tokens, valid = found.tokens, found.valid
    if not found.is_chain or tokens.shape[1] > drafts:
        return f"{tokens.shape[1]} drafts of parents {found.parents}, where {drafts} were asked for"
    if (valid[:, 1:] & ~valid[:, :-1]).any():
        return "a draft counts whose forerunner does not"
    if ((tokens < 0) | (tokens >= _V))[valid].any():
        return f"tokens are {sorted(set(tokens[valid].tolist()))}, of {_V}"
    if not reads_laws or not valid.any():
        return ""
    laws = found.laws[valid]
    if (laws < 0).any() or not torch.allclose(laws.sum(-1), torch.ones((), dtype=laws.dtype)):
        return "laws do not add up to 1"
    if (laws.gather(1, tokens[valid].unsqueeze(1)) <= 0).any():
        return "a draft cannot come of its law"
    return ""
