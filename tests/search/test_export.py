"""`export` and the settings file it writes; `generate` reads it again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from paretoken.cache.store import Store
from paretoken.search.cli import telling
from paretoken.search.cli.generate import grid
from paretoken.spaces.objectives import Objective
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.records import StudyInfo
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


FULL: dict[str, Any] = {
    "residual": {"is": "residuals/exact"},
    "length": {"is": "lengths/fixed"},
}


def candidate(window: int, verifier: str = "exact", coupling: str = "none") -> dict[str, Any]:
    """Whole settings of an image model, as they are stored; window 1 is plain decoding."""
    drafter = {"is": "drafters/jacobi", "window": window, "init": "random", "coupling": coupling}
    return {
        "decoder": {
            "is": "decoders/speculative",
            "drafter": drafter if window > 1 else {"is": "drafters/none"},
            "verifier": {"is": f"verifiers/{verifier}"},
            **FULL,
        },
        "sampling": {"is": "samplings/standard", "temperature": 1.0, "top_k": 500, "top_p": 1.0,
                     "cfg": 1.0, "cfg_interval": -1},
        "runtime": {"is": "runtimes/local", "dtype": "auto", "batch": 1, "graphs": True},
    }  # fmt: skip


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, add: Callable[..., str]) -> list[str]:
    """A study `i` of four candidates, all on the front: plain, then 2, 3 and 4 times as fast.

    The second and the fourth are what SJD's release can do; the third is far nearer to the fourth.
    """
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path / 'images.db'}"
    monkeypatch.setenv("PARETOKEN_STORE", url)
    objectives = (
        Objective("fid", "", False, ""),
        Objective("images_per_s", "images/s", True, ""),
    )
    info = StudyInfo("i", "fashion", "grid", 0, {}, objectives, {"samples": 500}, "")
    with Store.open(url) as store:
        store.create_study(info)
        return [
            add(store, "i", 0, candidate(1), 40.0, 1.0),
            add(store, "i", 1, candidate(8), 45.0, 2.0),
            add(store, "i", 2, candidate(16, coupling="gumbel"), 58.0, 3.8),
            add(store, "i", 3, candidate(16), 60.0, 4.0),
        ]


def test_a_folder_is_written_whole_with_its_sidecar(cli: Cli, images: list[str]) -> None:
    ran = cli("export", "i", "--to", "sjd")
    assert ran.code == 0 and "use:" in ran.out and "tuned-sjd/constants.json" in ran.out, ran.err
    names = sorted(path.name for path in Path("tuned-sjd").iterdir())
    assert names == ["constants.json", "paretoken_export.json", "test_llamagen.args"]
    sidecar = json.loads(Path("tuned-sjd/paretoken_export.json").read_text())
    assert sidecar["from"]["number"] == 3 and loads(json.dumps(sidecar)) == candidate(16)
    assert sidecar["from"]["against_plain"]["fid"]["difference"] == 20.0
    assert sidecar["from"]["against_plain"]["fid"]["samples"] == 500
    codes = [note["code"] for note in sidecar["export"]["notes"]]
    assert codes == ["RUNTIME_ONLY", "RUNTIME_ONLY"]
    again = cli("export", "i", "--to", "sjd", "--json")
    assert again.code == 2 and "--force" in again.err and again.out == ""
    Path("tuned-sjd/old").write_text("of the last time")
    told = json.loads(cli("export", "i", "--to", "sjd", "--json", "--force").out)
    assert told["out"] == "tuned-sjd" and told["engine"] == "SJD at b389cfb"
    assert not Path("tuned-sjd/old").exists()
    assert sorted(path.name for path in Path().iterdir()) == ["images.db", "tuned-sjd"]


def test_a_folder_that_is_no_export_is_never_replaced(cli: Cli, images: list[str]) -> None:
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("all of it")
    ran = cli("export", "i", "--to", "sjd", "--out", "mine", "--force")
    assert ran.code == 2 and "no export" in ran.err
    assert Path("mine/thesis.tex").read_text() == "all of it"


def test_a_refusal_names_the_nearest_that_can_be_had(cli: Cli, images: list[str]) -> None:
    ran = cli("export", "i", "--candidate", images[2], "--to", "sjd")
    assert (
        ran.code == 3 and ran.out == "" and "NOT_EXPRESSIBLE drafter.coupling = gumbel" in ran.err
    )
    command = f"paretoken export i --candidate {images[3][:12]} --to sjd"
    assert command in ran.err and "number 3" in ran.err
    assert [path.name for path in Path().iterdir()] == ["images.db"]
    told = json.loads(cli("export", "i", "--candidate", images[2], "--to", "sjd", "--json").out)
    assert told["refused"][0]["code"] == "NOT_EXPRESSIBLE" and told["command"] == command
    assert told["nearest"]["number"] == 3
    assert cli(*command.split()[1:]).code == 0
    # From the slowest the other one is nearer.
    ran = cli("export", "i", "--candidate", images[0], "--to", "sjd")
    assert ran.code == 3 and images[1][:12] in ran.err


def test_a_refusal_says_so_where_nothing_can_be_had(cli: Cli, images: list[str]) -> None:
    ran = cli("export", "i", "--to", "vllm")
    assert ran.code == 3 and "workload = fashion" in ran.err and "--to json" in ran.err


def test_options_go_with_the_command_that_is_named(cli: Cli, images: list[str]) -> None:
    ran = cli("export", "i", "--candidate", images[2], "--to", "lantern", "--allow-unverified")
    assert ran.code == 0  # plain Jacobi drafts: nearly, with another drafter
    ran = cli("export", "i", "--candidate", images[2], "--to", "sjd", "--allow-unverified")
    assert ran.code == 3 and "--to sjd --allow-unverified" in ran.err


def test_unknown_engines_and_readers_are_told(cli: Cli, images: list[str]) -> None:
    ran = cli("export", "i", "--to", "tensorrt")
    assert ran.code == 2 and "tensorrt_llm" in ran.err and "sglang" in ran.err
    ran = cli("export", "i", "--to", "sjd", "--check")
    assert (
        ran.code == 2
        and "only sglang, tokenizer_json, training_arguments, transformers, vllm:" in ran.err
    )
    ran = cli("export", "i", "--to", "sjd", "--by-batch")
    assert ran.code == 2 and "runtime.batch=" in ran.err
    assert not Path("tuned-sjd").exists()
    helped = cli("export", "--help").out
    for name in KINDS["exporters"].names():
        assert name.replace("_", "-") in helped


def test_exporting_loads_no_model_and_no_engine(images: list[str]) -> None:
    program = (
        "import sys\n"
        "from paretoken.search.cli.main import main\n"
        "code = main(['export', 'i', '--to', 'sjd'])\n"
        "heavy = {'torch', 'transformers', 'pyglove', 'ray', 'optuna'} & set(sys.modules)\n"
        "print(code, sorted(heavy))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == "0 []", ran.stderr


class Blocks:
    """A workload that draws grey squares: image i of class c is c * 10 + seed everywhere."""

    opened: dict[str, Any]
    trained: int

    def open(self, **options: Any) -> Blocks:
        self.opened = options
        return self

    def generate(
        self, tree: Any, classes: Any, n: int, seed: int, study_seed: int, report: Any
    ) -> np.ndarray[Any, Any]:
        self.trained = study_seed
        report("drawing", 0.5)
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
    cli: Cli, url: str, blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "_QUIET_S", -1.0)
    cli("export", "demo")
    words = ("--settings", "tuned.json", "--out", "grid.png", "--classes", "1,2", "-n", "5")
    ran = cli("generate", *words, "--seed", "3", "--device", "cuda", "--option", "gpt=a.pt")
    assert ran.code == 0, ran.err
    assert ran.err == "generating: drawing (50%)\n"
    assert blocks.trained == json.loads(Path("tuned.json").read_text())["from"]["seed"] == 7
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
