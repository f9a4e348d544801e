"""Tables of where a profile's time goes: by class, by kernel, and ncu's figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from perfkit.reporting.tables import DASH

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

_MS, _US = 1e3, 1e6
_SHORT = 88
_FIGURES = (
    ("duration_s", "time\nus", _US, "{:,.2f}"),
    ("sm_throughput_pct", "SM\n%", 1, "{:.1f}"),
    ("memory_throughput_pct", "memory\n%", 1, "{:.1f}"),
    ("dram_throughput_pct", "DRAM\n%", 1, "{:.1f}"),
    ("tensor_pipe_pct", "tensor\n%", 1, "{:.1f}"),
    ("achieved_occupancy_pct", "occup.\n%", 1, "{:.1f}"),
    ("registers", "regs\n", 1, "{:.0f}"),
    ("l2_hit_pct", "L2 hit\n%", 1, "{:.1f}"),
)  # fmt: skip


def class_table(kernels: pd.DataFrame) -> Table:
    """Return a row a class, the longest first, with a column of time for each phase there is."""
    table = _table("class\n")
    phases = [phase for phase in ("prefill", "decode") if (kernels["phase"] == phase).any()]
    for header in ("calls\n", "total\nms", "share\n%", *(f"{phase}\nms" for phase in phases)):
        table.add_column(header, justify="right", no_wrap=True)
    sums = kernels.groupby("class")[["calls", "total_s", "share"]].sum(min_count=1)
    by_phase = kernels.groupby(["class", "phase"])["total_s"].sum()
    for name, row in sums.sort_values("total_s", ascending=False).iterrows():
        spent = [_number(by_phase.get((name, phase), 0.0), _MS, "{:,.3f}") for phase in phases]
        table.add_row(str(name), f"{row['calls']:,.0f}", *_shares(row), *spent)
    table.add_section()
    whole = kernels[["calls", "total_s", "share"]].sum(min_count=1)
    spent = [
        _number(kernels.loc[kernels["phase"] == phase, "total_s"].sum(), _MS, "{:,.3f}")
        for phase in phases
    ]
    table.add_row("all", f"{whole['calls']:,.0f}", *_shares(whole), *spent)
    return table


def kernel_rows(kernels: pd.DataFrame, top: int) -> Table:
    """Return the ``top`` rows of a kernel table; its title says how many there are."""
    table = _table(f"kernel: {min(top, len(kernels)):,} of {len(kernels):,} rows\n")
    for header in ("class\n", "phase\n", "device\n", "stream\n"):
        table.add_column(header, no_wrap=True)
    for header in ("calls\n", "total\nms", "mean\nus", "share\n%"):
        table.add_column(header, justify="right", no_wrap=True)
    for _, row in kernels.head(top).iterrows():
        total, share = _shares(row)
        stream = DASH if row["stream"] < 0 else str(row["stream"])
        table.add_row(
            shown(row["name"]), row["class"], row["phase"] or DASH, row["device"] or DASH, stream,
            f"{row['calls']:,}", total, _number(row["mean_s"], _US, "{:,.2f}"), share,
        )  # fmt: skip
    return table


def metric_table(metrics: pd.DataFrame, top: int) -> Table:
    """Return ncu's figures of the ``top`` longest launches; what a page does not have is a dash."""
    table = _table(f"launch: {min(top, len(metrics)):,} of {len(metrics):,}\n")
    table.add_column("id\n", justify="right", no_wrap=True)
    for _, header, _, _ in _FIGURES:
        table.add_column(header, justify="right", no_wrap=True)
    longest = metrics.sort_values("duration_s", ascending=False, kind="stable").head(top)
    for _, row in longest.iterrows():
        figures = [_number(row[name], scale, form) for name, _, scale, form in _FIGURES]
        table.add_row(shown(row["name"]), str(row["id"]), *figures)
    return table


def shown(name: str, width: int = _SHORT) -> str:
    """Return a name as a terminal may have it: short, printable, and no markup of rich's."""
    from rich.markup import escape

    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    return escape(plain if len(plain) <= width else f"{plain[: width - 1]}…")


def _table(first: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column(first, overflow="fold")
    return table


def _shares(row: pd.Series) -> tuple[str, str]:
    return _number(row["total_s"], _MS, "{:,.3f}"), _number(row["share"], 100, "{:.1f}")


def _number(value: float, scale: float, form: str) -> str:
    return DASH if math.isnan(value) else form.format(value * scale)
