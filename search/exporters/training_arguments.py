"""Hugging Face TrainingArguments: the learning rate of each run of a `Trainer`, in its own words.

Linear, cosine, restarts, inverse square root, constant, and WSD with a linear, cosine or 1-sqrt
decay; a schedule that only rises from elsewhere than 0 is WSD's too, which warms up from its floor.
Cool-downs, exponential and harmonic anneals it has not. Every type with its own arguments: Trainer
itself takes foreign ones, and fails or drops them when it begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paretoken.evaluators.training.curves import Phase, length
from paretoken.search.exporters import Documents, Engine, Exporter
from paretoken.search.exporting.asked import Asked
from paretoken.search.exporting.refusal import Code
from paretoken.search.exporting.training import Run, runs

_FILE = "training_arguments.json"
# Ours -> theirs.
_DECAYS = {"linear": "linear", "cosine": "cosine", "one_minus_sqrt": "1-sqrt"}
_ELSEWHERE = "export --to torch-schedule, which has every curve"


class TrainingArguments(Exporter):
    engine = Engine(
        "transformers", "5.24", "optimization.py, training_args.py",
        "training_arguments-5.24.json", "training",
    )  # fmt: skip

    def express(self, asked: Asked) -> Documents:
        found: Documents = {}
        for run in runs(asked):
            named = self._named(asked, run)
            if named is None:
                continue
            kind, more, warm_up = named
            found[run.file(_FILE)] = {
                "learning_rate": run.peak,
                "max_steps": run.steps,
                "warmup_steps": warm_up,
                "lr_scheduler_type": kind,
                "lr_scheduler_kwargs": more,
            }
            if run.leaves:
                found[run.file(_FILE)] |= {"save_strategy": "steps", "save_steps": run.leaves}
                asked.note(
                    Code.RUNTIME_ONLY, "schedule", f"the next data set goes on from checkpoint "
                    f"{run.leaves} of {run.name}, from before the anneal: from its weights and "
                    "optimizer.pt, not from its scheduler.pt and trainer_state.json",
                    value=run.name,
                )  # fmt: skip
        return found

    def _named(self, asked: Asked, run: Run) -> tuple[str, dict[str, Any], int] | None:
        """Type, its arguments and the steps of warm-up; None where it was refused."""
        phases = run.phases
        peak, warm_up, begins = run.peak, 0, 0.0
        first = phases[0]
        if len(phases) > 1 and first.shape == "linear" and first.start < first.end == peak:
            warm_up, begins, phases = first.steps, first.start, phases[1:]
        kinds = [phase.shape for phase in phases]
        last = phases[-1]
        floor = last.end / peak
        if begins == 0.0:
            plain = self._from_zero(phases, peak, warm_up)
            if plain is not None:
                return (*plain, warm_up)
        stays = length(phases[:-1])
        falls = last.shape in _DECAYS and last.begun == 0 and last.of == last.steps
        if falls and last.start == peak and set(kinds[:-1]) <= {"constant"}:
            if warm_up and floor * peak != begins:
                asked.doubt(
                    "schedule.floor",
                    f"transformers warms up from the floor of warmup_stable_decay, {floor * peak:g}"
                    f", and here it was from {begins:g}",
                )
            decay = {
                "num_decay_steps": run.steps - warm_up - stays,
                "decay_type": _DECAYS[last.shape],
                "min_lr_ratio": floor,
            }
            return "warmup_stable_decay", decay, warm_up
        told = ", ".join([*(["a warm-up"] if warm_up else []), *kinds])
        asked.refuse(
            Code.NOT_EXPRESSIBLE, "schedule", f"transformers has no schedule of {told}",
            _ELSEWHERE,
        )  # fmt: skip
        return None

    def _from_zero(
        self, phases: tuple[Phase, ...], peak: float, warm_up: int
    ) -> tuple[str, dict[str, Any]] | None:
        """Type and arguments of what follows a warm-up from 0, or begins at the peak."""
        first = phases[0]
        if first.start != peak or first.begun:
            return None
        if len(phases) > 1:
            again = all(p == first for p in phases) and first.shape == "cosine"
            if again and first.end == 0.0 and first.of == first.steps:
                return "cosine_with_restarts", {"num_cycles": len(phases)}
            return None
        match first.shape:
            case "constant":
                return ("constant_with_warmup" if warm_up else "constant"), {}
            case "linear" if first.end == 0.0:
                return "linear", {}
            case "linear" if first.of == first.steps:
                return "polynomial", {"lr_end": first.end, "power": 1.0}
            case "cosine":
                waves = first.steps / (2 * first.of)
                cycles = {} if waves == 0.5 else {"num_cycles": waves}
                if first.end == 0.0:
                    return "cosine", cycles
                return "cosine_with_min_lr", {"min_lr_rate": first.end / peak, **cycles}
            case "reciprocal_root" if float(first.of).is_integer():
                return "inverse_sqrt", {"timescale": int(first.of)}
        return None

    def request(self, asked: Asked) -> Mapping[str, Any]:
        """Rates by step, to check a trainer by."""
        return {"rates": {run.file(_FILE): run.sampled() for run in runs(asked)}}

    def use(self, asked: Asked, documents: Documents) -> str:
        lines = ["import json", "from transformers import TrainingArguments"]
        for name in documents:
            lines.append(
                f'arguments = TrainingArguments("OUT", **json.load(open("FOLDER/{name}")))'
            )
        return "\n".join(lines)


plugin = TrainingArguments()
