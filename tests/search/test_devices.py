"""A study that was timed on two kinds of devices: each has a front of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from paretoken.cache.store import Store
from paretoken.search.report import results as judged
from paretoken.spaces.records import Environment, Measurement, Quantity

Cli = Callable[..., Any]

HERE = "cpu Test, 2 threads"  # of the filled store: its trial 0 and six others
GPU = Environment("cuda NVIDIA H100 80GB HBM3", "paretoken 0.1.0, torch 2.14.1")


def add(store: Store, number: int, fid: float, speed: float, place: Environment = GPU) -> str:
    """A trial that was timed on a GPU: a hundred times as fast as anything on the CPU."""
    tree = {"decoder": {"is": "decoders/speculative", "number": number}}
    identity = store.propose("demo", number, tree, (float(number),))
    of_fid = Quantity("fid", fid, 1.0, 500, "", False, "lite0 N=500")
    rate = Quantity("images_per_s", speed, speed / 100, 5, "images/s", True, "cpu")
    quality = Measurement("quality", f"gpu-law-{number}", (of_fid,), place, 0, 3.0)
    quick = Measurement("speed", f"gpu-cost-{number}", (rate,), place, 0, 2.0)
    classes = [store.observe(identity, one)[0].id for one in (quality, quick)]
    store.finish("demo", number, classes[0], classes[1], {})
    return identity


def test_a_front_is_of_the_kind_that_most_was_timed_on(cli: Cli, url: str, store: Store) -> None:
    add(store, 8, 60.0, 300.0)
    add(store, 9, 50.0, 200.0)
    document = json.loads(cli("front", "demo", "--json").out)
    assert [found["number"] for found in document["front"]] == [4, 3, 1]
    assert document["device"] == HERE and document["done"] == 7
    assert f"only what was timed on '{HERE}' (7) is compared" in document["note"]
    assert "'cuda NVIDIA H100 80GB HBM3' (2)" in document["note"]
    table = cli("front", "demo").out
    assert f"on {HERE}" in table and "--device shows another kind" in table
    for number in range(10, 17):
        add(store, number, 70.0 + number, 100.0 - number)
    document = json.loads(cli("front", "demo", "--json").out)
    assert [found["number"] for found in document["front"]] == [8, 9]
    assert document["device"] == GPU.device


def test_another_kind_is_named_by_a_part_of_its_name(cli: Cli, url: str, store: Store) -> None:
    add(store, 8, 60.0, 300.0)
    identity = add(store, 9, 50.0, 200.0)
    document = json.loads(cli("front", "demo", "--device", "h100", "--json").out)
    assert [found["number"] for found in document["front"]] == [8, 9]
    for words, number in (((), 4), (("--device", "H100"), 8), (("--device", "cpu"), 4)):
        assert json.loads(cli("best", "demo", *words, "--json").out)["number"] == number
    best = json.loads(cli("best", "demo", "--device", "H100", "--where", "fid <= 55", "--json").out)
    assert best["number"] == 9
    ran = cli("front", "demo", "--device", "A100")
    assert ran.code == 2 and "no device of this study is called 'A100'" in ran.err
    assert "Known: cpu Test, 2 threads, cuda NVIDIA H100 80GB HBM3" in ran.err
    add(store, 10, 80.0, 1.0, Environment("cuda NVIDIA H100 PCIe", GPU.software))
    ran = cli("front", "demo", "--device", "H100")
    assert ran.code == 2 and "write more" in ran.err
    store.observe(
        identity,
        Measurement("speed", "x", (Quantity("images_per_s", 1.0, 0.1, 5),),
                    Environment(HERE, "t"), 0, 1.0),
    )  # fmt: skip
    shown = json.loads(cli("show", identity, "--device", "H100", "--json").out)
    assert {one["device"] for one in shown["measurements"]} == {GPU.device}
    assert len(json.loads(cli("show", identity, "--json").out)["measurements"]) == 3


def test_a_large_study_reads_the_same(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store, 8, 60.0, 300.0)
    whole = judged.read(store, "demo")
    other = judged.read(store, "demo", device="H100")
    monkeypatch.setattr(judged, "LARGE", 5)
    large = judged.read(store, "demo", front_only=True)
    assert set(large.front) == set(whole.front) and large.device == whole.device == HERE
    assert "'cuda NVIDIA H100 80GB HBM3' (1)" in large.note
    assert judged.read(store, "demo", front_only=True, device="H100") == other
