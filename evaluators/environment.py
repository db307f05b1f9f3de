"""Environment: the device, software and commit that a measurement belongs to."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from paretoken.spaces.errors import BadInput
from paretoken.spaces.records import Environment


def device_named(name: str | None) -> torch.device:
    """The device of a name ("cpu", "cuda", "cuda:1"); None: CUDA if there is one.

    Raises BadInput where the name is unknown or there is no such device.
    """
    wanted = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise BadInput(f"no device is called {wanted!r}: say cpu, cuda or cuda:1.") from None
    if device.type not in ("cpu", "cuda"):
        raise BadInput(f"device {wanted!r} is not supported: say cpu or cuda.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise BadInput(f"device {wanted!r} is not here ({count} CUDA devices): use --device cpu.")
    return device


def environment(device: torch.device) -> Environment:
    """Where this process measures on `device`."""
    if device.type == "cuda":
        described = f"cuda {torch.cuda.get_device_name(device)}"
    else:
        described = f"cpu {_processor()}, {torch.get_num_threads()} threads"
    software = (
        f"paretoken {_own_version()}, torch {torch.__version__}, python {platform.python_version()}"
    )
    return Environment(described, software, _commit())


def _own_version() -> str:
    try:
        return version("paretoken")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "source"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.machine()


def _commit() -> str:
    """The commit of the source tree, if this is one."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
