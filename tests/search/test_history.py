"""`history`: the hypervolume as it grew, worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Cli = Callable[..., Any]


def test_the_hypervolume_is_the_one_worked_out_by_hand(cli: Cli, url: str) -> None:
    """Corner: FID 100, no speed. Plain: (100 - 50) * 1. Number 1: 50 * 2.5. Number 3 at FID 52
    adds 48 * 0.5, number 4 at FID 70 adds 30 * 1; the others lie inside."""
    document = json.loads(cli("history", "demo", "--json").out)
    assert document["reference"] == {"fid": 100.0, "images_per_s": 0.0}
    volumes = {moment["number"]: moment["volume"] for moment in document["moments"]}
    assert volumes == {0: 50.0, 1: 125.0, 3: 149.0, 4: 179.0}
    everyone = json.loads(cli("history", "demo", "--all", "--json").out)["moments"]
    assert [moment["number"] for moment in everyone] == [0, 1, 2, 3, 4, 5, 7]
    assert [moment["places"] for moment in everyone] == [1, 1, 1, 2, 3, 3, 3]


def test_people_get_a_table_and_errors_a_line(cli: Cli, url: str) -> None:
    told = cli("history", "demo").out
    assert "hypervolume" in told and "100.0 %" in told and "reference point: fid 100" in told
    assert cli("history", "nothing").code == 2
