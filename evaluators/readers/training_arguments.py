"""transformers makes the schedules of its TrainingArguments, and every rate is what was trained."""

from __future__ import annotations

import json
from pathlib import Path

from paretoken.spaces.errors import BadInput

# Of a rate: transformers computes in the same float64, by another order of the same few operations.
_TOLERANCE = 1e-9


def read(folder: Path) -> None:
    """Raise BadInput where transformers would train at other rates than the folder says."""
    try:
        import torch
        from transformers import TrainingArguments, __version__
        from transformers.optimization import get_scheduler
    except ImportError:
        raise BadInput(
            "transformers is not installed here, so it cannot check: pip install "
            "'paretoken[text]', or leave out --check."
        ) from None
    told = json.loads((folder / "paretoken_export.json").read_text(encoding="utf-8"))
    for name, wanted in told["export"]["request"]["rates"].items():
        given = json.loads((folder / name).read_text(encoding="utf-8"))
        try:
            arguments = TrainingArguments(str(folder / "out"), **given)
            optimizer = torch.optim.SGD([torch.zeros(1)], lr=arguments.learning_rate)
            scheduler = get_scheduler(
                arguments.lr_scheduler_type,
                optimizer,
                num_warmup_steps=arguments.get_warmup_steps(arguments.max_steps),
                num_training_steps=arguments.max_steps,
                scheduler_specific_kwargs=arguments.lr_scheduler_kwargs,
            )
        except (TypeError, ValueError) as error:
            raise BadInput(f"transformers {__version__} refuses {name}: {error}") from error
        (factor,) = scheduler.lr_lambdas
        for step, rate in wanted:
            found = factor(step) * arguments.learning_rate
            if abs(found - rate) > _TOLERANCE * arguments.learning_rate:
                raise BadInput(
                    f"transformers {__version__} trains step {step} of {name} at {found:g}, and "
                    f"{rate:g} was measured: leave out --allow-unverified, or export --to "
                    "torch-schedule."
                )


plugin = read
