"""A chosen candidate written for an engine: whole or not at all, and noted in the store."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from paretoken.cache.store import Store
from paretoken.search.cli.options import write, write_folder
from paretoken.search.exporting import schedule as table
from paretoken.search.exporting.artefact import SIDECAR, Artefact, make
from paretoken.search.exporting.provenance import Chosen
from paretoken.search.report.results import Results
from paretoken.spaces.errors import BadInput, Unreadable
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.records import Trial


@dataclass(frozen=True)
class HandingOut:
    """For whom a study's candidates are written, and how; see `paretoken export --help`.

    engine: as after `--to`; raises UnknownName for another. results: all trials for `by_batch`.
    """

    store: Store
    results: Results
    engine: str
    by_batch: bool = False
    unverified: bool = False
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def target(self) -> str:
        """The engine's name among the plug-ins."""
        return self.engine.replace("-", "_")

    def express(self, trial: Trial) -> Artefact:
        """The trial's settings in the engine's words; raises Refused where it has none."""
        schedule, results = None, self.results
        if self.by_batch:
            speed = results.objectives[0].name
            schedule = table.schedule(table.measured(trial, results.done, speed), speed)
        plain = next((known for known in results.done if known.number == 0), None)
        found = tuple(self.store.fingerprints(trial.candidate_id))
        return make(
            KINDS["exporters"].load(self.target),
            Chosen(results.info, trial, self.date, plain, found),
            unverified=self.unverified,
            schedule=schedule,
        )

    def check(self, artefact: Artefact) -> None:
        """Let the engine read what is to be written; raises BadInput where it does not."""
        readers = KINDS["readers"]
        if self.target not in readers.names():
            raise BadInput(
                f"nothing here lets {self.target} read its own files, only "
                f"{', '.join(readers.names())}: leave out --check."
            )
        with TemporaryDirectory() as folder:
            for name, text in artefact.files().items():
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / name).write_text(text, encoding="utf-8")
            readers.load(self.target)(Path(folder))
        artefact.sidecar["export"]["checked"].append("engine")

    def write(self, artefact: Artefact, trial: Trial, out: Path | None, force: bool) -> Path:
        """Write it and note that in the store; returns where it is.

        Settings alone are a file, all else is a folder.
        """
        files = artefact.files()
        if set(files) == {SIDECAR}:
            path = out or Path("tuned.json")
            write(path, files[SIDECAR].encode(), force=force)
        else:
            path = out or Path(f"tuned-{self.target.replace('_', '-')}")
            data = {name: text.encode() for name, text in files.items()}
            write_folder(path, data, SIDECAR, force=force)
        study = self.results.info.name
        try:
            self.store.record_export(study, trial.candidate_id, self.target, str(path))
        except Unreadable as error:  # somebody else's store, say: the settings are written
            print(f"note: the store does not know of this export: {error}", file=sys.stderr)
        return path


def check_choice(candidate: str, others: Sequence[object]) -> None:
    """Raise BadInput where a candidate is named and a best is asked for as well."""
    if candidate and any(others):
        raise BadInput(
            "--candidate names one already: leave out --where, --budget, --maximize, --minimize, "
            "--knee."
        )
