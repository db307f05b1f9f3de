"""torch: a learning-rate schedule as phases in a small file, and the lines that make a LambdaLR.

All curves, exactly: of torch's own schedulers `LinearLR` cannot begin at 0, and none has a harmonic
anneal or a fall by a root. A `LambdaLR` does not save its function, so the file goes with the
checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paretoken.search.exporters import Documents, Engine, Exporter
from paretoken.search.exporting.asked import Asked
from paretoken.search.exporting.refusal import Code
from paretoken.search.exporting.training import runs

_FILE = "schedule.json"
# The formulas of `curves.SHAPES` for one step: u runs from 0 to 1, a is the start and b the end.
_FORMULAS = {
    "constant": "a",
    "linear": "a + (b - a) * u",
    "cosine": "b + (a - b) * 0.5 * (1 + math.cos(math.pi * u))",
    "one_minus_sqrt": "b + (a - b) * (1 - math.sqrt(u))",
    "exponential": "a * (b / a) ** u",
    "harmonic": "1 / (u / b + (1 - u) / a)",
    "inverse_root": "a + (b - a) * (1 / math.sqrt(1 + 10 * u) - 1) / (1 / math.sqrt(11) - 1)",
    "reciprocal_root": "a / math.sqrt(1 + u)",
}


class TorchSchedule(Exporter):
    engine = Engine(
        "torch", "2.14", "optim/lr_scheduler.py", "torch_schedule-2.14.json", "training"
    )

    def express(self, asked: Asked) -> Documents:
        found: Documents = {}
        for run in runs(asked):
            document = {
                "lr": run.peak,
                "steps": run.steps,
                "phases": [
                    {**phase.plain(), "start": phase.start / run.peak, "end": phase.end / run.peak}
                    for phase in run.phases
                ],
            }
            if run.leaves is not None:
                document["save_at"] = run.leaves
                asked.note(
                    Code.RUNTIME_ONLY, "schedule", "the next data set goes on from the weights and "
                    f"the optimizer's state after step {run.leaves} of {run.name}, from before the "
                    "anneal",
                    value=run.name,
                )  # fmt: skip
            found[run.file(_FILE)] = document
        return found

    def request(self, asked: Asked) -> Mapping[str, Any]:
        """Rates by step, to check a trainer by."""
        return {"rates": {run.file(_FILE): run.sampled() for run in runs(asked)}}

    def use(self, asked: Asked, documents: Documents) -> str:
        shapes = {phase["shape"] for found in documents.values() for phase in found["phases"]}
        curves = [f'    "{shape}": lambda u, a, b: {_FORMULAS[shape]},' for shape in sorted(shapes)]
        first = next(iter(documents))
        others = [f"# then, for the next data set: FOLDER/{name}" for name in documents][1:]
        return "\n".join(
            [
                "import json, math",
                "from torch.optim.lr_scheduler import LambdaLR",
                "CURVES = {",
                *curves,
                "}",
                "def factor(step, phases):",
                "    for phase in phases[:-1]:",
                "        if step < phase['steps']:",
                "            break",
                "        step -= phase['steps']",
                "    else:",
                "        phase = phases[-1]",
                "    u = (phase['begun'] + min(step, phase['steps'])) / phase['of']",
                "    return CURVES[phase['shape']](u, phase['start'], phase['end'])",
                f'schedule = json.load(open("FOLDER/{first}"))',
                *others,
                "# the optimizer is made with lr=schedule['lr']; after each step: scheduler.step()",
                "scheduler = LambdaLR(optimizer, lambda step: factor(step, schedule['phases']))",
            ]
        )


plugin = TorchSchedule()
