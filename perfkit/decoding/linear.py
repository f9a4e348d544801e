"""Launches of the products of a decode step, and how each is cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit.decoding.elementwise import power_of_two

if TYPE_CHECKING:
    import torch

MOST_ROWS = 32
_BYTES = 16  # what a bulk prefetch is a multiple of


@dataclass(frozen=True)
class Tile:
    """Rows of W a program, columns at a time, warps, and tiles in flight (of ``gemm_rows``)."""

    rows: int
    columns: int
    warps: int
    stages: int = 1


@dataclass(frozen=True)
class Ahead:
    """What the last programs of a kernel ask L2 for: ``programs`` times ``size`` bytes at ``at``."""

    at: torch.Tensor
    size: int
    programs: int


def ahead(weight: torch.Tensor, total: int, programs: int) -> Ahead | None:
    """Ask for the first ``total`` bytes of ``weight`` at most, evenly; None where that is nothing."""
    size = min(total, weight.numel() * weight.element_size()) // programs // _BYTES * _BYTES
    return Ahead(weight, size, programs) if size and weight.device.type == "cuda" else None


@dataclass(frozen=True)
class Stream:
    """The residual stream of B rows, and what the next product needs of it.

    ``h`` (B, hidden) fp32; ``x`` the same times the next norm's gain, in the weights' dtype;
    ``squares`` (parts, padded B) fp32, whose first ``parts`` rows add up to each row's sum of
    squares.
    """

    h: torch.Tensor
    x: torch.Tensor
    squares: torch.Tensor


@dataclass(frozen=True)
class Product:
    """One product of W (N or 2 N, K): see ``linear_kernel`` for what goes around it.

    ``parts`` counts the parts of the stream's squares that this one reads, 0 where its rows ``x``
    come as they are; ``gain`` is the next norm's where the result is added to the stream.
    """

    x: torch.Tensor
    w: torch.Tensor
    out: torch.Tensor
    stream: Stream
    tile: Tile
    eps: float
    parts: int = 0
    dual: bool = False
    gain: torch.Tensor | None = None
    next: Ahead | None = None

    @property
    def programs(self) -> int:
        """How many programs run; each leaves a part of the squares."""
        return -(-self.out.shape[1] // self.tile.rows)

    def launch(self) -> None:
        """Enqueue the kernel on the current stream."""
        from perfkit.decoding import linear_kernel

        batch, n = self.out.shape
        k, tile, stream, then = self.w.shape[1], self.tile, self.stream, self.next
        tensors = (
            self.x, self.w, self.out, stream.squares, stream.h,
            self.w if self.gain is None else self.gain, self.w if then is None else then.at,
        )  # fmt: skip
        settings: dict[str, Any] = {
            "N": n, "K": k, "BN": tile.rows, "BK": min(tile.columns, power_of_two(k)),
            "PARTS": self.parts, "PARTS_P": power_of_two(max(1, self.parts)),
            "SCALED": self.parts > 0, "DUAL": self.dual, "ADD": self.gain is not None,
            "AHEAD": 0 if then is None else then.size,
            "LAST": 0 if then is None else min(then.programs, self.programs),
            "num_warps": tile.warps,
        }  # fmt: skip
        kernel: Any
        if batch == 1:
            kernel = linear_kernel.gemv_rows[(self.programs,)]
        else:
            kernel = linear_kernel.gemm_rows[(self.programs,)]
            settings |= {"M": batch, "MP": stream.squares.shape[1], "STAGES": tile.stages,
                         "WIDEN": not self.w.is_cuda}  # fmt: skip
        kernel(*tensors, self.eps, **settings)


def tile(n: int, k: int, batch: int, element_bytes: int, *, dual: bool) -> Tile:
    """Return the cut measured best for W of ``n`` (or twice ``n``) rows and ``k`` columns."""
    del k
    wide = element_bytes > 2  # fp32: the same bytes, half the columns
    if batch == 1:
        return Tile(2, 1024 if wide else 2048, 4)
    rows = 16 if dual or n <= 8192 else 32
    return Tile(rows, 128 if wide else 256, 4, stages=3 if dual else 4)


def padded(batch: int) -> int:
    """Return the rows that the kernels compute for ``batch`` rows: 1, 16 or 32."""
    return 1 if batch == 1 else max(16, power_of_two(batch))
