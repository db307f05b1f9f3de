"""Artefacts: whole or not there, found by their key, and never trusted without their checksum."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.spaces.errors import Unreadable

KEY = "0123456789abcdef" * 2


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"a": torch.full((3,), value), "b": torch.arange(4).view(2, 2)}


def folder_of(artefacts: Artefacts) -> Path:
    return artefacts._folder


def test_what_is_saved_is_read_again_with_its_facts(artefacts: Artefacts) -> None:
    assert not artefacts.has(KEY) and artefacts.load(KEY, "weights") is None
    artefacts.save(KEY, {"weights": tensors(1.5), "optimizer": tensors(2.0)}, {"step": 7})
    found = artefacts.load(KEY, "weights")
    assert found is not None and found.facts == {"step": 7} and set(found.tensors) == {"weights"}
    assert torch.equal(found.tensors["weights"]["a"], torch.full((3,), 1.5))
    assert artefacts.files(KEY) == {"weights", "optimizer"}
    artefacts.drop(KEY)
    assert not artefacts.has(KEY) and list(folder_of(artefacts).rglob("*.safetensors")) == []


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "manifest", "schema"])
def test_a_damaged_artefact_is_set_aside(artefacts: Artefacts, damage: str) -> None:
    artefacts.save(KEY, {"weights": tensors(1.5)}, {})
    (file,) = folder_of(artefacts).rglob("weights.safetensors")
    manifest = file.parent / "manifest.json"
    match damage:
        case "flip":
            raw = bytearray(file.read_bytes())
            raw[-1] ^= 1  # one bit of a weight: safetensors itself would not notice
            file.write_bytes(raw)
        case "cut":
            file.write_bytes(file.read_bytes()[:-8])
        case "gone":
            file.unlink()
        case "manifest":
            manifest.write_text("{")
        case "schema":
            manifest.write_text(manifest.read_text().replace('"schema": 1', '"schema": 2'))
    assert artefacts.load(KEY, "weights") is None
    assert not artefacts.has(KEY)
    assert [path.name for path in folder_of(artefacts).rglob("*.damaged")] == [f"{KEY}.damaged"]
    artefacts.save(KEY, {"weights": tensors(2.5)}, {})  # made again
    found = artefacts.load(KEY, "weights")
    assert found is not None and float(found.tensors["weights"]["a"][0]) == 2.5


def test_the_first_of_two_equals_stays_but_weights_give_way_to_a_state(
    artefacts: Artefacts,
) -> None:
    artefacts.save(KEY, {"weights": tensors(1.0)}, {"nth": 1})
    artefacts.save(KEY, {"weights": tensors(1.0)}, {"nth": 2})
    found = artefacts.load(KEY)
    assert found is not None and found.facts == {"nth": 1}
    artefacts.save(KEY, {"weights": tensors(1.0), "optimizer": tensors(0.0)}, {"nth": 3})
    artefacts.save(KEY, {"weights": tensors(1.0)}, {"nth": 4})
    found = artefacts.load(KEY, "optimizer")
    assert found is not None and found.facts == {"nth": 3}


def test_several_may_save_one_key_at_once(artefacts: Artefacts) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda n: artefacts.save(KEY, {"weights": tensors(1.0)}, {"nth": n}), range(16)
            )
        )
    assert artefacts.load(KEY, "weights") is not None
    assert [path.name for path in (folder_of(artefacts) / KEY[:2]).iterdir()] == [KEY]


def test_what_a_killed_process_left_is_removed_once_it_is_old(artefacts: Artefacts) -> None:
    artefacts.save(KEY, {"weights": tensors(1.0)}, {})
    folder = folder_of(artefacts) / KEY[:2]
    old, new = folder / f".{KEY}.old", folder / f".{KEY}.new"
    for path in (old, new):
        path.mkdir()
        (path / "weights.safetensors").write_bytes(b"half")
    long_ago = time.time() - 7200
    os.utime(old, (long_ago, long_ago))
    artefacts.save(KEY[:2] + "f" * 30, {"weights": tensors(1.0)}, {})
    assert not old.exists() and new.exists()


def test_a_folder_that_cannot_be_written_is_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(Unreadable, match="--option artefacts=FOLDER"):
        Artefacts(tmp_path / "file", "trained").save(KEY, {"weights": tensors(1.0)}, {})
