"""How much faster lossless Jacobi drafting is than plain decoding, on this device, in one run.

    python tests/benchmarks/lossless_speedup.py --batch 1
    python tests/benchmarks/lossless_speedup.py --batch 1,64 --window 8,16 --json speedup.json

Every decoder here emits the target's law, so speed is all that differs. Plain decoding is timed
before and after the others of a batch size: the drift between the two is what a ratio may be off by
for other reasons than the decoder. Step compression counts target forwards, speed-up is wall time,
and the round ratio between them is how much longer a round takes than one plain step; what of that
is the model and what is verification, `round_time.py` tells.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from paretoken.spaces.candidate import from_tree
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput, ParetokenError
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.records import Quantity
from paretoken.spaces.workload import Workload

WINDOWS = (2, 4, 8, 16, 32)
COUPLINGS = ("none", "maximal", "gumbel")

Row = dict[str, Any]


def main(
    batch: Annotated[str, typer.Option(help="Batch sizes, e.g. 1,64.")] = "1",
    window: Annotated[str, typer.Option(help="Window sizes.")] = ",".join(map(str, WINDOWS)),
    coupling: Annotated[str, typer.Option(help="Couplings.")] = ",".join(COUPLINGS),
    workload: Annotated[str, typer.Option(help="Workload; see 'paretoken workloads'.")] = "fashion",
    device: Annotated[str, typer.Option(help="cpu or cuda. [default: cuda if there is one]")] = "",
    init: Annotated[str, typer.Option(help="How new slots are filled.")] = "random",
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
) -> None:
    """Time plain decoding and lossless drafting, and print the ratios."""
    console = Console(width=110)
    try:
        rows: list[Row] = []
        for size in _numbers(batch):
            options = {"batch": size} | ({"device": device} if device else {})
            opened: Workload = KINDS["workloads"].load(workload).open(**options)
            rows += _at_batch(opened, size, _numbers(window), coupling.split(","), init, console)
        document = {
            "workload": workload,
            "init": init,
            "environment": asdict(opened.environment),
            "rows": rows,
        }
        console.print(_table(rows))
        console.print(f"{opened.environment.device} · {opened.environment.software}", style="dim")
        if out is not None:
            out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    except ParetokenError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from None


def _at_batch(
    workload: Workload,
    batch: int,
    windows: list[int],
    couplings: list[str],
    init: str,
    console: Console,
) -> list[Row]:
    """One row for plain decoding, and one for every coupling and window."""
    plans: list[tuple[str, int, Component]] = [("plain", 1, workload.plain())]
    for coupling in couplings:
        for window in windows:
            drafter = {
                "is": "drafters/jacobi", "window": window, "init": init, "coupling": coupling
            }  # fmt: skip
            decoder = {"is": "decoders/speculative", "drafter": drafter}
            plans.append((coupling, window, from_tree({"decoder": decoder})))
    plans.append(("plain again", 1, workload.plain()))
    rows: list[Row] = []
    with console.status("") as status:
        for done, (coupling, window, candidate) in enumerate(plans):
            status.update(f"batch {batch}: {coupling} {window}, {done} of {len(plans)} done")
            observed = workload.speed(candidate, lambda phase, share: None)
            found = {quantity.name: quantity for quantity in observed.quantities}
            base = rows[0] if rows else None
            rows.append(_row(batch, coupling, window, found, base))
            rows[-1]["capture_seconds"] = observed.detail["capture_seconds"]
    return rows


def _row(
    batch: int, coupling: str, window: int, found: dict[str, Quantity], base: Row | None
) -> Row:
    speed, steps = found["images_per_s"], found["step_compression"]
    ratio = speed.value / base["images_per_s"] if base else 1.0
    # Independent relative errors add in quadrature.
    errors = [speed.spread / speed.value]
    errors += [base["images_per_s_spread"] / base["images_per_s"]] if base else []
    return {
        "batch": batch,
        "coupling": coupling,
        "window": window,
        "images_per_s": speed.value,
        "images_per_s_spread": speed.spread,
        "speedup": ratio,
        "speedup_spread": ratio * math.hypot(*errors) if base else 0.0,
        "step_compression": steps.value,
        "step_compression_spread": steps.spread,
        "target_forwards": found["target_forwards"].value,
        "tokens_per_s": speed.value * steps.value * found["target_forwards"].value,
        "round_ratio": steps.value / ratio,
        "repeats": speed.samples,
    }


def _table(rows: list[Row]) -> Table:
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in (
        "batch", "coupling", "window", "images/s", "tokens/s", "speed-up", "step compression",
        "round ratio",
    ):  # fmt: skip
        table.add_column(name, justify="left" if name == "coupling" else "right")
    for i, row in enumerate(rows):
        table.add_row(
            str(row["batch"]),
            row["coupling"],
            str(row["window"]),
            _told(row["images_per_s"], row["images_per_s_spread"]),
            f"{row['tokens_per_s']:,.0f}",
            _told(row["speedup"], row["speedup_spread"]),
            _told(row["step_compression"], row["step_compression_spread"]),
            f"{row['round_ratio']:.2f}",
            end_section=i + 1 == len(rows) or rows[i + 1]["coupling"] != row["coupling"],
        )
    return table


def _told(value: float, spread: float) -> str:
    return f"{value:.3g} ± {spread:.1g}" if spread else f"{value:.3g}"


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise BadInput(f"whole numbers such as 1,64 are wanted, not {text!r}.") from None


if __name__ == "__main__":
    typer.run(main)
