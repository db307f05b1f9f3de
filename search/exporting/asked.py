"""Asked: a candidate as exporters read it, and what they find that an engine cannot do with it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from paretoken.search.exporting.refusal import Code, Finding
from paretoken.spaces.errors import BadInput
from paretoken.spaces.records import StudyInfo, Trial

# What makes a part what it is, for people who are told that an engine does not have it.
_WHAT = {
    "drafter.aggressive": "drafts that copy the source of a prompt",
    "drafter.early_layers": "drafts from the first layers",
    "drafter.head": "drafts of a trained head",
    "drafter.jacobi": "Jacobi drafts",
    "drafter.prompt_lookup": "drafts looked up in the text",
    "drafter.skip_layers": "drafts from the model with layers left out",
    "drafter.small_model": "drafts of a second model",
    "drafter.trigram": "drafts from a table of tri-grams",
    "length.adaptive": "lengths that follow each row's luck",
    "length.confidence": "stopping where the draft model is unsure",
    "length.entropy": "stopping where the draft's law is spread",
}


@dataclass
class Asked:
    """The settings of a trial, read by path: `drafter`, `drafter.window`, `sampling.top_k`.

    unverified: whether what is only nearly the same may be written. refusals, notes: what was
    found so far; notes do not stop an export, they go with it.
    """

    study: StudyInfo
    trial: Trial
    unverified: bool = False
    refusals: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    def knob(self, path: str) -> Any:
        """The value of a knob; raises BadInput where the settings do not say it."""
        first, _, rest = path.partition(".")
        node: Any = self.trial.tree
        if first not in node:  # parts of the decoder are called without it
            node = node.get("decoder", {})
        for name in (first, *rest.split(".")) if rest else (first,):
            if name not in node:
                raise BadInput(
                    f"the settings of number {self.trial.number} do not say {path}: "
                    "they were stored by another version; search again."
                )
            node = node[name]
        return node

    def part(self, path: str) -> str:
        """Which component stands there: "prompt_lookup" for `drafter`."""
        return str(self.knob(path)["is"]).rpartition("/")[2]

    def option(self, name: str, otherwise: str) -> str:
        """An option of the workload as text."""
        value = self.study.options.get(name)
        return otherwise if value is None else str(value)

    @property
    def draft_length(self) -> int:
        """Drafts of a full window: all but the pending token."""
        return int(self.knob("drafter.window")) - 1

    @property
    def greedy(self) -> bool:
        return bool(self.knob("sampling.temperature") == 0.0)

    @property
    def dtype(self) -> str:
        """The precision that was measured: "float32" or "bfloat16"."""
        chosen = str(self.knob("runtime.dtype"))
        if chosen != "auto":
            return chosen
        place = self.trial.environment
        return "bfloat16" if place is not None and place.device.startswith("cuda") else "float32"

    def refuse(self, code: Code, knob: str, why: str, way: str = "", value: Any = None) -> None:
        """Something stands in the way. value: the knob's own where it is not named."""
        self.refusals.append(Finding(code, knob, self._value(knob, value), why, way))

    def doubt(self, knob: str, why: str) -> None:
        """What the engine does is only nearly what was measured."""
        if self.unverified:
            self.note(Code.UNVERIFIED_SEMANTICS, knob, why)
        else:
            way = "write it all the same with --allow-unverified"
            self.refuse(Code.UNVERIFIED_SEMANTICS, knob, why, way)

    def note(self, code: Code, knob: str, why: str, value: Any = None) -> None:
        """Something to know about what is written. value: as in `refuse`."""
        self.notes.append(Finding(code, knob, self._value(knob, value), why))

    def _value(self, knob: str, given: Any) -> Any:
        found = self.knob(knob) if given is None else given
        return self.part(knob) if given is None and isinstance(found, dict) else found

    def among(self, path: str, known: Collection[str], engine: str) -> str:
        """Which component stands there, refused where it is none of those that the engine has."""
        name = self.part(path)
        if name not in known:
            what = _WHAT.get(f"{path}.{name}", f"the {path} {name}")
            way = f"take a candidate with {path} {' or '.join(sorted(known))}"
            self.refuse(Code.NOT_EXPRESSIBLE, path, f"{engine} has no {what}", way)
        return name
