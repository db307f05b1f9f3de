"""Where what takes long to make from a user's files is kept, outside every repository and store."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """The folder `name` among paretoken's in the user's cache; it may not exist yet."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "paretoken" / name
