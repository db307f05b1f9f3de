"""A workload for tests that decodes nothing: it notes in a file what it measures, and can go wrong.

Options: `folder`, where `log` is written; `faults`, what goes wrong by verifier size ("4": "die");
`seconds`, how long a measurement takes; `learns`, what every candidate has to learn, "otherwise"
for something else in each process, and `learning`, the seconds that takes; `data`, which is the
kind's own with `kinds`; `device`, which is not looked at.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput, MeasurementFailed
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Environment, Quantity
from paretoken.spaces.workload import Behaviour, Observed, Report, Sampled


class Odd(Exception):
    """An exception that no other process can put together again."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one + other)


class Toy:
    """fid is 50 plus the size of the groups, more with few samples; images/s is the window."""

    objectives = (Objective("images_per_s", "images/s", True, ""), Objective("fid", "", False, ""))
    modality = "image"
    samples = 10

    def space_for(self, options: Mapping[str, Any]) -> str:
        return "fashion-small"

    def open(self, **options: Any) -> Toy:
        opened = Toy()
        opened.options = options
        opened.environment = Environment(_kind(options), "toy 1")
        if options.get("unopenable") or (Path(options.get("folder", ".")) / "gone").exists():
            raise FileNotFoundError("no such weights")
        return opened

    def plain(self) -> Component:
        return from_tree({})

    def check_samples(self, samples: int) -> None:
        if samples < 3:
            raise BadInput(f"toys are judged by 3 samples or more, not by {samples}.")

    def context(self) -> Mapping[str, Any]:
        data = self.environment.device if self.options.get("data") == "own" else "the same"
        return {"model": "toy", "data": data}

    def record(self) -> bytes:
        self._note("record", from_tree({}))
        return b"rows" * 1000

    def prepare(self, candidate: Component, report: Report) -> str:
        learns = str(self.options.get("learns", ""))
        ends = time.monotonic() + self.options.get("learning", 0.0)
        while time.monotonic() < ends:
            time.sleep(0.02)
        return str(os.getpid()) if learns == "otherwise" else learns

    def behaviour(self, candidate: Component, recording: bytes) -> Behaviour:
        assert recording == b"rows" * 1000
        fault = self._fault(candidate)
        if fault == "raise in probe":
            raise Odd("odd ", "probe")
        tree = to_tree(candidate)
        verifier = tree["decoder"]["verifier"]
        rule = [] if verifier["is"] == "verifiers/exact" else [_floats(verifier)]
        if fault == "nan in probe":
            rule[0][0] = np.nan
        return Behaviour(
            self.context(), (_floats(tree["sampling"]),), tree["decoder"]["drafter"], tuple(rule),
            not rule, {}, {}, tree["runtime"],
        )  # fmt: skip

    def sample(self, candidate: Component, samples: int, seed: int, report: Report) -> Sampled:
        fault = self._fault(candidate)
        self._note("quality begun" + self._at(samples), candidate)
        report("sampling", 0.1)
        if fault == "die and take the weights along":
            (Path(self.options["folder"]) / "gone").touch()
        if fault.startswith("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "gobble":
            kept = []
            while True:
                kept.append(np.empty(2**24))  # reserved, not touched: that would take its time
        if fault == "raise":
            raise Odd("odd ", "measurement")
        ends = time.monotonic() + (3600 if fault == "hang" else self.options.get("seconds", 0.0))
        while time.monotonic() < ends:
            time.sleep(0.02)
            report(f"sampling, {ends - time.monotonic():.2f} s left", 0.5)
        size = to_tree(candidate)["decoder"]["verifier"].get("size", 0)
        tokens = np.array([[size, seed % 2**20, seed >> 32]])
        return Sampled(tokens, (), 0.01, (candidate, samples))

    def judge(self, sampled: Sampled, report: Report) -> Observed:
        candidate, samples = sampled.payload
        fault = self._fault(candidate)
        if fault == f"nan at {samples}":
            fault = "nan"
        fid = 50.0 + float(sampled.tokens[0, 0]) + 10 * (10 / samples - 1)
        fid = {"nan": np.nan, "inf": np.inf}.get(fault, fid)
        self._note("quality" + self._at(samples), candidate)
        spread, under = (10 / samples) ** 0.5, f"n={samples}"
        return Observed((Quantity("fid", fid, spread, samples, "", False, under),), 0.01)

    def speed(self, candidate: Component, report: Report) -> Observed:
        time.sleep(self.options.get("seconds", 0.0))
        if self._fault(candidate) == "fail":
            raise MeasurementFailed("nan", "the logits are not numbers")
        spread = np.inf if self._fault(candidate) == "inf spread" else 0.1
        rate = Quantity("images_per_s", float(candidate.decoder.drafter.most), spread, 5)
        self._note("speed", candidate)
        work = _floats(to_tree(candidate.decoder)).astype(np.int64)
        return Observed((rate,), 0.01, {}, (work,))

    def _at(self, samples: int) -> str:
        return "" if samples == self.samples else f" {samples}"

    def _fault(self, candidate: Component) -> str:
        size = to_tree(candidate)["decoder"]["verifier"].get("size", 0)
        found: str = self.options.get("faults", {}).get(str(size), "")
        return found

    def _note(self, what: str, candidate: Component) -> None:
        if "folder" in self.options:
            line = f"{what}\t{json.dumps(to_tree(candidate), sort_keys=True)}\t{os.getpid()}\n"
            file = os.open(
                Path(self.options["folder"]) / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT
            )
            os.write(file, line.encode())
            os.close(file)


def _kind(options: Mapping[str, Any]) -> str:
    """The device of this process: of several `kinds`, each of those that open takes the next."""
    for n, kind in enumerate(options.get("kinds", ())):
        try:
            (Path(options["folder"]) / f"taken {n}").mkdir()
        except FileExistsError:
            continue
        return str(kind)
    return "cpu toy"


def _floats(tree: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Numbers that are equal for equal trees only."""
    return np.frombuffer(json.dumps(tree, sort_keys=True).encode(), np.uint8).astype(float)


plugin = Toy()
