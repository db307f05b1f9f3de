"""SGLang reads its sglang.yaml, as its server would on its command line.

Nothing is started, so neither the model nor a GPU is needed.
"""

from __future__ import annotations

import argparse
import typing
from pathlib import Path

from paretoken.spaces.errors import BadInput


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> typing.NoReturn:
        raise BadInput(message)


def read(folder: Path) -> None:
    """Raise BadInput where SGLang would refuse what sglang.yaml says."""
    try:
        from sglang import __version__
        from sglang.srt.server_args import ServerArgs
        from sglang.srt.utils.server_args_config_parser import ConfigArgumentMerger
    except ImportError as error:
        raise BadInput(
            f"SGLang cannot be loaded here ({error}), so it cannot check: pip install sglang, or "
            "leave out --check."
        ) from None
    parser = _Parser(prog="sglang serve")
    ServerArgs.add_cli_args(parser)
    words = ["--model-path", "MODEL", "--config", str(folder / "sglang.yaml")]
    try:
        parser.parse_args(ConfigArgumentMerger(parser).merge_config_with_args(words))
    except (BadInput, ValueError) as error:
        raise BadInput(f"SGLang {__version__} refuses sglang.yaml: {error}.") from error


plugin = read
