"""Which kind of device is looked at: a front is of one kind, for speeds compare on no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from paretoken.spaces.errors import BadInput, UnknownName
from paretoken.spaces.records import Trial


def devices_of(trials: Sequence[Trial]) -> dict[str, int]:
    """How many finished trials were timed on each device; the most first, then the earliest."""
    timed = (t.environment.device for t in trials if t.state == "done" and t.environment)
    return dict(Counter(timed).most_common())


def chosen(devices: Mapping[str, int], wanted: str) -> str:
    """The device that `--device` means by a part of its name; the most used one for "".

    "" where nothing was timed. Raises UnknownName, and BadInput where several fit.
    """
    if not wanted:
        return next(iter(devices), "")
    fitting = [name for name in devices if wanted.lower() in name.lower()]
    if not fitting:
        raise UnknownName("device of this study", wanted, devices)
    if len(fitting) > 1 and wanted not in devices:
        raise BadInput(f"--device {wanted!r} fits {' and '.join(map(repr, fitting))}: write more.")
    return wanted if wanted in devices else fitting[0]


def timed_on(trials: Sequence[Trial], device: str) -> list[Trial]:
    """The trials that were timed there; those that were timed nowhere belong everywhere."""
    return [t for t in trials if t.environment is None or t.environment.device == device]


def others_told(devices: Mapping[str, int], device: str) -> str:
    """What a front of one device leaves out; "" if nothing."""
    others = [f"{name!r} ({count})" for name, count in devices.items() if name != device]
    if not others:
        return ""
    return (
        f"only what was timed on {device!r} ({devices[device]}) is compared; --device shows "
        f"another kind: {', '.join(others)}"
    )
