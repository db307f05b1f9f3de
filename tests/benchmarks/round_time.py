"""Where the time of a round goes: the target's forward, and all that decides about drafts.

    python tests/benchmarks/round_time.py --batch 1,64,1024 --window 1,8,16,32

For a captured round on a CUDA device, or an eager one on a CPU: its time, that of the forward in it
alone, how much dearer the window's forward is than one token's (window ratio), and the share of the
round that is not forward (drafting, verification, book-keeping). Rows stand in the middle of an
image, where half of its tokens are read. Window 1 is plain decoding.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.session import Session
from paretoken.evaluators.environment import device_named, environment
from paretoken.evaluators.models.checkpoint import load_tokenizer, load_transformer
from paretoken.evaluators.models.image_target import ImageTarget
from paretoken.evaluators.workloads.fashion import TOKENIZER, TRANSFORMER
from paretoken.spaces.candidate import from_tree

REPEATS = 50


def main(
    batch: Annotated[str, typer.Option(help="Batch sizes.")] = "1,64",
    window: Annotated[str, typer.Option(help="Windows; 1 is plain decoding.")] = "1,8,16,32",
    coupling: Annotated[str, typer.Option(help="Couplings, or verifiers by name.")] = "gumbel,none",
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
) -> None:
    """Time rounds and forwards of the fashion model."""
    chosen = device_named(device)
    dtype = torch.bfloat16 if chosen.type == "cuda" else torch.float32
    transformer, tokenizer = load_transformer(TRANSFORMER), load_tokenizer(TOKENIZER)
    target = ImageTarget(transformer, chosen, dtype)
    geometry = Geometry(
        transformer.tok_embeddings.weight.to(chosen), tokenizer.quantize.embedding.weight.to(chosen)
    )
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    names = ("batch", "window", "rule", "round us", "forward us", "window ratio", "not forward")
    for name in names:
        table.add_column(name, justify="left" if name == "rule" else "right")
    rows = []
    for size in map(int, batch.split(",")):
        plain = 0.0
        for width in map(int, window.split(",")):
            for rule in ["plain"] if width == 1 else coupling.split(","):
                session = Session(
                    target, _decoder(width, rule), from_tree({}).sampling, geometry, size, 0
                )
                whole, forward = _timed(session, width)
                plain = forward if width == 1 else plain
                ratio = forward / plain if plain else float("nan")
                rows.append(
                    dict(zip(names, (size, width, rule, whole, forward, ratio), strict=False))
                )
                table.add_row(
                    str(size), str(width), rule, f"{whole:.1f}", f"{forward:.1f}", f"{ratio:.2f}",
                    f"{1 - forward / whole:.0%}",
                )  # fmt: skip
    console = Console()
    console.print(table)
    where = environment(chosen)
    console.print(f"{where.device} · {where.software}", style="dim")
    if out is not None:
        out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _decoder(window: int, rule: str) -> object:
    """Jacobi drafts under a coupling, or uncoupled ones under a verifier."""
    if window == 1:
        return from_tree({}).decoder
    drafter = {"is": "drafters/jacobi", "window": window}
    tree = {"is": "decoders/speculative", "drafter": drafter}
    if rule in ("none", "maximal", "gumbel"):
        drafter["coupling"] = rule
    else:
        tree["verifier"] = {"is": f"verifiers/{rule}"}
    return from_tree({"decoder": tree}).decoder


@torch.inference_mode()
def _timed(session: Session, window: int) -> tuple[float, float]:
    """Microseconds of a round and of the forward in it."""
    rows, target = session.rows, session.target
    everyone = torch.arange(session.batch, device=target.device)
    session.load(everyone, everyone, everyone % 10)
    middle = target.length // 2

    def round_() -> None:
        rows.count.fill_(middle)
        session.round(window, False)

    fed = torch.zeros(session.batch, window, dtype=torch.int64, device=target.device)
    place = torch.full_like(everyone, middle)

    def forward() -> None:
        target.forward(fed, place, session._cache, False)

    return _microseconds(round_, target.device), _microseconds(forward, target.device)


def _microseconds(work: Callable[[], None], device: torch.device) -> float:
    if device.type == "cpu":
        work()
        begun = time.perf_counter()
        for _ in range(5):
            work()
        return (time.perf_counter() - begun) / 5 * 1e6
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        work()
        work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    graph.replay()
    begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begun.record()
    for _ in range(REPEATS):
        graph.replay()
    ended.record()
    torch.cuda.synchronize()
    return begun.elapsed_time(ended) / REPEATS * 1e3


if __name__ == "__main__":
    typer.run(main)
