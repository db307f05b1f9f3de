"""transformers reads its generation_config.json: known fields, strict validation, the right mode.

By itself it keeps fields that it does not know, and validates only where it writes.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from paretoken.spaces.errors import BadInput


def read(folder: Path) -> None:
    """Raise BadInput where transformers would not do what the folder's configurations say."""
    try:
        from transformers import GenerationConfig, __version__
    except ImportError:
        raise BadInput(
            "transformers is not installed here, so it cannot check: pip install "
            "'paretoken[text]', or leave out --check."
        ) from None
    for path in sorted(folder.rglob("generation_config.json")):
        wanted = json.loads(path.read_text(encoding="utf-8"))
        unknown = sorted(set(wanted) - set(GenerationConfig().to_dict()))
        if unknown:
            raise BadInput(
                f"transformers {__version__} does not know {', '.join(unknown)}: install a newer "
                "one."
            )
        found = GenerationConfig.from_pretrained(str(path.parent))
        try:
            found.validate(strict=True)
        except ValueError as error:
            raise BadInput(f"transformers {__version__} refuses {path.name}: {error}") from error
        drafts = "prompt_lookup_num_tokens" in wanted
        mode = str(found.get_generation_mode().value)
        if drafts != (mode == "assisted_generation"):
            raise BadInput(f"transformers {__version__} would decode by {mode}.")
        with tempfile.TemporaryDirectory() as again:
            found.save_pretrained(again)
            kept = GenerationConfig.from_pretrained(again).to_dict()
        lost = [name for name, value in wanted.items() if kept[name] != value]
        if lost:
            raise BadInput(f"transformers {__version__} does not keep {', '.join(lost)}.")


plugin = read
