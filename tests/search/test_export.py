"""`export` and the settings file it writes; `generate` reads it again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from paretoken.cache.store import Store
from paretoken.search.cli.generate import grid
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.settings import loads

Cli = Callable[..., Any]


def test_the_file_holds_the_candidate_and_where_it_comes_from(
    cli: Cli, url: str, store: Store
) -> None:
    ran = cli("export", "demo", "--where", "fid <= 60", "--to", "json", "--out", "tuned.json")
    assert ran.code == 0 and "tuned.json" in ran.out
    text = Path("tuned.json").read_text()
    wanted = store.trials("demo")[3]
    assert loads(text) == wanted.tree
    origin = json.loads(text)["from"]
    assert origin["study"] == "demo" and origin["workload"] == "fashion" and origin["number"] == 3
    assert origin["candidate_id"] == wanted.candidate_id
    assert origin["quantities"]["fid"]["value"] == 52.0
    assert origin["quantities"]["fid"]["spread"] == 1.0
    assert origin["device"] == "cpu Test, 2 threads" and "torch" in origin["software"]
    assert origin["options"]["samples"] == 500 and origin["date"].endswith("+00:00")


def test_an_existing_file_is_kept_unless_forced(cli: Cli, url: str) -> None:
    Path("tuned.json").write_text("mine")
    ran = cli("export", "demo")
    assert ran.code == 2 and "--force" in ran.err and Path("tuned.json").read_text() == "mine"
    assert cli("export", "demo", "--force").code == 0
    assert loads(Path("tuned.json").read_text())
    assert sorted(path.name for path in Path().iterdir()) == ["filled.db", "tuned.json"]


def test_a_candidate_can_be_named(cli: Cli, url: str, store: Store) -> None:
    identity = store.trials("demo")[5].candidate_id
    found = json.loads(cli("export", "demo", "--candidate", identity[:9], "--json").out)
    assert found["number"] == 5 and found["out"] == "tuned.json"
    failed = store.trials("demo")[6].candidate_id
    assert cli("export", "demo", "--candidate", failed).code == 2
    both = cli("export", "demo", "--candidate", identity, "--where", "fid < 9")
    assert both.code == 2 and "--where" in both.err


def test_nothing_is_written_where_nothing_can_be(cli: Cli, url: str) -> None:
    assert cli("export", "demo", "--where", "fid < 1").code == 1
    ran = cli("export", "demo", "--out", "no/such/folder.json")
    assert ran.code == 2 and "no/such/folder.json" in ran.err
    assert [path.name for path in Path().iterdir()] == ["filled.db"]


class Blocks:
    """A workload that draws grey squares: image i of class c is c * 10 + seed everywhere."""

    opened: dict[str, Any]

    def open(self, **options: Any) -> Blocks:
        self.opened = options
        return self

    def generate(self, tree: Any, classes: Any, n: int, seed: int) -> np.ndarray[Any, Any]:
        labels = np.resize(np.asarray(classes or range(3), dtype=np.uint8), n)
        return np.tile((labels * 10 + seed).astype(np.uint8)[:, None, None], (1, 4, 4))


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> Blocks:
    workload = Blocks()
    monkeypatch.setitem(
        KINDS, "workloads", SimpleNamespace(load=lambda name: {"fashion": workload}[name])
    )
    return workload


def test_generate_draws_a_grid_with_the_exported_settings(
    cli: Cli, url: str, blocks: Blocks
) -> None:
    cli("export", "demo")
    words = ("--settings", "tuned.json", "--out", "grid.png", "--classes", "1,2", "-n", "5")
    ran = cli("generate", *words, "--seed", "3", "--device", "cuda", "--option", "gpt=a.pt")
    assert ran.code == 0, ran.err
    assert blocks.opened == {"samples": 500, "batch": 1, "device": "cuda", "gpt": "a.pt"}
    pixels = np.asarray(Image.open("grid.png"))
    assert pixels.shape == (2 * 6 - 2, 3 * 6 - 2)  # 3 across, 2 down, gaps of 2
    assert pixels[0, 0] == 13 and pixels[0, 6] == 23 and pixels[6, 6] == 13
    assert pixels[9, 15] == 255  # the sixth place is empty


def test_the_grid_keeps_colours() -> None:
    images = np.zeros((2, 3, 4, 5), dtype=np.uint8)
    images[1, 2] = 200
    sheet = grid(images)
    assert sheet.shape == (4, 12, 3)
    assert sheet[0, 0].tolist() == [0, 0, 0] and sheet[0, 7].tolist() == [0, 0, 200]
    assert sheet[0, 5].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot read the settings"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("{}", "schema"),
        ('{"schema": 1}', "no 'candidate' object"),
        ('{"schema": 1, "candidate": {}}', "--workload"),
    ],
)
def test_broken_settings_are_one_line(
    cli: Cli, tmp_path: Path, text: str | None, said: str
) -> None:
    path = tmp_path / "tuned.json"
    if text is not None:
        path.write_text(text)
    ran = cli("generate", "--settings", str(path), "--out", str(tmp_path / "grid.png"))
    assert ran.code == 2 and ran.err.count("\n") == 1 and said in ran.err
    assert not (tmp_path / "grid.png").exists()
