"""paretoken from Python: search, look at what was found, and hand it on.

    from paretoken.search import Study, best, export, front, search

See the modules `study` and `begin`. The names are looked up when they are asked for, so that
importing a part of this package loads no more than that part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paretoken.search.begin import search
    from paretoken.search.study import Study, best, export, front

__all__ = ["Study", "best", "export", "front", "search"]


def __getattr__(name: str) -> Any:
    if name == "search":
        from paretoken.search.begin import search

        return search
    if name in __all__:
        from paretoken.search import study

        return getattr(study, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
