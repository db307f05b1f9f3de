"""paretoken's own settings: the candidate, and beside it where it comes from and what it gave.

`paretoken generate` reads them; `paretoken.spaces.settings.loads` gives the candidate's tree.
"""

from __future__ import annotations

import json
import math
from typing import Any

from paretoken.search.exporters import Chosen
from paretoken.spaces.records import Quantity
from paretoken.spaces.settings import SCHEMA


class SettingsFile:
    """`{"schema": …, "candidate": {…}, "from": {…}}`, indented, keys sorted."""

    suffix = ".json"

    def render(self, chosen: Chosen) -> str:
        """The file. Numbers that are not finite are left out: JSON has none."""
        trial, study = chosen.trial, chosen.study
        origin = {
            "study": study.name,
            "workload": study.workload,
            "options": dict(study.options),
            "candidate_id": trial.candidate_id,
            "number": trial.number,
            "quantities": {
                name: _plain(found)
                for name, found in trial.quantities.items()
                if math.isfinite(found.value)
            },
            "device": trial.environment.device if trial.environment else None,
            "software": trial.environment.software if trial.environment else None,
            "commit": trial.environment.commit if trial.environment else None,
            "date": chosen.date,
        }
        document = {"schema": SCHEMA, "candidate": dict(trial.tree), "from": origin}
        return json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n"


def _plain(found: Quantity) -> dict[str, Any]:
    return {
        "value": found.value,
        "spread": found.spread if math.isfinite(found.spread) else None,
        "samples": found.samples,
        "unit": found.unit,
        "higher": found.higher,
        "comparable": found.comparable,
    }


plugin = SettingsFile()
