"""Local runtime: one process, one device; precision, batch and CUDA-graph capture."""

from __future__ import annotations

from paretoken.spaces.component import Component, knob


class Local(Component):
    """How the target is run. None of it is meant to change the law, only precision may."""

    kind = "runtimes"

    dtype: str = knob(
        "auto",
        among=("auto", "float32", "bfloat16"),
        doc="Precision of the model; auto: float32 on a CPU, bfloat16 on CUDA.",
    )
    batch: int = knob(1, low=1, high=4096, grid=(1,), doc="Samples decoded together when timed.")
    graphs: bool = knob(True, doc="Capture each round in a CUDA graph (no effect on a CPU).")


plugin = Local
