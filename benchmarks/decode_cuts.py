"""Which cut of a decode step's products is fastest on this GPU: what decoding/cuts.py is made of.

    for i in 0 1 2 3 4 5 6 7; do python benchmarks/decode_cuts.py --compile $i/8 & done; wait
    python benchmarks/decode_cuts.py --output OUT.json --seconds 300

For each kind of weights, batch and product of LLaMA-2-7B: every candidate tile, right first (held
against a plain product), then timed by events around a graph of products of different weights, so
that nothing comes from L2. GB/s are of the weights alone. What the seconds do not reach is not
measured. The first line fills Triton's cache by many processes, since compiling takes longest.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from perfkit.decoding.linear import Product, Stream, Tile, padded, room
from perfkit.decoding.plain import widened
from perfkit.decoding.weights import Matrix
from perfkit.inputs.weight_only import rounded
from perfkit.results.store import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# N, K, and whether W holds gate and up rows.
PRODUCTS = {
    "qkv": (12_288, 4096, False),
    "output": (4096, 4096, False),
    "gate_up": (11_008, 4096, True),
    "down": (4096, 11_008, False),
}
COPIES, REPLAYS, ROUNDS = 6, 5, 5
_LIMIT = 0.02  # relative L2; a wrong tile is off by far more


def candidates(batch: int, kind: str) -> Iterator[Tile]:
    """Yield the tiles to try: rows, columns, warps, stages, splits."""
    if batch == 1:
        for rows, columns, warps in itertools.product((1, 2, 4, 8), (1024, 2048, 4096), (2, 4, 8)):
            if 16 <= rows * columns // (32 * warps) <= 128:
                yield Tile(rows, columns, warps)
        return
    size = 2 if kind == "bf16" else 1
    for rows, columns, warps, stages, splits in itertools.product(
        (16, 32, 64, 128), (128, 256, 512), (2, 4), (3, 4, 5), (1, 2, 4)
    ):
        in_flight = stages * columns * (rows * size + padded(batch) * 2)
        if 64 << 10 <= in_flight <= 200 << 10 and 16 * warps <= rows:
            yield Tile(rows, columns, warps, stages, splits)


def matrix(n: int, k: int, kind: str) -> Matrix:
    """Return random weights (n, k) with unit-variance products."""
    values = torch.randn(n, k, device="cuda") / k**0.5
    return Matrix(values.bfloat16()) if kind == "bf16" else Matrix(*rounded(values, kind))


def product(one: Matrix, x: torch.Tensor, n: int, tile: Tile, *, dual: bool) -> Product:
    """Return the product of ``x`` by this tile, with memory of its own."""
    batch, hidden = x.shape[0], n
    floats, counters = room(tile, n, batch)
    stream = Stream(
        h=torch.zeros(batch, hidden, device="cuda"),
        x=x,
        squares=torch.ones(1, padded(batch), device="cuda"),
        sums=torch.zeros(floats, device="cuda"),
        arrived=torch.zeros(counters, device="cuda", dtype=torch.int32),
    )
    out = torch.empty(batch, n, device="cuda", dtype=torch.bfloat16)
    return Product(x, one, out, stream, tile, 1e-5, 0, dual)


def truth(one: Matrix, x: torch.Tensor, *, dual: bool) -> torch.Tensor:
    """Return the product in fp32."""
    y = x.float() @ widened(one, torch.float32).float().t()
    if not dual:
        return y
    gate, up = y.chunk(2, dim=1)
    return torch.nn.functional.silu(gate) * up


def seconds(run: Callable[[], None]) -> float:
    """Return the median seconds of one replay of a graph of ``run``."""
    run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    graph.replay()
    taken = []
    for _ in range(ROUNDS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(REPLAYS):
            graph.replay()
        end.record()
        end.synchronize()
        taken.append(begin.elapsed_time(end) / 1e3 / REPLAYS)
    return statistics.median(taken)


def tried(name: str, kind: str, batch: int, until: float) -> list[dict[str, Any]]:
    """Measure one product's candidates, fastest first."""
    n, k, dual = PRODUCTS[name]
    matrices = [matrix(2 * n if dual else n, k, kind) for _ in range(COPIES)]
    x = torch.randn(batch, k, device="cuda", dtype=torch.bfloat16)
    right = truth(matrices[0], x, dual=dual)
    moved = sum(one.values.numel() * one.values.element_size() for one in matrices)
    rows: list[dict[str, Any]] = []
    for tile in candidates(batch, kind):
        if time.monotonic() > until:
            break
        about = {"product": name, "kind": kind, "batch": batch, "tile": asdict(tile)}
        try:
            made = [product(one, x, n, tile, dual=dual) for one in matrices]
            made[0].launch()
            off = float((made[0].out.float() - right).norm() / right.norm())
            if off > _LIMIT:
                rows.append(about | {"failed": f"relative L2 {off:.3g}"})
                continue
            taken = seconds(partial(_launch, made))
            rows.append(about | {"gb_per_s": moved / taken / 1e9, "us": taken / COPIES * 1e6})
        except Exception as error:  # a tile that does not fit is a row, as any other
            rows.append(about | {"failed": f"{type(error).__name__}: {error}"[:200]})
    return sorted(rows, key=lambda row: -row.get("gb_per_s", 0.0))


def _launch(made: list[Product]) -> None:
    for one in made:
        one.launch()


def compile_share(wanted: list[tuple[int, str, str]], share: str) -> None:
    """Launch once each candidate of a share, as in ``3/8``: Triton keeps what it compiled."""
    mine, of = map(int, share.split("/"))
    jobs = [(*one, tile) for one in wanted for tile in candidates(one[0], one[1])]
    for batch, kind, name, tile in jobs[mine::of]:
        n, k, dual = PRODUCTS[name]
        x = torch.randn(batch, k, device="cuda", dtype=torch.bfloat16)
        with contextlib.suppress(Exception):  # the measuring run says what failed
            product(matrix(2 * n if dual else n, k, kind), x, n, tile, dual=dual).launch()


def main() -> None:
    """Compile a share, or measure and write after each product."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("decode_cuts.json"))
    parser.add_argument("--compile", metavar="I/N")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--kinds", nargs="+", default=["int8", "fp8", "bf16"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    asked = parser.parse_args()
    wanted = list(itertools.product(asked.batches, asked.kinds, PRODUCTS))
    if asked.compile:
        compile_share(wanted, asked.compile)
        return
    begin = time.monotonic()
    rows: list[dict[str, Any]] = []
    for at, (batch, kind, name) in enumerate(wanted):
        # Each has its share of what is left, so that none is left out.
        left = asked.seconds - (time.monotonic() - begin)
        found = tried(name, kind, batch, time.monotonic() + left / (len(wanted) - at))
        rows += found
        sys.stdout.write(f"{name} {kind} batch {batch}, {len(found)} tiles: {found[:1]}\n")
        told = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "rows": rows}
        write_whole(asked.output, json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
