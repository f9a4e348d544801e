"""effects: what each cell gives over its reference, with intervals over runs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from perfkit.reporting.drawing import FAINT, blank, tidy
from perfkit.reporting.looks import PALETTE
from perfkit.reporting.tables import short_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from perfkit.reporting.pooled import Row

MOST = 30
_LONGEST = 60
_ROW_IN = 0.22


def shown(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that are drawn: those with the largest effects."""
    return [row for row in rows if row.effect is not None][:MOST]


def names(rows: Sequence[Row]) -> list[str]:
    """Return each cell's name as it fits beside a line, with its machine where another has it."""
    many = Counter(row.cell for row in rows)
    return [
        _clipped(short_id(row.cell)) if many[row.cell] == 1
        else f"{_clipped(short_id(row.cell))}, {_clipped(row.group.machine)} {row.group.commit}"
        for row in rows
    ]  # fmt: skip


def _clipped(text: str) -> str:
    plain = "".join(letter if letter.isprintable() else "?" for letter in text[: _LONGEST + 1])
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"


def figure(rows: Sequence[Row]) -> Figure | None:
    """Return a line a cell, the largest effect first; None where there is no effect."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator

    drawn = shown(rows)
    if not drawn:
        return None
    made = blank(1.5 + _ROW_IN * max(4, len(drawn)), "Output throughput over eager nofmha's")
    axes = made.subplots()
    tidy(axes, "x")
    axes.axvline(1, color=FAINT, linewidth=0.8)
    machines = dict.fromkeys(row.group.machine for row in drawn)
    colours = dict(zip(machines, PALETTE * len(machines), strict=False))
    for y, row in enumerate(drawn):
        assert row.effect is not None  # noqa: S101  (shown took those alone)
        colour = colours[row.group.machine]
        if row.effect.interval is not None:
            axes.plot([1 + end for end in row.effect.interval], [y, y], color=colour)
        axes.plot([1 + row.effect.value], [y], "o", color=colour, markersize=4)
    axes.set_yticks(range(len(drawn)), names(drawn), fontsize=7)
    axes.set_ylim(len(drawn) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.set_xlabel("times eager nofmha's, log axis (more is better); lines: 95 % over runs",
                    fontsize=8)  # fmt: skip
    handles = [Line2D([], [], color=c, marker="o", label=name) for name, c in colours.items()]
    made.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return made
