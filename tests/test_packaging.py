"""What an installed paretoken consists of: packages, data, plug-ins, and no bare names."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from paretoken.spaces.plugins import KINDS

ROOT = Path(__file__).parent.parent
FOLDERS = ("search", "evaluators", "cache", "spaces")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _files() -> list[Path]:
    """Every file of the four folders, relative to the root, without what Python leaves behind."""
    found = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))
    return sorted(
        path.relative_to(ROOT)
        for path in found
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    )


def test_the_packages_that_are_listed_are_the_folders_with_code(project: dict[str, Any]) -> None:
    listed = project["tool"]["setuptools"]["packages"]
    folders = {path.parent for path in _files() if path.suffix == ".py"}
    assert sorted(listed) == sorted(f"paretoken.{'.'.join(folder.parts)}" for folder in folders)
    assert len(listed) == len(set(listed))


def test_every_package_has_its_init_and_the_namespace_has_none() -> None:
    for folder in {path.parent for path in _files() if path.suffix == ".py"}:
        assert (ROOT / folder / "__init__.py").is_file(), folder
    assert not (ROOT / "__init__.py").exists()
    # pytest would import a bare `search`; the example is a package of its own, and not collected
    inside = (path.relative_to(ROOT) for path in (ROOT / "tests").rglob("__init__.py"))
    assert [path for path in inside if path.parts[1] != "example_plugin"] == []


def test_every_file_beside_the_code_ships(project: dict[str, Any]) -> None:
    patterns = project["tool"]["setuptools"]["package-data"]["*"]
    pictures = (".png",)  # they are looked at on the web, not read by the program
    left_out = [
        path
        for path in _files()
        if path.suffix not in (".py", *pictures)
        and not any(fnmatch(path.name, pattern) for pattern in patterns)
    ]
    assert left_out == []


@pytest.mark.parametrize(
    ("package", "name"),
    [
        *((f"paretoken.{folder}", "py.typed") for folder in FOLDERS),
        ("paretoken.evaluators.workloads.fashion", "transformer.safetensors"),
        ("paretoken.evaluators.workloads.fashion", "tokenizer.safetensors"),
        ("paretoken.evaluators.workloads.fashion", "reference.safetensors"),
        ("paretoken.evaluators.workloads.fashion", "calibration.json"),
        ("paretoken.search.report", "page.html"),
    ],
)
def test_data_is_found_where_the_code_is_installed(package: str, name: str) -> None:
    assert (files(package) / name).is_file()


def test_weights_stay_small_enough_to_ship() -> None:
    sizes = [(ROOT / path).stat().st_size for path in _files() if path.suffix == ".safetensors"]
    assert max(sizes) <= 20e6
    assert sum(sizes) <= 50e6


@pytest.mark.parametrize("kind", KINDS)
def test_every_plugin_loads(kind: str) -> None:
    working = dict(KINDS[kind].working())
    assert working
    assert {name: found for name, found in working.items() if isinstance(found, Exception)} == {}


def test_no_module_exists_twice() -> None:
    assert not set(FOLDERS) & set(sys.modules)


def test_nothing_is_imported_by_its_bare_name_even_in_the_root() -> None:
    """`python -c` there puts the root on the path, so that `import search` would work."""
    program = (
        "import sys\n"
        "from paretoken.spaces.plugins import KINDS\n"
        "import paretoken.search.loop, paretoken.search.cli.main\n"
        "loaded = [name for kind in KINDS.values() for name, _ in kind.working()]\n"
        f"print(sorted({set(FOLDERS)!r} & set(sys.modules)), len(loaded) > 20)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "[] True", done.stderr


def test_the_command_is_installed() -> None:
    (found,) = entry_points(group="console_scripts", name="paretoken")
    assert found.value == "paretoken.search.cli.main:main"
    assert callable(found.load())


def test_every_plugin_group_is_named_after_its_folder() -> None:
    for kind, plugins in KINDS.items():
        # Metrics that rest on features have modules beside those by sample, which are plug-ins.
        assert plugins.package.removesuffix(".by_sample").rpartition(".")[2] == kind
        assert plugins.group == f"paretoken.{kind}"
