"""`paretoken show`: everything known about one candidate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paretoken.search.cli.options import DEFAULT_STORE, AsJson, Device, Format, Out, Store

if TYPE_CHECKING:
    from rich.console import Console

    from paretoken.spaces.records import Fingerprint, Keys, Measurement
    from paretoken.spaces.settings import Tree


def run(
    candidate: Annotated[str, typer.Argument(help="The candidate's id, or enough of its start.")],
    device: Device = "",
    format: Format = "",
    out: Out = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Show a candidate: its settings, every measurement of it, and the studies that hold it.

    'best' and 'front --json' tell ids.

    \b
      paretoken show 3f9a1c
      paretoken show 3f9a1c --json | jq .settings
      paretoken show 3f9a1c --out measurements.csv
    """
    from collections import Counter

    from paretoken.cache.store import Store as OpenStore
    from paretoken.search.cli.formats import form
    from paretoken.search.frames import measurements_frame
    from paretoken.search.report.devices import chosen
    from paretoken.search.report.wording import stopped

    shape = form(format, out, as_json)
    with OpenStore.open(store, create=False) as opened:
        identity, settings, studies = opened.candidate(candidate)
        measurements = opened.measurements(identity)
        fingerprints = opened.fingerprints(identity)
        states = {
            (study, trial.number): stopped(trial) if trial.state == "stopped" else trial.state
            for study in dict.fromkeys(study for study, _ in studies)
            for trial in opened.trials(study, {at for name, at in studies if name == study})
        }
    if device:
        known = Counter(found.environment.device for found in measurements)
        here = chosen(known, device)
        measurements = [one for one in measurements if one.environment.device == here]
    trials = [(study, at, states[study, at]) for study, at in studies]
    about = _Known(identity, settings, trials, measurements, fingerprints)
    shape.emit(
        table=about.print,
        document=about.document,
        frame=partial(measurements_frame, identity, measurements),
    )


@dataclass(frozen=True)
class _Known:
    """All about one candidate. trials: study, number and state of each."""

    identity: str
    settings: Tree
    trials: list[tuple[str, int, str]]
    measurements: list[Measurement]
    fingerprints: list[tuple[Fingerprint, Keys]]

    def document(self) -> dict[str, Any]:
        from paretoken.search.report.results import plain

        return {
            "candidate": self.identity,
            "settings": self.settings,
            "studies": [
                {"study": study, "number": at, "state": state} for study, at, state in self.trials
            ],
            "fingerprints": [
                {
                    "context": what.context,
                    "law": keys.quality,
                    "work": keys.work,
                    "evidence": dict(what.evidence),
                }
                for what, keys in self.fingerprints
            ],
            "measurements": [
                {
                    "aspect": found.aspect,
                    "key": found.key,
                    "tokens": found.tokens,
                    "trace": found.trace,
                    "fresh": found.fresh,
                    "seed": found.seed,
                    "seconds": found.seconds,
                    "device": found.environment.device,
                    "software": found.environment.software,
                    "quantities": {q.name: plain(q) for q in found.quantities},
                }
                for found in self.measurements
            ],
        }

    def print(self, out: Console) -> None:
        from rich import box
        from rich.table import Table
        from rich.tree import Tree as Drawn

        from paretoken.search.report.wording import number

        out.print(f"candidate {self.identity}", markup=False, style="bold")
        told = (f"{study} (number {at}, {state})" for study, at, state in self.trials)
        out.print("in " + ", ".join(told), markup=False)
        tree = Drawn("settings", guide_style="dim")
        _grow(tree, self.settings)
        out.print(tree)
        for what, keys in self.fingerprints:
            evidence = ", ".join(f"{name} {value}" for name, value in what.evidence.items())
            law = f"output law {keys.quality[:8]}, work {keys.work[:8]}: {evidence}"
            out.print(law, markup=False)
        table = Table(header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("aspect", "quantity", "value", "unit", "samples", "seed", "took", "on"):
            right = name in ("value", "samples", "took")
            table.add_column(name, justify="right" if right else "left")
        for found in self.measurements:
            for i, one in enumerate(found.quantities):
                table.add_row(
                    found.aspect if i == 0 else "",
                    one.name,
                    number(one.value, one.spread),
                    one.unit,
                    str(one.samples),
                    str(found.seed) if i == 0 else "",
                    f"{found.seconds:.1f} s" if i == 0 else "",
                    found.environment.device if i == 0 else "",
                    end_section=i == len(found.quantities) - 1,
                )
        out.print(table if self.measurements else "not measured yet.")


def _grow(tree: Any, node: Mapping[str, Any]) -> None:
    """Add a settings node to a rich tree: plain values as they are, components as branches."""
    from rich.markup import escape

    for key, value in node.items():
        if isinstance(value, Mapping):
            tag = str(value.get("is", "")).rpartition("/")[2]
            _grow(tree.add(escape(f"{key}: {tag}" if tag else key)), value)
        elif key != "is":
            tree.add(escape(f"{key} = {value}"))
