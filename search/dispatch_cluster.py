"""The cluster: connecting to it, and dividing it among workers before anything starts.

Timing needs whole devices. A worker with one GPU or more does everything; workers with a part of a
GPU judge quality only, and one more with a whole GPU times. On CPUs a worker has as many cores as
PyTorch has threads in it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paretoken.search.workers import Cluster
from paretoken.spaces.errors import BadInput, Unreadable


@dataclass(frozen=True)
class Share:
    """What one worker takes of a machine. times: whether it may time."""

    cpus: int
    gpus: float
    times: bool


def connect(cluster: Cluster) -> bool:
    """Connect to the cluster, or start a local one; returns whether that is ours to end.

    Raises Unreadable where there is none at the address.
    """
    import ray

    if ray.is_initialized():
        return False
    environment: dict[str, Any] = {}
    if cluster.wheel:
        if not (cluster.wheel.endswith(".whl") and Path(cluster.wheel).is_file()):
            raise BadInput(
                f"{cluster.wheel} is no wheel: build one with `pip wheel --no-deps .` and name "
                "the file that this leaves."
            )
        environment["py_modules"] = [cluster.wheel]
    options: dict[str, Any] = {"include_dashboard": False} if cluster.address == "local" else {}
    try:
        ray.init(
            cluster.address, runtime_env=environment, log_to_driver=False,
            logging_level=logging.ERROR, **options,
        )  # fmt: skip
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = str(error).strip().partition("\n")[0]
        raise Unreadable(
            f"there is no Ray cluster at {cluster.address!r} ({said}): start one with `ray start "
            "--head`, or say --ray local."
        ) from error
    return True


def machines() -> list[Mapping[str, float]]:
    """What each machine of the cluster has: "CPU", "GPU", "memory" in bytes."""
    import ray

    nodes: Callable[[], list[dict[str, Any]]] = ray.nodes
    return [node["Resources"] for node in nodes() if node["Alive"]]


def shares(
    cluster: Cluster, nodes: Sequence[Mapping[str, float]], device: str | None
) -> list[Share]:
    """What each worker is to take. device: as the user named it.

    Raises BadInput where that does not fit.
    """
    gpus = sum(node.get("GPU", 0.0) for node in nodes)
    on_gpus = cluster.gpus != 0 and (device or ("cuda" if gpus else "cpu")).startswith("cuda")
    if cluster.gpus and not on_gpus:
        why = f"--device is {device}" if device else "the cluster has none"
        raise BadInput(
            f"--gpus-per-worker {cluster.gpus:g} asks for GPUs, but {why}: leave one of them out."
        )
    found = _on_gpus(cluster, nodes) if on_gpus else _on_cpus(cluster, nodes)
    _check_fit(cluster, nodes, found)
    return found


def _on_gpus(cluster: Cluster, nodes: Sequence[Mapping[str, float]]) -> list[Share]:
    each = 1.0 if cluster.gpus is None else float(cluster.gpus)
    if not each > 0:
        raise BadInput("--device cuda needs GPUs: --gpus-per-worker cannot be 0.")
    if each >= 1 and not each.is_integer():
        raise BadInput(
            f"a worker has a whole number of GPUs, or a part of one below 1; "
            f"--gpus-per-worker cannot be {each:g}."
        )
    room = {n: math.floor(node.get("GPU", 0.0) / each + 1e-9) for n, node in enumerate(nodes)}
    # Laws are computed on cores: they are shared out as if every GPU were taken.
    cores = (nodes[n].get("CPU", 0.0) // fitting for n, fitting in room.items() if fitting)
    cpus = max(1, int(min(cores, default=1)))
    if each >= 1:
        return [Share(cpus, each, True)] * (cluster.workers or max(1, sum(room.values())))
    judges = cluster.workers or max(1, sum(room.values()) - math.floor(1 / each + 1e-9))
    return [Share(cpus, 1.0, True)] + [Share(cpus, each, False)] * judges


def _on_cpus(cluster: Cluster, nodes: Sequence[Mapping[str, float]]) -> list[Share]:
    cores = [int(node.get("CPU", 0)) for node in nodes]
    wanted = cluster.workers or max(1, sum(1 for of_one in cores if of_one))
    for each in range(max(cores, default=1), 1, -1):  # as many cores each as there is room for
        if sum(of_one // each for of_one in cores) >= wanted:
            return [Share(each, 0.0, True)] * wanted
    return [Share(1, 0.0, True)] * wanted


def _check_fit(
    cluster: Cluster, nodes: Sequence[Mapping[str, float]], wanted: Sequence[Share]
) -> None:
    left = [dict(node) for node in nodes]
    memory = memory_bytes(cluster)
    for placed, share in enumerate(sorted(wanted, key=lambda share: -share.gpus)):
        needs = {"CPU": share.cpus, "GPU": share.gpus, "memory": memory}
        room = (n for n in left if all(n.get(k, 0.0) + 1e-9 >= v for k, v in needs.items()))
        # The fullest machine that has room: parts of a GPU leave others whole.
        place = min(room, key=lambda node: node.get("GPU", 0.0), default=None)
        if place is None:
            raise BadInput(_does_not_fit(nodes, wanted, placed, memory))
        for name, amount in needs.items():
            place[name] = place.get(name, 0.0) - amount


def _does_not_fit(
    nodes: Sequence[Mapping[str, float]], wanted: Sequence[Share], fitting: int, memory: int
) -> str:
    has = {k: sum(node.get(k, 0.0) for node in nodes) for k in ("CPU", "GPU", "memory")}
    each = wanted[-1]
    parts = [f"{each.cpus} CPU"]
    parts += [f"{each.gpus:g} GPU"] if each.gpus else []
    parts += [f"{memory / 2**30:.1f} GiB"] if memory else []
    timer = wanted[0] != each
    extra = " and one with a whole GPU that times" if timer else ""
    fewer = max(0, fitting - timer)
    way = f"ask for --workers {fewer} at most" if fewer else "take less for each"
    if timer and not fewer:
        way = "say --gpus-per-worker 1, so that one worker does both"
    return (
        f"{len(wanted) - timer} workers of {' + '.join(parts)} each{extra} do not fit into "
        f"{len(nodes)} machine(s) with {has['CPU']:g} CPUs, {has['GPU']:g} GPUs and "
        f"{has['memory'] / 2**30:.0f} GiB: {way}, or name a larger cluster with --ray ADDRESS."
    )


def memory_bytes(cluster: Cluster) -> int:
    """What a worker may allocate; 0 for no limit."""
    return int((cluster.memory_gib or 0.0) * 2**30)
