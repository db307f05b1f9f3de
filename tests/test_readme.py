"""The README: its commands exist, its files exist, and its plug-in works as it is printed."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import typer

from paretoken.cache.digest import candidate_id
from paretoken.evaluators.components.residuals.exact import Exact as ExactResidual
from paretoken.evaluators.components.residuals.matched import Matched
from paretoken.evaluators.components.verifiers.exact import Exact
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.proposal import Proposal
from paretoken.evaluators.engine.verifier import Chance
from paretoken.search.cli.main import app
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PLUGIN = README.partition("<!-- plugin:begin -->\n```python\n")[2].partition("```")[0]


def _commands() -> list[list[str]]:
    """The words of every line in a shell block; a line that ends in a backslash goes on."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True) for line in lines if not line.startswith("#")]


@pytest.mark.parametrize(
    "words", [words for words in _commands() if words[0] == "paretoken"], ids=" ".join
)
def test_every_command_of_the_readme_is_understood(words: list[str]) -> None:
    if words[1:] == ["--help"]:
        return
    group: Any = typer.main.get_command(app)
    command = group.get_command(None, words[1])
    assert command is not None
    command.make_context(words[1], words[2:])  # parses and checks; nothing runs


def test_make_targets_and_scripts_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for words in _commands():
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, flags=re.MULTILINE), words
        if words[0] == "python" and words[1].endswith(".py"):
            assert (ROOT / words[1]).is_file(), words


def test_links_inside_the_repository_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target


def test_the_id_of_plain_decoding_is_the_one_that_is_shown() -> None:
    ids = [words[2] for words in _commands() if words[:2] == ["paretoken", "show"]]
    plain = candidate_id(to_tree(canonical(from_tree({}))))
    assert ids and all(plain.startswith(found) for found in ids)


def test_the_python_of_the_readme_compiles() -> None:
    for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        compile(block, "README.md", "exec")


@pytest.fixture
def near_best(tmp_path: Path) -> Iterator[ModuleType]:
    """The plug-in of the README as a module."""
    (tmp_path / "near_best.py").write_text(PLUGIN, encoding="utf-8")
    spec = spec_from_file_location("near_best", tmp_path / "near_best.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["near_best"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["near_best"]


VOCABULARY, ROWS = 6, 200_000


def _laws() -> tuple[torch.Tensor, torch.Tensor]:
    """A target law with a token that it forbids, and a draft law of another shape; both [V]."""
    p = torch.tensor([0.34, 0.26, 0.2, 0.12, 0.08, 0.0], dtype=torch.float64)
    q = torch.tensor([0.1, 0.3, 0.25, 0.05, 0.1, 0.2], dtype=torch.float64)
    return p, q


def _emitted(verifier: Any, residual: Any, p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """The law of the first token that the verifier emits, over many windows of one draft."""
    generator = torch.Generator().manual_seed(0)
    drafts = torch.multinomial(q.expand(ROWS, -1), 1, generator=generator)
    laws = p.expand(ROWS, 2, VOCABULARY)
    proposal = Proposal(
        drafts, q.expand(ROWS, 1, VOCABULARY), torch.ones(ROWS, 1, dtype=torch.bool), (-1,)
    )
    accept = torch.rand(ROWS, 1, generator=generator, dtype=torch.float64)
    geometry = Geometry(torch.eye(VOCABULARY), torch.eye(VOCABULARY))
    verdict = verifier.select(laws, proposal, residual, Chance(accept, None), geometry)
    kept = (verdict.accepted == 1).unsqueeze(-1)
    draft = torch.nn.functional.one_hot(drafts.squeeze(-1), VOCABULARY).double()
    return torch.where(kept, draft, verdict.law).mean(0)


# Means of 200,000 values between 0 and 1: a standard error of at most 0.0011; five of them.
TOLERANCE = 0.0056


@pytest.mark.parametrize("share", [0.0, 0.5, 0.75])
@pytest.mark.parametrize("residual", [ExactResidual, Matched])
def test_the_plugin_emits_the_law_of_the_formula(
    near_best: ModuleType, share: float, residual: Any
) -> None:
    """out = q*a + (1 - E_q a) * residual, the law of every per-token verifier."""
    p, q = _laws()
    a = (p / q).clamp(max=1.0)
    a = torch.where((p >= share * p.max()) & (p > 0), 1.0, a)
    left = (p - q).clamp_min(0.0)
    expected = q * a + (1.0 - (q * a).sum()) * left / left.sum()
    emitted = _emitted(near_best.plugin(share=share), residual(), p, q)
    assert torch.allclose(emitted, expected, atol=TOLERANCE)
    assert emitted[-1] == 0.0  # what the target forbids is never emitted
    exact = _emitted(Exact(), residual(), p, q)
    assert torch.allclose(exact, p, atol=TOLERANCE)  # a negative control: the plug-in is not exact
    assert not torch.allclose(emitted, p, atol=TOLERANCE)


def test_the_plugin_is_found_and_searched_once_its_package_is_installed(tmp_path: Path) -> None:
    """As the README says: a module and an entry point; here without pip, in another process."""
    (tmp_path / "near_best.py").write_text(PLUGIN, encoding="utf-8")
    installed = tmp_path / "near_best-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: near_best\nVersion: 1.0\n")
    entry = re.search(r'\[project\.entry-points\."(.+?)"\]\nnear_best = "(.+?)"', README)
    assert entry is not None
    (installed / "entry_points.txt").write_text(f"[{entry[1]}]\nnear_best = {entry[2]}\n")
    program = (
        "import json\n"
        "from paretoken.search.cli.plugins import print_plugins\n"
        "from paretoken.spaces.candidate import from_tree\n"
        "from paretoken.spaces.space import load\n"
        "tree = load('image-decoding').fix('decoder.verifier', 'near_best').tree\n"
        "verifier = tree['decoder']['verifier']\n"
        "chosen = from_tree({**verifier, 'share': 0.25}, 'verifiers')\n"
        "print(json.dumps([verifier, chosen.tag()]))\n"
        "print_plugins(['verifiers'], True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    first, _, rest = done.stdout.partition("\n")
    assert json.loads(first) == [
        {"is": "verifiers/near_best", "share": {"oneof": [0.25, 0.5, 0.75]}},
        "verifiers/near_best",
    ]
    (listed,) = [entry for entry in json.loads(rest) if entry["name"] == "near_best"]
    assert listed["error"] is None and listed["doc"].startswith("Near-best acceptance")
