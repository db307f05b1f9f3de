"""Settings by path: what `--where`, tables and the report call them."""

from __future__ import annotations

from paretoken.spaces.settings import by_path


def test_a_part_goes_by_its_plug_in_and_the_whole_is_no_setting() -> None:
    tree = {
        "is": "candidates/training",
        "budget": 1.0,
        "schedule": {"is": "schedules/wsd", "peak": 0.1, "milestones": [1, 2], "again": None},
    }
    assert by_path(tree) == {
        "budget": 1.0,
        "schedule": "wsd",
        "schedule.peak": 0.1,
        "schedule.milestones": "[1, 2]",
        "schedule.again": None,
    }
