"""Exported schedules: stepped by transformers and by torch, they are the rates of the candidate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from paretoken.evaluators.readers.training_arguments import read
from paretoken.evaluators.training.curves import rates
from paretoken.search.exporting.artefact import Artefact, check, make
from paretoken.search.exporting.provenance import Chosen
from paretoken.search.exporting.refusal import Code, Refused
from paretoken.search.exporting.schemas import breaches, load
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.errors import BadInput
from paretoken.spaces.objectives import Objective
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.records import Environment, Quantity, StudyInfo, Trial

transformers = pytest.importorskip("transformers")

STAGES = (120, 90)
# Float64 by the same few operations in another order: 1e-16 of the peak each.
TOLERANCE = 1e-9
COMMON = {"peak": 0.004, "warm_up": 0.1}


def chosen(name: str, stages: tuple[int, ...] = STAGES, **knobs: Any) -> tuple[Chosen, list[Any]]:
    """A trial of a schedule as it is stored, and the rates of each leg."""
    tree = {
        "is": "candidates/training",
        "schedule": {"is": f"schedules/{name}", **COMMON, **knobs},
    }
    candidate: Any = from_tree(tree)
    legs = candidate.schedule.legs(stages)
    detail = json.loads(json.dumps({"stages": list(stages), "legs": [leg.plain() for leg in legs]}))
    steps = Quantity("steps", sum(stages), 0.0, 1, "steps", False, detail=detail)
    place = Environment("cpu Test", "paretoken 0.1.0")
    trial = Trial(1, "0" * 32, to_tree(candidate), (), "done", {"steps": steps}, environment=place)
    objectives = (Objective("steps", "steps", False, ""),)
    study = StudyInfo("s", "continual", "grid", 0, {}, objectives, {}, "")
    found = [np.concatenate([rates(leg.trunk), rates(leg.anneal)]) for leg in legs]
    return Chosen(study, trial, "2026-01-01T00:00:00+00:00"), found


def export(target: str, of: Chosen, unverified: bool = False) -> Artefact:
    return make(KINDS["exporters"].load(target), of, unverified=unverified)


def by_transformers(document: dict[str, Any], out: Path) -> list[float]:
    """The rates of a run, as Trainer would set them."""
    arguments = transformers.TrainingArguments(str(out), **document)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=arguments.learning_rate)
    scheduler = transformers.get_scheduler(
        arguments.lr_scheduler_type,
        optimizer,
        num_warmup_steps=arguments.get_warmup_steps(arguments.max_steps),
        num_training_steps=arguments.max_steps,
        scheduler_specific_kwargs=arguments.lr_scheduler_kwargs,
    )
    return stepped(optimizer, scheduler, arguments.max_steps)


def stepped(optimizer: Any, scheduler: Any, steps: int) -> list[float]:
    used = []
    for _ in range(steps):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return used


EXPRESSIBLE = [
    ("linear", {}, "linear"),
    ("linear", {"floor": 0.1}, "polynomial"),
    ("cosine", {}, "cosine"),
    ("cosine", {"waves": 1.25}, "cosine"),
    ("cosine", {"floor": 0.1}, "cosine_with_min_lr"),
    ("constant", {}, "constant_with_warmup"),
    ("constant", {"warm_up": 0.0}, "constant"),
    ("inverse_sqrt", {}, "inverse_sqrt"),
    ("inverse_sqrt", {"timescale": 0.5}, "inverse_sqrt"),
]


@pytest.mark.parametrize(("name", "knobs", "kind"), EXPRESSIBLE)
def test_one_curve_over_all_data_sets_is_one_run(
    tmp_path: Path, name: str, knobs: dict[str, Any], kind: str
) -> None:
    of, legs = chosen(name, **knobs)
    made = export("training_arguments", of)
    assert list(made.documents) == ["training_arguments.json"] and not made.notes
    document = made.documents["training_arguments.json"]
    assert document["lr_scheduler_type"] == kind and document["max_steps"] == sum(STAGES)
    found = by_transformers(document, tmp_path)
    np.testing.assert_allclose(found, np.concatenate(legs), rtol=0, atol=TOLERANCE * 0.004)


PER_DATA_SET = [
    ("wsd", {"shape": "linear", "floor": 0.0}, ["warmup_stable_decay"] * 2),
    ("wsd", {"shape": "cosine", "floor": 0.0}, ["warmup_stable_decay"] * 2),
    ("wsd", {"shape": "one_minus_sqrt", "floor": 0.0}, ["warmup_stable_decay"] * 2),
    ("wsd", {"shape": "cosine", "floor": 0.1, "warm_up": 0.0}, ["warmup_stable_decay"] * 2),
    ("infinite", {"level": 1.0, "shape": "linear", "floor": 0.0}, ["warmup_stable_decay"] * 2),
    ("repeated_cosine", {"floor": 0.0}, ["cosine", "cosine"]),
    ("repeated_cosine", {"floor": 0.0, "again": 0.5}, ["cosine", "cosine"]),
    # The second rises from the floor, which is what WSD's warm-up does.
    ("repeated_cosine", {"floor": 0.1}, ["cosine_with_min_lr", "warmup_stable_decay"]),
    ("repeated_cosine", {"floor": 0.1, "again": 0.5},
     ["cosine_with_min_lr", "warmup_stable_decay"]),
    ("repeated_cosine", {"floor": 0.0, "cycles": 3}, ["cosine_with_restarts"] * 2),
]  # fmt: skip


@pytest.mark.parametrize(("name", "knobs", "kinds"), PER_DATA_SET)
def test_what_ships_after_each_data_set_is_a_run_for_each(
    tmp_path: Path, name: str, knobs: dict[str, Any], kinds: list[str]
) -> None:
    of, legs = chosen(name, **knobs)
    made = export("training_arguments", of)
    documents = [made.documents[f"data_set_{nth}/training_arguments.json"] for nth in (1, 2)]
    assert len(made.documents) == 2
    assert [document["lr_scheduler_type"] for document in documents] == kinds
    for document, leg in zip(documents, legs, strict=True):
        found = by_transformers(document, tmp_path)
        np.testing.assert_allclose(found, leg, rtol=0, atol=TOLERANCE * 0.004)
    annealed = name in ("wsd", "infinite")
    assert ("save_steps" in documents[0]) == annealed and "save_steps" not in documents[1]
    assert [note.code for note in made.notes] == [Code.RUNTIME_ONLY] * annealed
    if annealed:
        assert documents[0]["save_steps"] == 102  # 120 less an anneal of 15 %


@pytest.mark.parametrize(
    ("name", "knobs", "code"),
    [
        ("infinite", {"shape": "linear"}, Code.NOT_EXPRESSIBLE),  # a cool-down
        ("wsd", {"shape": "exponential"}, Code.NOT_EXPRESSIBLE),
        ("wsd", {"shape": "harmonic"}, Code.NOT_EXPRESSIBLE),
        ("wsd", {"shape": "linear", "floor": 0.1}, Code.UNVERIFIED_SEMANTICS),  # warms up from it
        ("repeated_cosine", {"floor": 0.1, "cycles": 3}, Code.NOT_EXPRESSIBLE),
        ("repeated_cosine", {"floor": 0.0, "cycles": 7}, Code.NOT_EXPRESSIBLE),  # of 108 steps
    ],
)
def test_what_transformers_cannot_do_is_refused(
    name: str, knobs: dict[str, Any], code: Code
) -> None:
    of, _ = chosen(name, **knobs)
    with pytest.raises(Refused) as refused:
        export("training_arguments", of)
    assert refused.value.codes[0] == code
    assert "torch-schedule" in str(refused.value) or code == Code.UNVERIFIED_SEMANTICS
    assert export("torch_schedule", of).documents  # which has them all


@pytest.mark.parametrize("name", KINDS["schedules"].names())
@pytest.mark.parametrize("floor", [0.01, 0.1])
def test_torch_steps_every_schedule_by_the_lines_that_are_printed(
    tmp_path: Path, name: str, floor: float
) -> None:
    knobs = {"floor": floor} if name not in ("constant", "inverse_sqrt") else {}
    for more in [{"shape": s} for s in ("exponential", "harmonic", "one_minus_sqrt")] + [
        {"cooling": c} for c in ("cosine", "inverse_root", "linear")
    ]:
        known = from_tree({"is": f"schedules/{name}"}, "schedules").fields
        of, legs = chosen(name, **knobs, **(more if set(more) <= set(known) else {}))
        made = export("torch_schedule", of)
        for file, text in made.files().items():
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text(text)
        expected = legs if len(made.documents) == 2 else [np.concatenate(legs)]
        for file, wanted in zip(made.documents, expected, strict=True):
            lr, steps = made.documents[file]["lr"], made.documents[file]["steps"]
            optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr)
            first = next(iter(made.documents))
            lines = made.use.replace(f"FOLDER/{first}", str(tmp_path / file))
            names: dict[str, Any] = {"optimizer": optimizer}
            exec(lines, names)
            found = stepped(optimizer, names["scheduler"], steps)
            np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE * lr)
            # One step beyond the end stands at the end's rate, which an anneal reaches only there.
            assert np.isfinite(optimizer.param_groups[0]["lr"])


def written(made: Artefact, folder: Path) -> None:
    for name, text in made.files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_the_reader_checks_rates_against_transformers(tmp_path: Path) -> None:
    of, _ = chosen("wsd", shape="linear", floor=0.0)
    written(export("training_arguments", of), tmp_path / "good")
    read(tmp_path / "good")
    of, _ = chosen("wsd", shape="linear", floor=0.1)
    made = export("training_arguments", of, unverified=True)
    assert [note.code for note in made.notes] == [Code.UNVERIFIED_SEMANTICS, Code.RUNTIME_ONLY]
    written(made, tmp_path / "nearly")
    with pytest.raises(BadInput, match="trains step 0 of data_set_1"):
        read(tmp_path / "nearly")
    file = tmp_path / "good" / "data_set_2" / "training_arguments.json"
    document = json.loads(file.read_text())
    for broken, says in (
        ({"lr_scheduler_kwargs": {"bogus": 1}}, "refuses"),
        ({"max_steps": 80}, "trains step"),
        ({"learning_rate": 0.005}, "trains step"),
    ):
        file.write_text(json.dumps({**document, **broken}))
        with pytest.raises(BadInput, match=says):
            read(tmp_path / "good")


def leaves(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if not isinstance(node, dict | list) or not node:
        return [path]
    items = node.items() if isinstance(node, dict) else enumerate(node)
    return [leaf for key, value in items for leaf in leaves(value, (*path, key))]


@pytest.mark.parametrize("target", ["training_arguments", "torch_schedule"])
@pytest.mark.parametrize(("name", "knobs"), [(n, k) for n, k, _ in (*EXPRESSIBLE, *PER_DATA_SET)])
def test_schemas_know_every_field_and_no_other(
    target: str, name: str, knobs: dict[str, Any]
) -> None:
    exporter = KINDS["exporters"].load(target)
    made = export(target, chosen(name, **knobs)[0])
    assert breaches(load("paretoken.search.exporters", "json-1.json"), made.sidecar) == []
    assert check(exporter, made.documents) == []
    for path in leaves(made.documents):
        for change in ("nonsense", "renamed"):
            documents = json.loads(json.dumps(made.documents))
            node = documents
            for key in path[:-1]:
                node = node[key]
            if change == "nonsense":
                node[path[-1]] = [-7]
            else:
                node[f"{path[-1]}x"] = node.pop(path[-1])
            assert check(exporter, documents), (path, change)


def test_a_kind_takes_its_own_arguments_only() -> None:
    exporter = KINDS["exporters"].load("training_arguments")
    made = export("training_arguments", chosen("cosine")[0])
    document = made.documents["training_arguments.json"]
    for kwargs in ({"min_lr_ratio": 0.1}, {"num_decay_steps": 5}):
        wrong = {"training_arguments.json": {**document, "lr_scheduler_kwargs": kwargs}}
        assert [finding.code for finding in check(exporter, wrong)][:1] == [Code.OUT_OF_RANGE]


def test_other_studies_are_no_schedules() -> None:
    study = StudyInfo("s", "fashion", "grid", 0, {}, (), {}, "")
    tree = to_tree(from_tree({}))
    trial = Trial(0, "0" * 32, tree, (), "done", {})
    for target in ("training_arguments", "torch_schedule"):
        with pytest.raises(Refused, match="for models that are trained"):
            export(target, Chosen(study, trial, ""))
    of, _ = chosen("cosine")
    for target in ("vllm", "sjd"):  # and no engine decodes with a schedule
        with pytest.raises(Refused, match="is for"):
            export(target, of)
    old = Trial(1, "0" * 32, of.trial.tree, (), "done", {})
    with pytest.raises(BadInput, match="search again"):
        export("torch_schedule", Chosen(of.study, old, ""))
    assert export("json", of).sidecar["candidate"] == of.trial.tree
