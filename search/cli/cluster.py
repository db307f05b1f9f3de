"""Options of `search` about who measures: workers on a Ray cluster, or this process alone."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from paretoken.spaces.errors import BadInput

if TYPE_CHECKING:
    from paretoken.search.workers import Cluster

_PANEL = "Who measures"
_DEFAULT_LIMIT = 1800.0

Ray = Annotated[
    str,
    typer.Option(
        "--ray",
        metavar="local|auto|ADDRESS",
        help="Measure several candidates at a time, in workers on a Ray cluster: one of this "
        "machine, for this search; the one that runs here already; or HOST:PORT.",
        rich_help_panel=_PANEL,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        metavar="N",
        help="So many workers. [default: as many as there are GPUs; else one a machine]",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option(
        "--gpus-per-worker",
        min=0.0,
        metavar="F",
        help="1, 2, … or a part below 1: then these workers judge quality only, and one more "
        "with a whole GPU times. [default: 1 where there are GPUs]",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
Limit = Annotated[
    float | None,
    typer.Option(
        "--limit",
        min=1.0,
        metavar="SECONDS",
        help="Kill a worker that takes longer for one measurement; loading the model, and what a "
        "candidate has to learn beforehand, are not counted; "
        f"progress does not lengthen it. [default: {_DEFAULT_LIMIT:.0f}]",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
MemoryPerWorker = Annotated[
    float | None,
    typer.Option(
        "--memory-per-worker",
        min=0.5,
        metavar="GIB",
        help="A worker on the CPU may allocate so much, the model included.",
        rich_help_panel=_PANEL,
    ),
]
RayWheel = Annotated[
    str,
    typer.Option(
        "--ray-wheel",
        metavar="FILE.whl",
        help="Send paretoken to the workers as this wheel, for machines that lack it.",
        rich_help_panel=_PANEL,
    ),
]


def cluster_of(
    address: str,
    workers: int | None,
    gpus: float | None,
    limit: float | None,
    memory: float | None,
    wheel: str,
) -> Cluster | None:
    """What these options say together; None for this process alone."""
    from paretoken.search.workers import Cluster

    if address:
        limit_s = _DEFAULT_LIMIT if limit is None else limit
        return Cluster(address, workers, gpus, limit_s, memory, wheel)
    if any(given is not None for given in (workers, gpus, limit, memory)) or wheel:
        raise BadInput(
            "--workers, --gpus-per-worker, --limit, --memory-per-worker and --ray-wheel are about "
            "workers on a Ray cluster: add --ray local, or leave them out."
        )
    return None


def same_workers(cluster: Cluster) -> str:
    """The options that ask for the same workers again."""
    given = {
        "ray": cluster.address,
        "workers": cluster.workers,
        "gpus-per-worker": cluster.gpus,
        "limit": cluster.limit_s if cluster.limit_s != _DEFAULT_LIMIT else None,
        "memory-per-worker": cluster.memory_gib,
        "ray-wheel": cluster.wheel or None,
    }
    words = (f" --{name} {_word(value)}" for name, value in given.items() if value is not None)
    return "".join(words)


def _word(value: str | float) -> str:
    return shlex.quote(value) if isinstance(value, str) else f"{value:g}"
