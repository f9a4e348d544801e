"""How the kernels of a step are cut: by shape and batch, what was measured best on an H100."""

from __future__ import annotations

from dataclasses import dataclass

from perfkit.decoding.linear import Tile, padded

_SMALL = 8192  # rows (or columns) of W, about where one product no longer fills the GPU by itself


@dataclass(frozen=True)
class Cut:
    """How attention is cut.

    ``keys`` that a program of one warp takes at a time, blocks in flight (``stages``), and into how
    many programs a head's keys go (``splits``, a power of two).
    """

    keys: int
    stages: int
    splits: int


def tile(n: int, k: int, batch: int, element_bytes: int, *, dual: bool, cuda: bool = True) -> Tile:
    """Return the cut of W with ``n`` (or, ``dual``, twice ``n``) rows and ``k`` columns.

    Without ``cuda`` it is one for Triton's interpreter, whose time goes by programs.
    """
    if not cuda:
        return Tile(64, 128, 4, splits=2 if k > n and batch > 1 else 1)
    chosen = _one_row(n, k, dual=dual) if batch == 1 else _rows(n, k, padded(batch), dual=dual)
    rows, columns = chosen.rows, chosen.columns
    # Measured for two bytes a weight; others have as many bytes a tile, which was not measured.
    if element_bytes > 2:
        columns //= 2
    elif element_bytes == 1 and batch == 1:
        rows *= 2
    elif element_bytes == 1:
        columns *= 2
    return Tile(rows, columns, chosen.warps, chosen.stages, chosen.splits)


def _one_row(n: int, k: int, *, dual: bool) -> Tile:
    if not dual and n <= _SMALL:
        return Tile(4, 2048, 8) if k > _SMALL else Tile(2, 1024, 2)
    if k % 2048:
        return Tile(2, 1024, 4)  # 2,048 would leave half of the last columns idle
    return Tile(2, 2048, 4) if dual else Tile(1, 4096, 4)


def _rows(n: int, k: int, rows: int, *, dual: bool) -> Tile:
    if dual or n > 2 * _SMALL:
        return Tile(64, 128, 4, 5)
    if n > _SMALL:
        return Tile(32, 128, 2, 5) if rows == 16 else Tile(64, 128, 4, 5)
    if rows > 16:
        return Tile(16, 256, 4, 4)
    return Tile(64, 128, 4, 5, splits=4) if k > _SMALL else Tile(32, 256, 4, 4)


def attention(pairs: int, length: int, row_bytes: int, multiprocessors: int) -> Cut:
    """Return the cut for ``pairs`` of sequence and key head, and up to ``length`` keys a pair.

    ``row_bytes`` are those of one key. About three programs run at once on a multiprocessor.
    """
    keys = 32 if row_bytes <= 256 else 16  # wider rows would not fit shared memory
    wanted = max(1, 3 * multiprocessors // pairs)
    most = min(wanted, -(-length // keys), 16)
    splits = 1 << (most.bit_length() - 1)
    return Cut(keys, 4 if splits == 1 else 3, splits)
