"""An export: documents of one engine, checked, and beside them where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from paretoken.search.exporters import Documents, Exporter
from paretoken.search.exporting import provenance, schemas, syntax
from paretoken.search.exporting.asked import Asked
from paretoken.search.exporting.provenance import Chosen
from paretoken.search.exporting.refusal import Code, Finding, Refused
from paretoken.search.exporting.schedule import Schedule
from paretoken.spaces.plugins import KINDS

SIDECAR = "paretoken_export.json"


@dataclass(frozen=True)
class Artefact:
    """What is written. documents: by file name. sidecar: settings, origin and what was checked.

    use: how the files are used; FOLDER is where they are.
    """

    documents: Documents
    sidecar: dict[str, Any]
    notes: tuple[Finding, ...]
    use: str

    def files(self) -> dict[str, str]:
        """Text by file name, the sidecar included."""
        texts = {name: syntax.written(name, found) for name, found in self.documents.items()}
        return texts | {SIDECAR: syntax.written(SIDECAR, self.sidecar)}


def make(
    exporter: Exporter,
    chosen: Chosen,
    *,
    unverified: bool = False,
    schedule: Schedule | None = None,
) -> Artefact:
    """A candidate in the words of an engine; raises Refused with everything that stands in the way.

    unverified: write what is only nearly the same. schedule: a draft length for each batch size.
    """
    engine = exporter.engine
    asked = Asked(chosen.study, chosen.trial, unverified)
    _check_modality(exporter, asked)
    documents = {} if asked.refusals else exporter.express(asked)
    if schedule is not None and not asked.refusals:
        documents = exporter.by_batch(asked, documents, schedule)
    if not asked.refusals:
        asked.refusals += check(exporter, documents)
    if asked.refusals:
        raise Refused(str(engine), engine.source, asked.refusals)
    use = exporter.use(asked, documents)
    sidecar = provenance.provenance(chosen)
    sidecar["export"] = {
        "engine": engine.name,
        "version": engine.version,
        "rules": engine.source,
        "schema": engine.schema,
        "checked": ["syntax", "schema", "crossfield"],
        "documents": documents,
        "request": dict(exporter.request(asked)),
        "notes": [note.plain() for note in asked.notes],
        "schedule": None if schedule is None else schedule.plain(),
        "use": use,
    }
    return Artefact(documents, sidecar, tuple(asked.notes), use)


def check(exporter: Exporter, documents: Documents) -> list[Finding]:
    """What is wrong with documents, read back from their text as the engine reads them."""
    if not documents:  # settings alone
        return []
    read = {
        name: syntax.read(name, syntax.written(name, found)) for name, found in documents.items()
    }
    schema = schemas.load(type(exporter).__module__.rpartition(".")[0], exporter.engine.schema)
    broken = schemas.breaches(schema, read)
    return broken or list(exporter.crossed(read))


def _check_modality(exporter: Exporter, asked: Asked) -> None:
    wanted = exporter.engine.modality
    if not wanted:
        return
    found = KINDS["workloads"].load(asked.study.workload).modality
    if found != wanted:
        serves = {
            "text": "answers of language models",
            "image": "models of images",
            "training": "models that are trained",
        }[wanted]
        asked.refuse(
            Code.NOT_EXPRESSIBLE, "workload", f"{exporter.engine.name} is for {serves}",
            "paretoken plugins exporters lists the others", value=asked.study.workload,
        )  # fmt: skip
