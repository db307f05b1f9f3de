"""Artefacts: what took long to train, kept in a folder under its key; nothing is ever half there.

    FOLDER/trained/3f/3f9a…/manifest.json          what it is, and a SHA-256 of each file
                           weights.safetensors
                           optimizer.safetensors   where training may go on from here

A folder is written beside its place and renamed, so a kill at any moment leaves all of it or
nothing. What does not agree with its checksums is set aside, and made again by whoever wants it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from paretoken.spaces.errors import Unreadable

_SCHEMA = 1
_MANIFEST = "manifest.json"
_ABANDONED_S = 3600.0  # nobody writes one artefact for an hour

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Artefact:
    """tensors: by file, then by name, on the CPU. facts: what was said when it was saved."""

    tensors: Mapping[str, Tensors]
    facts: Mapping[str, Any] = field(default_factory=dict)


class Artefacts:
    """The artefacts of one kind in a folder. Several processes may use it at once."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder = folder / kind

    def has(self, key: str) -> bool:
        """Whether there is one of that key; it may turn out damaged when it is loaded."""
        return (self._place(key) / _MANIFEST).is_file()

    def files(self, key: str) -> frozenset[str]:
        """What files an artefact has, without their suffix; none where there is none."""
        if not self.has(key):
            return frozenset()
        try:
            return frozenset(self._manifest(self._place(key))["files"])
        except (OSError, ValueError, KeyError):
            return frozenset()

    def load(self, key: str, *files: str) -> Artefact | None:
        """The artefact, with these of its files; None where it is missing or damaged."""
        place = self._place(key)
        if not place.is_dir():
            return None
        try:
            manifest = self._manifest(place)
            tensors = {}
            for name in files:
                path = place / f"{name}.safetensors"
                if _sha256(path) != manifest["files"][name]:
                    raise ValueError(f"{path} does not agree with its checksum")
                tensors[name] = load_file(path)
            return Artefact(tensors, manifest["facts"])
        except (OSError, ValueError, KeyError, SafetensorError):
            self._set_aside(place)
            return None

    def save(self, key: str, tensors: Mapping[str, Tensors], facts: Mapping[str, Any]) -> None:
        """Keep tensors by file and name; what is there already under this key stays.

        Raises Unreadable where the folder cannot be written.
        """
        place = self._place(key)
        new = place.with_name(f".{key}.{uuid.uuid4().hex}")
        try:
            self._clear(place.parent)
            new.mkdir(parents=True)
            sums = {}
            for name, values in tensors.items():
                path = new / f"{name}.safetensors"
                save_file({k: v.detach().cpu().contiguous() for k, v in values.items()}, path)
                sums[name] = _sha256(path)
                _to_disk(path)
            manifest = {"schema": _SCHEMA, "key": key, "files": sums, "facts": dict(facts)}
            (new / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            _to_disk(new / _MANIFEST)
            if self.files(key) < set(sums):  # weights alone give way to what can be gone on from
                self.drop(key)
            try:
                new.rename(place)
            except OSError:
                if not self.has(key):
                    raise
                shutil.rmtree(new)  # somebody was faster
        except (OSError, SafetensorError) as error:
            shutil.rmtree(new, ignore_errors=True)
            raise Unreadable(
                f"the trained artefact {place} cannot be written ({error}): free some space, or "
                "name another folder with --option artefacts=FOLDER."
            ) from error

    def drop(self, key: str) -> None:
        """Remove an artefact, if there is one."""
        gone = self._place(key).with_name(f".{key}.{uuid.uuid4().hex}")
        try:
            self._place(key).rename(gone)  # whoever looks sees all of it or nothing
        except FileNotFoundError:
            return
        shutil.rmtree(gone, ignore_errors=True)

    def _place(self, key: str) -> Path:
        return self._folder / key[:2] / key

    def _manifest(self, place: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((place / _MANIFEST).read_text(encoding="utf-8"))
        if found.get("schema") != _SCHEMA:
            raise ValueError(f"schema {found.get('schema')}")
        return found

    def _set_aside(self, place: Path) -> None:
        aside = place.with_name(f"{place.name}.damaged")
        shutil.rmtree(aside, ignore_errors=True)
        try:
            place.rename(aside)
        except FileNotFoundError:
            pass  # somebody else has dropped it, or set it aside
        except OSError as error:
            raise Unreadable(
                f"the trained artefact {place} is damaged and cannot be set aside ({error}): "
                "remove it."
            ) from error

    def _clear(self, folder: Path) -> None:
        """Remove what killed processes left half-written."""
        for path in folder.glob(".*"):
            try:
                if time.time() - path.stat().st_mtime > _ABANDONED_S:
                    shutil.rmtree(path, ignore_errors=True)
            except FileNotFoundError:
                pass  # finished meanwhile


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
