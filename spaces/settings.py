"""Settings: a candidate as plain JSON, without building a component.

What is stored is read here: `front`, `best`, `show`, `export` and `report` need no more, so this
module imports neither PyGlove nor any plug-in. `spaces.candidate` makes components of the trees.

    {"schema": 1, "candidate": {"decoder": {"is": "decoders/speculative", "drafter": {…}, …},
                                "sampling": {"is": "samplings/standard", …},
                                "runtime": {"is": "runtimes/local", …}}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from paretoken.spaces.errors import BadInput

SCHEMA = 1

Tree = dict[str, Any]
Plain = str | int | float | bool | None


def dumps(tree: Tree) -> str:
    """Stable JSON of a candidate's tree: sorted keys, no spaces, shortest floats."""
    document = {"schema": SCHEMA, "candidate": tree}
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def loads(text: str) -> Tree:
    """The tree in a candidate's JSON; raises BadInput for another schema or broken text."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"settings are not JSON: {error}.") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else type(document).__name__
        raise BadInput(
            f"settings have schema {found!r}, but this version reads schema {SCHEMA}: "
            "export them again."
        )
    tree: Any = document.get("candidate")
    if not isinstance(tree, dict):
        raise BadInput("settings have no 'candidate' object: export them again.")
    settings: Tree = tree
    return settings


def by_path(tree: Mapping[str, Any], path: str = "") -> dict[str, Plain]:
    """A candidate's settings by path, as `--where` names them: a part's is its plug-in's name.

    {"decoder.drafter": "jacobi", "decoder.drafter.window": 16, …}; a list is its JSON.
    """
    found: dict[str, Plain] = {}
    for key, value in tree.items():
        where = f"{path}.{key}" if path else key
        if key == "is":
            if path:  # the kind of the whole candidate is no setting
                found[path] = str(value).rpartition("/")[2]
        elif isinstance(value, Mapping):
            found |= by_path(value, where)
        elif value is None or isinstance(value, str | int | float):
            found[where] = value
        else:
            found[where] = json.dumps(value)
    return found


def summary(tree: Mapping[str, Any]) -> str:
    """One short line for a person: the named parts with their values, plumbing left out."""
    parts: list[str] = []

    def visit(node: Mapping[str, Any]) -> None:
        name = str(node.get("is", "")).rpartition("/")[2]
        knobs = [f"{k}={v}" for k, v in node.items() if k != "is" and not isinstance(v, Mapping)]
        whole = not any(isinstance(v, Mapping) for v in node.values())  # made of no parts
        told: tuple[str, ...] = (
            "drafters/", "verifiers/", "schedules/", "tokenizers/", "image_tokenizers/",
            "clusterings/", "depths/",
        )  # fmt: skip
        told += ("decoders/",) if whole else ()
        if name and (knobs or str(node["is"]).startswith(told)):
            parts.append(f"{name}({', '.join(knobs)})" if knobs else name)
        for key in ("depth", "drafter", "verifier", "clustering", "residual", "length"):
            if key == "clustering" and node.get("source", key) != key:
                continue  # it forms no groups
            if isinstance(node.get(key), Mapping):
                visit(node[key])
                if key == "residual":
                    parts.append(str(node[key]["is"]).rpartition("/")[2] + " residual")

    visit({key: value for key, value in tree.items() if not isinstance(value, Mapping)})
    for root in ("schedule", "tokenizer", "clustering", "decoder"):
        visit(tree.get(root, {}))
    for stage in ("coarse", "fine"):  # laws of one plug-in: called by what they are for
        if isinstance(tree.get(stage), Mapping):
            visit({**tree[stage], "is": stage})
    if isinstance(tree.get("sampling"), Mapping):
        visit(tree["sampling"])
    return " · ".join(parts)
