"""The suite of exporters: what is written reads back as it is meant, and all else is refused.

Every drafter and every verifier is exported by its defaults, and random candidates of the spaces of
the engine's modality, as a search on a CPU would have stored them. What is written of something
that was trained comes from its measurement, which only training makes: of such an exporter the
suite sees to the engine, the schema, and that models that were not trained are refused.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import Any

import pyglove as pg

from paretoken.search.exporters import Exporter
from paretoken.search.exporting.artefact import SIDECAR, Artefact, check, make
from paretoken.search.exporting.provenance import Chosen
from paretoken.search.exporting.refusal import Code, Refused
from paretoken.search.exporting.schemas import load as load_schema
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.conformance import Check
from paretoken.spaces.objectives import Objective
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.records import Environment, Quantity, StudyInfo, Trial
from paretoken.spaces.settings import Tree, loads
from paretoken.spaces.space import load

# The workload that stands for a modality, and the spaces whose candidates are tried.
_TRIED = {
    "text": ("text", ("text-decoding", "text-small")),
    "image": ("fashion", ("image-decoding", "published")),
}
_TRAINING = "training"
_EACH = 15
# What drafts where another part is tried: it has a law of its own.
_DRAFTS = {"text": "drafters/small_model", "image": "drafters/jacobi"}
_SPEED = {
    "text": Objective("tokens_per_s", "tokens/s", True, ""),
    "image": Objective("images_per_s", "images/s", True, ""),
}
_OPTIONS = {"model": "/models/large", "draft": "/models/small", "samples": 12}


def suite(plugin: Any) -> Iterator[Check]:
    """The checks of an exporter."""
    if not isinstance(plugin, Exporter):
        yield "it is an object of a class of exporters", lambda: f"it is {plugin!r}"
        return
    yield "its engine says whose rules it follows", lambda: _engine(plugin)
    yield "its schema is one", lambda: _schema(plugin)
    modality = plugin.engine.modality
    wanted = [one for one in _TRIED if modality in ("", one)]
    made: list[Artefact] = []
    for kind in wanted:
        for name in _TRIED[kind][1]:
            told = f"each of {name} is written, or refused with a reason"
            yield told, partial(_all, plugin, kind, name, made)
    for other in set(_TRIED) - set(wanted):
        yield f"a model of kind {other} is refused", partial(_other, plugin, other)
    if modality == _TRAINING:
        return
    yield "something can be written", lambda: "" if made else "every candidate is refused"
    yield "what is written reads back", lambda: _first(_reads_back(plugin, one) for one in made)
    yield "its schema knows every field", lambda: _first(_known(plugin, one) for one in made)


def _engine(exporter: Exporter) -> str:
    engine = exporter.engine
    if not (engine.name and engine.source and engine.schema):
        return f"name, source and schema are needed: {engine!r}"
    if engine.modality not in ("", _TRAINING, *_TRIED):
        return f"modality {engine.modality!r} is none of {', '.join([*_TRIED, _TRAINING])}"
    return ""


def _schema(exporter: Exporter) -> str:
    from jsonschema import Draft202012Validator

    package = type(exporter).__module__.rpartition(".")[0]
    Draft202012Validator.check_schema(load_schema(package, exporter.engine.schema))
    return ""


@cache
def _candidates(name: str) -> tuple[Tree, ...]:
    """Every part once, under greedy decoding and not, and random candidates of a space."""
    return tuple(_drawn(name))


def _parts(kind: str, modality: str) -> Iterator[str]:
    """Tags of the components of a kind that work, and are for that modality."""
    for name, found in KINDS[kind].working():
        if not isinstance(found, Exception) and found.modality in ("", modality):
            yield f"{kind}/{name}"


def _drawn(name: str) -> Iterator[Tree]:
    modality = next(kind for kind, (_, spaces) in _TRIED.items() if name in spaces)
    decoders: list[dict[str, Any]] = [{}]
    for drafter in _parts("drafters", modality):
        decoders.append({"drafter": {"is": drafter}})
    for verifier in _parts("verifiers", modality):
        decoders.append({"drafter": {"is": _DRAFTS[modality]}, "verifier": {"is": verifier}})
    for decoder, temperature in itertools.product(decoders, (0.0, 1.0)):
        law = {"is": "samplings/standard", "temperature": temperature, "top_k": 50}
        speculative = {"is": "decoders/speculative", **decoder}
        yield to_tree(canonical(from_tree({"decoder": speculative, "sampling": law})))
    for drawn in itertools.islice(pg.random_sample(load(name).root, seed=0), _EACH):
        yield to_tree(canonical(drawn))


def _chosen(modality: str, tree: Tree) -> Chosen:
    speed = _SPEED[modality]
    study = StudyInfo("s", _TRIED[modality][0], "grid", 0, {}, (speed,), _OPTIONS, "")
    place = Environment("cpu", "paretoken")
    found = {speed.name: Quantity(speed.name, 2.0, 0.1, 5, speed.unit)}
    trial = Trial(1, "0" * 32, tree, (), "done", found, environment=place)
    return Chosen(study, trial, "2026-01-01T00:00:00+00:00")


def _all(exporter: Exporter, modality: str, space: str, made: list[Artefact]) -> str:
    for tree in _candidates(space):
        problem = _one(exporter, _chosen(modality, tree), made)
        if problem:
            return f"{problem}; with {json.dumps(tree)}"
    return ""


def _one(exporter: Exporter, chosen: Chosen, made: list[Artefact]) -> str:
    """Strictly first, then with what is doubted allowed: never less can be written then."""
    strictly = _tried(exporter, chosen, False)
    loosely = _tried(exporter, chosen, True)
    for found in (strictly, loosely):
        if isinstance(found, Refused):
            empty = [f for f in found.findings if not (f.why and f.knob and f.code in Code)]
            broken = [f.why for f in found.findings if f.why.startswith("schema: ")]
            if broken:
                return f"it writes what its own schema refuses: {broken[0]}"
            if empty or not found.findings:
                return f"a refusal without code, knob or reason: {found.findings}"
    if isinstance(strictly, Artefact) and isinstance(loosely, Refused):
        return "--allow-unverified refuses what is written without it"
    if isinstance(loosely, Artefact):
        if loosely.documents and "FOLDER" not in loosely.use:
            return f"it does not say how FOLDER is used: {loosely.use!r}"
        made.append(loosely)
    return ""


def _tried(exporter: Exporter, chosen: Chosen, unverified: bool) -> Artefact | Refused:
    try:
        return make(exporter, chosen, unverified=unverified)
    except Refused as refused:
        return refused


def _other(exporter: Exporter, modality: str) -> str:
    tree = _candidates(_TRIED[modality][1][0])[0]
    found = _tried(exporter, _chosen(modality, tree), True)
    if isinstance(found, Artefact):
        return "it is written"
    knobs = [finding.knob for finding in found.findings]
    return "" if knobs == ["workload"] else f"refused for {knobs}, not for the workload"


def _reads_back(exporter: Exporter, made: Artefact) -> str:
    files = made.files()
    sidecar = json.loads(files[SIDECAR])
    if loads(files[SIDECAR]) != sidecar["candidate"]:
        return "the settings beside the documents are not the candidate's"
    broken = check(exporter, made.documents)
    return str(broken[0]) if broken else ""


def _known(exporter: Exporter, made: Artefact) -> str:
    """A field under another name has to break the schema, or a typing error would be written."""
    for path in _leaves(made.documents):
        wrong: Any = copy.deepcopy(made.documents)
        node = wrong
        for key in path[:-1]:
            node = node[key]
        node[f"{path[-1]}x"] = node.pop(path[-1])
        if not check(exporter, wrong):
            return f"it also takes {'/'.join(map(str, path))}x"
    return ""


def _leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to all values inside."""
    if not isinstance(node, Mapping):
        yield path
        return
    for key, value in node.items():
        yield from _leaves(value, (*path, key))


def _first(problems: Iterator[str]) -> str:
    return next((problem for problem in problems if problem), "")
