"""vLLM reads its vllm.yaml: arguments that it has, and a speculative configuration of legal values.

Nothing is started, so neither the model nor a GPU is needed.
"""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path

from paretoken.spaces.errors import BadInput


def read(folder: Path) -> None:
    """Raise BadInput where vLLM would refuse what vllm.yaml says."""
    try:
        import yaml
        from pydantic import TypeAdapter, ValidationError
        from vllm import __version__
        from vllm.config import SpeculativeConfig
        from vllm.engine.arg_utils import AsyncEngineArgs
    except ImportError as error:
        raise BadInput(
            f"vLLM cannot be loaded here ({error}), so it cannot check: pip install vllm, or leave "
            "out --check."
        ) from None
    wanted = yaml.safe_load((folder / "vllm.yaml").read_text(encoding="utf-8"))
    known = {field.name for field in dataclasses.fields(AsyncEngineArgs)}
    unknown = sorted(name for name in wanted if name.replace("-", "_") not in known)
    drafting = wanted.get("speculative-config", {})
    kinds = typing.get_type_hints(SpeculativeConfig, include_extras=True)
    unknown += sorted(
        set(drafting) - {field.name for field in dataclasses.fields(SpeculativeConfig)}
    )
    if unknown:
        raise BadInput(f"vLLM {__version__} does not know {', '.join(unknown)}.")
    for name, value in drafting.items():
        try:
            TypeAdapter(kinds[name]).validate_python(value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise BadInput(f"vLLM {__version__} refuses {name} {value!r}: {reason}.") from error


plugin = read
