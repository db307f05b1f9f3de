"""Schemas: our own JSON Schemas of what engines read, one file for an engine and a version.

They stand beside their exporter. A schema describes all documents of an export by file name, knows
every field that is written, and no other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from paretoken.search.exporting.refusal import Code, Finding


def load(package: str, name: str) -> dict[str, Any]:
    """The schema in file `name` of a package."""
    text = (files(package) / name).read_text(encoding="utf-8")
    return dict(json.loads(text))


def breaches(schema: Mapping[str, Any], document: Any) -> list[Finding]:
    """Where a document breaks a schema, each with the rule; empty where it keeps to it."""
    from jsonschema import Draft202012Validator

    return [
        Finding(
            Code.OUT_OF_RANGE, "/".join(map(str, error.absolute_path)) or "(all)",
            error.instance, f"schema: {error.message}",
        )
        for error in sorted(
            Draft202012Validator(schema).iter_errors(document), key=lambda e: list(map(str, e.path))
        )
    ]  # fmt: skip
