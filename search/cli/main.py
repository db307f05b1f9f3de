"""The command `paretoken`: finds the subcommand, runs it, and turns what goes wrong into one line.

A subcommand is a module of this package with a function `run`; it is imported when it is asked for,
and it imports what is heavy inside that function, so that reading a store never waits for torch.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
import typer.core
from typer.exceptions import Abort, Exit

from paretoken.spaces.errors import ParetokenError

# In the order of `paretoken --help`: the order in which a newcomer meets them.
COMMANDS = (
    "search",
    "front",
    "best",
    "compare",
    "history",
    "report",
    "serve",
    "export",
    "export-study",
    "generate",
    "studies",
    "show",
    "workloads",
    "plugins",
)

_INTERRUPTED = 130  # what shells give for Ctrl-C
_BROKEN_PIPE = 1  # as typer does when a reader such as `head` went away while it wrote


class _Commands(typer.core.TyperGroup):
    """The subcommands, each imported when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in self.commands:
            module = importlib.import_module(f"paretoken.search.cli.{cmd_name.replace('-', '_')}")
            alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
            alone.command(name=cmd_name)(module.run)
            self.commands[cmd_name] = typer.main.get_command(alone)
        return self.commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        for name in COMMANDS:  # an unknown command is answered with suggestions among all of them
            if args and args[0] not in COMMANDS:
                self.get_command(ctx, name)
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=_Commands, rich_markup_mode="rich", add_completion=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"paretoken {version('paretoken')}")
        raise Exit()


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; goes anywhere.")
    ] = False,
) -> None:
    """Find the decoding settings worth deploying: measured speed against measured quality.

    A first search, its front, a page to look at, and the setting to use:

    \b
      paretoken search fashion --study first --space fashion-small --minutes 5
      paretoken front first
      paretoken report first --out report.html
      paretoken export first --where 'speedup >= 2' --out tuned.json
      paretoken generate --settings tuned.json --out grid.png

    Everything measured is kept in one store (--store, or PARETOKEN_STORE; otherwise
    sqlite:///paretoken.db), so a search can be stopped at any moment and resumed.
    Each command explains itself: paretoken COMMAND --help.
    """
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 (failure), 2 (bad input), 130 (Ctrl-C)."""
    given = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in given
    if debug:  # accepted anywhere: one adds it to the end of what has just failed
        given = ["--debug", *(word for word in given if word != "--debug")]
    try:
        result = typer.main.get_command(app).main(
            given, prog_name="paretoken", standalone_mode=False
        )
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except BrokenPipeError:
        # Python flushes once more at exit: give it somewhere to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except (KeyboardInterrupt, Abort):
        print("interrupted.", file=sys.stderr)
        return _INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        print(f"error: {_told(error)}", file=sys.stderr)
        return int(getattr(error, "exit_code", 1))


def _told(error: Exception) -> str:
    """The error in one line, and what to do about it."""
    if isinstance(error, ParetokenError):
        return str(error)
    if hasattr(error, "format_message"):  # typer's usage errors: a wrong option or argument
        message = " ".join(str(error.format_message()).split()).rstrip(".")
        command = getattr(getattr(error, "ctx", None), "command_path", "paretoken")
        stop = "" if message.endswith("?") else "."
        return f"{message}{stop} See '{command} --help'."
    short = " ".join(str(error).split())
    return f"unexpected {type(error).__name__}: {short} (run with --debug for the traceback)"
