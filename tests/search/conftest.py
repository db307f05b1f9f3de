"""A store filled with a synthetic study, and a way to run the command line on it."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from paretoken.cache.store import Store
from paretoken.search.cli.main import main
from paretoken.spaces.objectives import Objective
from paretoken.spaces.plugins import KINDS, Plugins
from paretoken.spaces.records import Environment, Failure, Measurement, Quantity, StudyInfo

# One white pixel.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="
OBJECTIVES = (
    Objective("fid", "", False, "Distance to real images."),
    Objective("images_per_s", "images/s", True, "Speed."),
)
ENVIRONMENT = Environment("cpu Test, 2 threads", "paretoken 0.1.0, torch 2.14.1", "abc1234")


def tree(window: int, verifier: str = "exact", size: int = 4) -> dict[str, Any]:
    """Settings as a candidate's tree; window 0 is plain decoding."""
    decoder: dict[str, Any] = {"is": "decoders/speculative", "drafter": {"is": "drafters/none"}}
    if window:
        knobs = {"size": size} if verifier == "grouped" else {}
        decoder = {
            "is": "decoders/speculative",
            "drafter": {"is": "drafters/jacobi", "window": window, "init": "random"},
            "verifier": {"is": f"verifiers/{verifier}", **knobs},
        }
    return {
        "decoder": decoder,
        "sampling": {"is": "samplings/standard", "temperature": 1.0},
        "runtime": {"is": "runtimes/local", "dtype": "fp32"},
    }


def add(
    store: Store,
    study: str,
    number: int,
    settings: dict[str, Any],
    fid: float,
    speed: float,
    samples_png: str = "",
) -> str:
    """One finished trial."""
    identity = store.propose(study, number, settings, (0.5, float(number)))
    detail = {"samples_png": samples_png} if samples_png else {}
    quality = Measurement(
        "quality",
        f"law-{fid}",
        (
            Quantity("fid", fid, 1.0, 500, "", False, "lite0 N=500", {"extractor": "lite0"}),
            Quantity("kid", fid / 5000, 0.0005, 500, "", False, "lite0 N=500"),
        ),
        ENVIRONMENT,
        0,
        3.0,
        detail,
    )
    rate = Quantity("images_per_s", speed, speed / 100, 5, "images/s", True, "cpu", {"batch": 1})
    forwards = Quantity("target_forwards", 256 / speed, 0.5, 8, "forwards", False)
    accepted = Quantity("acceptance_rate", 0.6, 0.01, 8)
    quick = Measurement("speed", f"cost-{number}", (rate, forwards, accepted), ENVIRONMENT, 0, 2.0)
    known = store.find("quality", ENVIRONMENT, identity, key=f"law-{fid}")
    measured = known is None or bool(samples_png) or number == 0
    of_quality = store.observe(identity, quality)[0] if measured or known is None else known
    origin = {"quality": "measured" if measured else "law", "speed": "measured"}
    store.finish(study, number, of_quality.id, store.observe(identity, quick)[0].id, origin)
    return identity


def fill(path: Path, study: str = "demo", more: int = 0) -> str:
    """Make a store and return its URL. Plain, two lossless, three lossy, one failure, `more`.

    Speeds are images/s with plain at 1, so that they are speed-ups too. By hand: the front is
    0 (fid 50, 1), which 1 (fid 50, 2.5) dominates, so 1, 3 (fid 52, 3.0), 4 (fid 70, 4.0);
    2 (fid 50, 1.8) and 5 (fid 110, 3.5) are dominated; 6 failed; 7 (fid 53, 2.98) is close to 3.
    """
    url = f"sqlite:///{path}"
    info = StudyInfo(
        study,
        "fashion",
        "nsga2",
        7,
        {"space": 1},
        OBJECTIVES,
        {"samples": 500, "batch": 1, "device": "cpu"},
        "",
    )
    with Store.open(url) as store:
        store.create_study(info)
        add(store, study, 0, tree(0), 50.0, 1.0, PNG)
        add(store, study, 1, tree(16), 50.0, 2.5)
        add(store, study, 2, tree(4), 50.0, 1.8)
        add(store, study, 3, tree(16, "grouped", 2), 52.0, 3.0, PNG)
        add(store, study, 4, tree(16, "grouped", 4), 70.0, 4.0)
        add(store, study, 5, tree(8, "grouped", 8), 110.0, 3.5)
        store.propose(study, 6, tree(8, "amplified"), (1.0,))
        store.fail(study, 6, Failure("nan", "the logits of <row> 3 are NaN"))
        add(store, study, 7, tree(32, "grouped", 2), 53.0, 2.98)
        for number in range(8, 8 + more):
            add(store, study, number, tree(8, "grouped", number), 60.0 + number, 1 + number / 999)
    return url


@pytest.fixture(name="add")
def adding() -> Callable[..., str]:
    """`add`, for studies of a test's own."""
    return add


@dataclass(frozen=True)
class Ran:
    """What a command gave."""

    code: int
    out: str
    err: str


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A filled store, which commands use by default; the test runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    found = fill(tmp_path / "filled.db")
    monkeypatch.setenv("PARETOKEN_STORE", found)
    return found


@pytest.fixture
def store(url: str) -> Any:
    """The filled store, open for reading."""
    with Store.open(url, create=False) as opened:
        yield opened


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run `paretoken` with these words."""

    def run(*words: str) -> Ran:
        capsys.readouterr()
        code = main(words)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


# ------------------------------------------------------------------------------- workers on Ray


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder from which this process, and those it starts, can load the workload `toy`.

    As an installed package would, by an entry point; so does a verifier whose import fails in every
    process but this one.
    """
    folder = tmp_path_factory.mktemp("toys")
    shutil.copy(Path(__file__).with_name("toy_workload.py"), folder)
    (folder / "elsewhere.py").write_text(
        "import os\n"
        f"if os.getpid() != {os.getpid()}:\n"
        "    raise ImportError('this driver lacks its library')\n"
        "from paretoken.evaluators.components.verifiers.exact import Exact\n"
        "class Elsewhere(Exact):\n"
        "    'Exact acceptance, by a plug-in that fails to be imported.'\n"
        "plugin = Elsewhere\n"
    )
    installed = folder / "toy-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        "[paretoken.workloads]\ntoy = toy_workload:plugin\n"
        "[paretoken.verifiers]\nelsewhere = elsewhere:plugin\n"
    )
    return folder


@pytest.fixture(scope="session")
def cluster(toys: Path) -> Iterator[None]:
    """One Ray cluster of this machine for all tests, which believes in four CPUs and two GPUs."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{toys}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        ray.init(
            "local",  # and not one that happens to run here
            num_cpus=4,
            num_gpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
    yield
    ray.shutdown()


@pytest.fixture
def toy(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workload `toy` is known in this process."""
    monkeypatch.syspath_prepend(str(toys))
    for kind in ("workloads", "verifiers"):
        monkeypatch.setitem(KINDS, kind, Plugins(kind, KINDS[kind].package))


# ------------------------------------------------------------------------------- the live page


@pytest.fixture
def serving() -> Callable[..., AbstractContextManager[str]]:
    """Serve a study of a store (token, host: what the server believes to have): its address.

    The server runs in a thread of this process, on a free port of loopback.
    """
    return _serving


@contextmanager
def _serving(
    store: Store, study: str = "demo", *, host: str = "127.0.0.1", token: str = ""
) -> Iterator[str]:
    import uvicorn

    from paretoken.search.serving.app import application
    from paretoken.search.serving.snapshot import Snapshot

    app = application(Snapshot(store, study), host=host, names=("my.proxy",), token=token)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
