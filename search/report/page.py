"""The report: one HTML file with everything in it, made of `page.html` and what stands beside it.

`sections.html` writes the parts of the page, `page.css` its looks, the scripts its pictures, filter
and table of all candidates. plotly.js is inlined, sample sheets are data URLs, and the data
stand in the page as JSON (the script element `data`), so the file works without a network and can
be read by other programs. Served live, the page asks for its parts and data again and again.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from paretoken.search.report.document import document
from paretoken.search.report.told import told
from paretoken.search.report.view import View

# Parts of the page, in its order: macros of sections.html, empty where there is nothing to say.
PARTS = (
    "summary", "front", "groups", "importance", "samples", "reuse", "stopped", "failed", "how",
)  # fmt: skip
_SCRIPTS = ("data.js", "picture.js", "parallel.js", "table.js", "page.js")  # in this order


def render(view: View, now: datetime | None = None, *, live: bool = False) -> str:
    """The page as text. now: the time it states; left out, the present. live: it renews itself."""
    from plotly.offline import get_plotlyjs

    return _template("page.html").render(
        info=view.results.info,
        parts=parts(view, now),
        live=live,
        style=Markup(_read("page.css")),
        data=Markup(embedded(view)),
        plotly=Markup(get_plotlyjs()),
        script=Markup("\n".join(map(_read, _SCRIPTS))),
    )


def parts(view: View, now: datetime | None = None) -> dict[str, Markup]:
    """The parts of the page by name, as HTML."""
    words = told(view, now or datetime.now(UTC))
    module = _template("sections.html").module
    return {name: Markup(str(getattr(module, name)(words)).strip()) for name in PARTS}


def embedded(view: View) -> str:
    """The data as JSON that cannot end its script element."""
    found = document(view.results, view.everyone) | {"revision": view.revision}
    text = json.dumps(found, allow_nan=False, separators=(",", ":"), default=str)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=FunctionLoader(_read),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _read(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
