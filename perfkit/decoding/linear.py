"""Launches of the products of a decode step, and how each is cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit.decoding.elementwise import power_of_two

if TYPE_CHECKING:
    import torch

    from perfkit.decoding.weights import Matrix

_BYTES = 16  # what a bulk prefetch is a multiple of


@dataclass(frozen=True)
class Tile:
    """Rows of W a program, columns at a time and warps.

    For several rows of x also tiles in flight (``stages``), and programs that share the columns of
    a tile (``splits``).
    """

    rows: int
    columns: int
    warps: int
    stages: int = 1
    splits: int = 1


@dataclass(frozen=True)
class Ahead:
    """What a kernel's last programs ask L2 for: ``programs`` times ``size`` bytes at ``at``."""

    at: torch.Tensor
    size: int
    programs: int


def ahead(weight: torch.Tensor, total: int, programs: int) -> Ahead | None:
    """Ask for at most the first ``total`` bytes of ``weight``; None where that is nothing."""
    size = min(total, weight.numel() * weight.element_size()) // programs // _BYTES * _BYTES
    return Ahead(weight, size, programs) if size and weight.device.type == "cuda" else None


@dataclass(frozen=True)
class Stream:
    """The residual stream of B rows, and what the next product needs of it.

    ``h`` (B, hidden) fp32; ``x`` the same times the next norm's gain, in the weights' dtype;
    ``squares`` (parts, padded B) fp32, whose first ``parts`` rows add up to each row's sum of
    squares. ``sums`` (fp32) and ``arrived`` (int32, zero between kernels) are the room in which the
    programs of a tile meet.
    """

    h: torch.Tensor
    x: torch.Tensor
    squares: torch.Tensor
    sums: torch.Tensor
    arrived: torch.Tensor


@dataclass(frozen=True)
class Product:
    """One product of a matrix (N or 2 N, K): see ``linear_kernel`` for what goes around it.

    ``parts`` counts the parts of the stream's squares that this one reads, 0 where its rows ``x``
    come as they are; ``gain`` is the next norm's where the result is added to the stream. ``next``
    is for one row of x alone.
    """

    x: torch.Tensor
    matrix: Matrix
    out: torch.Tensor
    stream: Stream
    tile: Tile
    eps: float
    parts: int = 0
    dual: bool = False
    gain: torch.Tensor | None = None
    next: Ahead | None = None

    @property
    def tiles(self) -> int:
        """How many tiles there are; each that is added leaves a part of the squares."""
        return -(-self.out.shape[1] // self.tile.rows)

    def launch(self) -> None:
        """Enqueue the kernel on the current stream."""
        from perfkit.decoding import linear_kernel

        batch, n = self.out.shape
        w, scale, stream = self.matrix.values, self.matrix.scale, self.stream
        k = w.shape[1]
        # What a kernel does not read is given something that it could.
        gain = self.x if self.gain is None else self.gain
        scales = stream.squares if scale is None else scale
        tensors = (self.x, w, scales, self.out, stream.squares, stream.h, gain)
        settings: dict[str, Any] = {
            "N": n, "K": k, "BN": self.tile.rows, "BK": min(self.tile.columns, power_of_two(k)),
            "PARTS": self.parts, "PARTS_P": power_of_two(max(1, self.parts)),
            "SCALED": self.parts > 0, "DUAL": self.dual, "ADD": self.gain is not None,
            "QUANTISED": scale is not None,
            "num_warps": self.tile.warps,
        }  # fmt: skip
        kernel: Any
        if batch == 1:
            then = self.next or Ahead(w, 0, 0)
            kernel = linear_kernel.gemv_rows[(self.tiles,)]
            kernel(*tensors, then.at, self.eps, AHEAD=then.size,
                   LAST=min(then.programs, self.tiles), **settings)  # fmt: skip
        else:
            kernel = linear_kernel.gemm_rows[(self.tiles * self.tile.splits,)]
            kernel(*tensors, stream.sums, stream.arrived, self.eps, M=batch,
                   MP=stream.squares.shape[1], STAGES=self.tile.stages, SPLITS=self.tile.splits,
                   WIDEN=not w.is_cuda, **settings)  # fmt: skip


def padded(batch: int) -> int:
    """Return the rows that the kernels compute for ``batch`` rows: 1, 16 or 32."""
    return 1 if batch == 1 else max(16, power_of_two(batch))


def room(tile: Tile, n: int, batch: int) -> tuple[int, int]:
    """Return the floats and the counters that a product of ``n`` rows of W needs to meet in."""
    tiles = -(-n // tile.rows)
    return (
        (2 * tiles * tile.splits * tile.rows * padded(batch), tiles) if tile.splits > 1 else (1, 1)
    )
