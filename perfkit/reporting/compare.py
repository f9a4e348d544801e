"""Two result files side by side: a ratio only where the two figures may stand in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError
from perfkit.reporting.tables import DASH, ratio, reference_arm, short_id
from perfkit.results.store import section

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.table import Table

# Each block's figures, with their unit where people read and how many of it one of ours is.
FIGURES = {
    "perfkit": (
        ("ttft_s", "TTFT ms", 1e3), ("tpot_s", "TPOT ms", 1e3), ("e2e_s", "E2E ms", 1e3),
        ("output_tokens_per_s", "output tok/s", 1.0),
        ("peak_allocated_bytes", "peak allocated GiB", 2**-30),
        ("peak_device_bytes", "peak device GiB", 2**-30),
        ("mfu", "MFU %", 100.0), ("mbu", "MBU %", 100.0), ("vs_ref", "x eager nofmha", 1.0),
    ),
    "perfkit_attention": (
        ("median_s", "median µs", 1e6), ("flop_per_s", "TFLOP/s", 1e-12),
        ("kv_bytes_per_s", "K and V GB/s", 1e-9), ("share_of_ceiling", "of ceiling %", 100.0),
    ),
}  # fmt: skip
# These have no unit of a machine left in them.
DIMENSIONLESS = frozenset({"mfu", "mbu", "vs_ref", "share_of_ceiling"})
ACROSS = "across machines"


@dataclass(frozen=True)
class Row:
    """One figure of one cell in both files, in the figure's own unit; ``ratio`` is B over A.

    ``note`` says why there is no ratio, or what to mind of it.
    """

    cell: str
    figure: str
    a: float | None
    b: float | None
    ratio: float | None
    note: str


def block_of(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """Return which block both documents hold. Raises UsageError where they hold none in common."""
    for name in FIGURES:
        if name in a and name in b:
            return name
    raise UsageError("one file holds generation, the other attention: nothing to compare")


def compare(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Row]:
    """Return a row a figure that either file has, of each cell that both have.

    Raises UsageError where they have no cell in common.
    """
    block = block_of(a, b)
    cells_a, cells_b = section(a, block, "cells"), section(b, block, "cells")
    common = [cell for cell in cells_a if cell in cells_b]
    if not common:
        raise UsageError(f"no cell in common: A has {_some(cells_a)}; B has {_some(cells_b)}")
    same = _key(a, block) == _key(b, block) is not None
    made = []
    for cell in common:
        one, other = _read(cell, cells_a, block), _read(cell, cells_b, block)
        why = unfit(cells_a[cell], "A", block) or unfit(cells_b[cell], "B", block)
        for name, _, _ in FIGURES[block]:
            if one.get(name) is not None or other.get(name) is not None:
                made.append(_row(cell, name, one.get(name), other.get(name), why, same))
    return made


def unfit(cell: Mapping[str, Any], file: str, block: str) -> str | None:
    """Say why a cell's figures may stand in no ratio, None where they may."""
    if cell.get("verdict") != "ok":
        return f"{file} is {cell.get('verdict')}"
    # An attention cell is ok only after its output was held against fp32.
    if block == "perfkit" and section(cell, "agreement").get("status") != "agrees":
        return f"{file}'s outputs were not shown to agree"
    return None


def only_in(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the cells that A alone has, and those that B alone has."""
    block = block_of(a, b)
    cells_a, cells_b = section(a, block, "cells"), section(b, block, "cells")
    return [c for c in cells_a if c not in cells_b], [c for c in cells_b if c not in cells_a]


def _row(
    cell: str, name: str, a: float | None, b: float | None, why: str | None, same: bool
) -> Row:
    free = name in DIMENSIONLESS
    note = why or ("" if same else ACROSS if free else "another machine")
    quotient = None
    if a is None or b is None:
        note = why or f"{'A' if a is None else 'B'} has none"
    elif why is None and (same or free):
        quotient = b / a if a else None
    return Row(cell, name, a, b, quotient, note)


def _read(cell: str, cells: Mapping[str, Any], block: str) -> dict[str, float | None]:
    body = cells[cell]
    if block == "perfkit_attention":
        return dict(body)
    return section(body, "metrics") | {"vs_ref": ratio(body, reference_arm(body, cells))}


def _key(document: Mapping[str, Any], block: str) -> str | None:
    key: str | None = section(document, block, "machine").get("key")
    return key


def _some(cells: Mapping[str, Any]) -> str:
    names = list(cells)
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def table(rows: list[Row], block: str) -> Table:
    """Return a line a row; a cell is named once."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    made.add_column("cell", overflow="fold")
    made.add_column("figure", no_wrap=True)
    for header in ("A", "B", "B ÷ A"):
        made.add_column(header, justify="right", no_wrap=True)
    made.add_column("")
    units = {name: (words, scale) for name, words, scale in FIGURES[block]}
    before = None
    for row in rows:
        words, scale = units[row.figure]
        shown = _number(scale)
        name = "" if row.cell == before else short_id(row.cell)
        quotient = DASH if row.ratio is None else f"{row.ratio:.3f}"
        note = Text(row.note, style="dim italic")
        made.add_row(name, words, shown(row.a), shown(row.b), quotient, note)
        before = row.cell
    return made


def _number(scale: float) -> Callable[[float | None], str]:
    return lambda value: DASH if value is None else f"{value * scale:.4g}"
