"""`paretoken plugins`: every part a candidate, a search or an export can be made of."""

from __future__ import annotations

import inspect
import json
import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer

from paretoken.search.cli.options import AsJson, Settings, pairs


def run(
    kind: Annotated[str, typer.Argument(help="One kind only, e.g. verifiers.")] = "",
    check: Annotated[
        str,
        typer.Option(
            "--check", metavar="NAME", help="Run the conformance suite of KIND on this plug-in."
        ),
    ] = "",
    option: Settings = None,
    as_json: AsJson = False,
) -> None:
    """List the plug-ins by kind, each with its first line, or with why it does not load.

    One file in a folder is one plug-in; other packages add theirs as entry points of the group
    'paretoken.KIND'. Among the decoders are the named ones: published settings of a decoder.

    --check runs the suite that all plug-ins of a kind have to pass (there are suites for
    algorithms, drafters, exporters, image tokenizers, metrics, verifiers and workloads), and ends
    with exit code 1 where one of its checks fails.

    \b
      paretoken plugins
      paretoken plugins verifiers --json
      paretoken plugins verifiers --check block
      paretoken plugins workloads --check text --option samples=2 --option tokens=8
    """
    from paretoken.spaces.errors import BadInput, UnknownName
    from paretoken.spaces.plugins import KINDS

    if kind and kind not in KINDS:
        raise UnknownName("kind of plug-in", kind, KINDS)
    if check:
        if not kind:
            raise BadInput(
                f"--check needs the kind, as in: paretoken plugins verifiers --check {check}"
            )
        raise typer.Exit(check_plugin(kind, check.replace("-", "_"), pairs(option), as_json))
    if option:
        raise BadInput("--option belongs to --check, which opens a workload with it.")
    print_plugins([kind] if kind else list(KINDS), as_json)


def check_plugin(kind: str, name: str, options: dict[str, Any], as_json: bool) -> int:
    """Run a plug-in through the suite of its kind, check by check; the exit code.

    options: what a workload is opened with; other suites take none.
    """
    from paretoken.spaces.conformance import checks

    found = []
    for one in checks(kind, name, **options):
        found.append(one)
        if not as_json:
            print(f"FAILED  {one.what}: {one.problem}" if one.problem else f"ok      {one.what}")
    failed = sum(bool(one.problem) for one in found)
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=2))
    else:
        print(f"{kind}/{name}: {len(found) - failed} of {len(found)} checks passed")
    return 1 if failed else 0


def print_plugins(kinds: list[str], as_json: bool) -> None:
    """The plug-ins of these kinds, with their documentation or their error."""
    from paretoken.search.cli.tables import console

    found = [entry for kind in kinds for entry in _listed(kind)]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    if len(kinds) > 1:
        table.add_column("kind")
    table.add_column("name", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    for entry in found:
        text = entry["doc"] if entry["error"] is None else f"does not load: {entry['error']}"
        row = [entry["kind"]] if len(kinds) > 1 else []
        style = "red" if entry["error"] else ""
        table.add_row(*row, entry["name"], escape(text), style=style)
    console().print(table)


def _listed(kind: str) -> list[dict[str, Any]]:
    from paretoken.spaces.plugins import KINDS

    try:
        working = list(KINDS[kind].working())
    except ModuleNotFoundError as error:  # the folder itself is not there
        return [{"kind": kind, "name": "", "doc": "", "error": str(error)}]
    found = [
        {
            "kind": kind,
            "name": name,
            "doc": "" if isinstance(plugin, Exception) else _sentence(kind, name, plugin),
            "error": _reason(plugin) if isinstance(plugin, Exception) else None,
        }
        for name, plugin in working
    ]
    return found + _named() if kind == "decoders" else found


def _named() -> list[dict[str, Any]]:
    """The named decoders: settings of a plug-in that have a name of their own."""
    from paretoken.spaces.decoders import NAMED

    return [
        {
            "kind": "decoders",
            "name": name,
            "doc": f"{named.doc} Source: {named.source}.",
            "error": None,
        }
        for name, named in NAMED.items()
    ]


def _sentence(kind: str, name: str, plugin: Any) -> str:
    """The first line about a plug-in: its file's, or its own where it comes from elsewhere."""
    from paretoken.spaces.plugins import KINDS

    module = sys.modules.get(f"{KINDS[kind].package}.{name}") or inspect.getmodule(plugin)
    text = getattr(module, "__doc__", None) or inspect.getdoc(plugin) or ""
    return text.strip().partition("\n")[0]


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
