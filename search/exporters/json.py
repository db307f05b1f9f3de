"""paretoken's own settings: the candidate, and beside it where it comes from and what it gave.

`paretoken generate` reads them; `paretoken.spaces.settings.loads` gives the candidate's tree.
"""

from __future__ import annotations

import shlex

from paretoken.search.exporters import Documents, Engine, Exporter
from paretoken.search.exporting.asked import Asked


class SettingsFile(Exporter):
    """No document but the one that goes with every export."""

    engine = Engine("paretoken", "", "spaces/settings.py", "json-1.json", "")

    def express(self, asked: Asked) -> Documents:
        return {}

    def use(self, asked: Asked, documents: Documents) -> str:
        trained = {"schedules": "torch-schedule", "tokenizers": "tokenizer-json"}
        for part in ("schedule", "tokenizer"):
            kind = str(asked.trial.tree.get(part, {}).get("is", "")).partition("/")[0]
            if (target := trained.get(kind)) is not None:
                study, short = shlex.quote(asked.study.name), asked.trial.candidate_id[:12]
                return f"paretoken export {study} --candidate {short} --to {target}"
        return "paretoken generate --settings FOLDER"


plugin = SettingsFile()
