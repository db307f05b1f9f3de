"""The README and its pages: commands exist, files exist, and the plug-in works as it is printed."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from paretoken.cache.digest import candidate_id
from paretoken.search.cli.main import app
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.plugins import KINDS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    page: page.read_text(encoding="utf-8")
    for page in (ROOT / "README.md", *sorted((ROOT / "evaluators").rglob("README.md")))
}
PLUGIN = README.partition("<!-- plugin:begin -->\n```python\n")[2].partition("```")[0]


def _commands() -> list[list[str]]:
    """The words of every line in a shell block; a line that ends in a backslash goes on."""
    every = "\n".join(PAGES.values())
    blocks = re.findall(r"```sh\n(.*?)```", every, flags=re.DOTALL)
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


def test_the_table_of_plug_ins_has_every_kind() -> None:
    table = README.partition("| kinds | folder |")[2].partition("\n\n")[0]
    assert {kind for kind in KINDS if f"`{kind}`" not in table} == set()


def test_links_inside_the_repository_lead_somewhere() -> None:
    for page, text in PAGES.items():
        for target, heading in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text):
            if "://" in target:
                continue
            found = page.parent / target if target else page
            assert found.exists(), (page, target)
            headings = re.findall(r"^#+ (.+)$", found.read_text(), re.MULTILINE) if heading else []
            assert not heading or heading in {one.lower().replace(" ", "-") for one in headings}


def test_every_page_is_named_in_the_readme() -> None:
    linked = {(ROOT / target).resolve() for target in re.findall(r"\]\(([^)#]+)\)", README)}
    assert len(PAGES) > 5 and set(PAGES) - {ROOT / "README.md"} <= linked


def test_the_id_of_plain_decoding_is_the_one_that_is_shown() -> None:
    ids = [words[2] for words in _commands() if words[:2] == ["paretoken", "show"]]
    plain = candidate_id(to_tree(canonical(from_tree({}))))
    assert ids and all(plain.startswith(found) for found in ids)


def test_the_python_of_the_readme_compiles() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, "README.md", "exec")


def test_the_plugin_that_is_shown_is_the_one_that_is_tested() -> None:
    """`test_plugins_from_outside` installs it, and searches with it."""
    example = ROOT / "tests" / "example_plugin"
    module = example / "src" / "paretoken_example" / "sample_and_match.py"
    assert PLUGIN == module.read_text(encoding="utf-8")
    shown = re.findall(r'\[project\.entry-points\."(.+?)"\]\n(\w+) = "(.+?)"', README)
    project = tomllib.loads((example / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = project["entry-points"]
    assert [(group, {name: place}) for group, name, place in shown] == list(named.items())
