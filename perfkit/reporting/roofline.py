"""roofline: the rate of each phase over what it computes a byte, under measured ceilings."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from perfkit.architectures import ARCHITECTURES
from perfkit.cases import Case
from perfkit.precisions import PRECISIONS
from perfkit.reporting.drawing import INK, blank, legend_below, tidy
from perfkit.reporting.looks import LINES
from perfkit.results.store import cells_of, section
from perfkit.results.validity import machine_key
from perfkit.roofline import decode_work, prefill_work

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from perfkit.reporting.scene import Drawn, Scene
    from perfkit.results.store import Document

PHASES = {"prefill": "o", "decode": "s"}
_PANEL_IN = 4.4


@dataclass(frozen=True)
class Point:
    """A phase of a cell: FLOP/s of one device over FLOP a byte that it needs at least."""

    arm: str
    name: str
    phase: str
    precision: str
    flop_per_byte: float
    flop_per_s: float
    verdict: str


@dataclass(frozen=True)
class Roof:
    """What a machine was measured to do at a precision: medians over its sessions.

    FLOP/s of a GEMM, bytes/s of a copy.
    """

    machine: str
    precision: str
    gemm_flop_per_s: float | None
    copy_bytes_per_s: float | None


def points(cells: Iterable[Drawn], *, on_gpu: bool) -> list[Point]:
    """Return the phases of cells that have figures and a known architecture.

    Work is counted as for mfu and mbu: that of one device where ``on_gpu``.
    """
    made = []
    for cell in cells:
        try:
            case = Case(**section(cell.body, "case"))
        except ValidationError:
            continue
        arch = ARCHITECTURES.get(case.model)
        ttft, e2e = cell.metric("ttft_s"), cell.metric("e2e_s")
        if arch is None or ttft is None or e2e is None:
            continue
        phases = [("prefill", prefill_work(case, arch), ttft)]
        if case.new_tokens > 1:
            phases.append(("decode", decode_work(case, arch), e2e - ttft))
        devices = case.tp if on_gpu else 1
        made += [
            Point(cell.arm, case.id, phase, PRECISIONS[case.precision].products,
                  work.flops / work.bytes, work.flops / devices / seconds, cell.verdict)
            for phase, work, seconds in phases if seconds > 0
        ]  # fmt: skip
    return made


def roofs(documents: Sequence[Document]) -> list[Roof]:
    """Return the ceilings of each machine and precision, as its cells and sessions have them."""
    gemm: dict[tuple[str, str], list[float]] = {}
    copy: dict[str, list[float]] = {}
    for document in documents:
        key = machine_key(document)
        shared = section(document, "perfkit", "ceilings")
        valid = shared.get("verdict") == "ok"
        for cell in cells_of(document).values():
            named = str(section(cell, "case").get("precision"))
            precision = PRECISIONS[named].products if named in PRECISIONS else named
            mine = section(cell, "ceilings")
            flops = mine.get("gemm_flop_per_s")
            if flops is None and valid:
                flops = section(shared, "gemm_flop_per_s").get(precision)
            moved = mine.get("copy_bytes_per_s")
            if moved is None and valid:
                moved = shared.get("copy_bytes_per_s")
            gemm.setdefault((key, precision), []).extend([flops] if flops else [])
            copy.setdefault(key, []).extend([moved] if moved else [])
    return [
        Roof(key, precision, statistics.median(found) if found else None,
             statistics.median(copy[key]) if copy[key] else None)
        for (key, precision), found in gemm.items() if found or copy[key]
    ]  # fmt: skip


def figure(title: str, scene: Scene, shown: Sequence[Point], over: Sequence[Roof]) -> Figure | None:
    """Return the picture of one machine; None without points or ceilings."""
    if not shown or not over:
        return None
    made = blank(_PANEL_IN + 1.2, title)
    axes = made.subplots()
    tidy(axes, "both")
    ends = span(shown, over)
    for roof, line in zip(over, LINES * len(over), strict=False):
        _draw_roof(axes, roof, ends, line)
    for point in shown:
        axes.plot(
            point.flop_per_byte, point.flop_per_s / 1e12, PHASES[point.phase], markersize=5,
            color=scene.colours[point.arm], **_edge(point, scene.colours[point.arm]),
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlim=ends)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("FLOP a byte that the phase needs at least (log axis)", fontsize=8)
    axes.set_ylabel("TFLOP/s of one device (log axis)", fontsize=8)
    legend_below(made, _legend(scene, shown))
    return made


def _edge(point: Point, colour: str) -> dict[str, Any]:
    """Return how a marker is drawn: hollow where its verdict forbids a comparison."""
    if point.verdict != "ok":
        return {"markerfacecolor": "none", "markeredgecolor": colour, "markeredgewidth": 1.0}
    return {"markeredgecolor": "white", "markeredgewidth": 0.5}


def span(shown: Sequence[Point], over: Sequence[Roof]) -> tuple[float, float]:
    """Return the ends of the axis of FLOP a byte: all points, and where a roof bends."""
    at = [point.flop_per_byte for point in shown]
    at += [r.gemm_flop_per_s / r.copy_bytes_per_s for r in over
           if r.gemm_flop_per_s and r.copy_bytes_per_s]  # fmt: skip
    return min(at) / 2, max(at) * 2


def line_of(roof: Roof, ends: tuple[float, float]) -> list[tuple[float, float]]:
    """Return the places of a roof: FLOP a byte, FLOP/s. What was not measured is no bound."""
    gemm, copy = roof.gemm_flop_per_s, roof.copy_bytes_per_s
    if not copy:
        return [(x, gemm) for x in ends] if gemm else []
    bends = [gemm / copy] if gemm and ends[0] < gemm / copy < ends[1] else []
    return [(x, min(gemm or x * copy, x * copy)) for x in (ends[0], *bends, ends[1])]


def words_of(roof: Roof) -> str:
    """Return the measured ceilings in words."""
    gemm, copy = roof.gemm_flop_per_s, roof.copy_bytes_per_s
    parts = [
        f"GEMM {roof.precision} {gemm / 1e12:,.4g} TFLOP/s" if gemm else "",
        f"copy {copy / 1e9:,.4g} GB/s" if copy else "",
    ]
    return ", ".join(part for part in parts if part)


def _draw_roof(axes: Axes, roof: Roof, ends: tuple[float, float], line: str) -> None:
    places = [(x, rate / 1e12) for x, rate in line_of(roof, ends)]
    axes.plot(*zip(*places, strict=True), color=INK, linewidth=1.1, linestyle=line)
    axes.annotate(
        words_of(roof), places[-1], xytext=(-4, 4), textcoords="offset points", ha="right",
        fontsize=7, color=INK,
    )  # fmt: skip


def _legend(scene: Scene, shown: Sequence[Point]) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    arms = {point.arm for point in shown}
    handles: list[Any] = [
        Patch(color=colour, label=arm) for arm, colour in scene.colours.items() if arm in arms
    ]
    return (
        handles
        + [
            Line2D([], [], color=INK, linestyle="", marker=marker, label=phase)
            for phase, marker in PHASES.items()
        ]
        + [Line2D([], [], color=INK, linestyle="", marker="o", fillstyle="none", label="not ok")]
    )
