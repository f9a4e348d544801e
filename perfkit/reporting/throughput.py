"""tokens_per_sec: output throughput of every cell, with what its machine would allow."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from perfkit.reporting.curves import around
from perfkit.reporting.drawing import (
    INK,
    bar,
    beside,
    canvas,
    doubt_swatch,
    empty_slot,
    legend_below,
    name_panel,
    new_tokens,
    rows_of_axes,
    shape_words,
    spread,
    swatches,
    tidy,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from perfkit.reporting.scene import Drawn, Scene

# Above this ratio of largest to smallest a linear axis hides the small ones.
LOG_OVER = 30.0
# More bars than this make a scroll of the picture; throughput_vs_batch shows all of a sweep.
MOST_BARS = 64


def throughput(scene: Scene, what: str = "Output throughput") -> Figure:
    """Bars of output_tokens_per_s, one panel a model, one group a shape, one bar an arm."""
    bars = {model: _even(scene.of(model), MOST_BARS // len(scene.models)) for model in scene.models}
    panels = {model: _slots(cells) for model, cells in bars.items()}
    heights = [max(at for at, _ in slots) + 1.5 for slots in panels.values()]
    shown = [cell for cells in bars.values() for cell in cells]
    with_new, note = new_tokens(shown)
    if len(shown) < len(scene.cells):
        cut = f"{len(shown)} of {len(scene.cells)} cells: shapes spread over the range"
        note = "  |  ".join(part for part in (note, cut) if part)
    figure = canvas(scene, what, 1.9 + sum(0.19 * h + 0.5 for h in heights), note)
    if not panels:
        return figure
    for (model, slots), axes in zip(
        panels.items(), rows_of_axes(figure, heights)[:, 0], strict=True
    ):
        _throughput_panel(axes, scene, slots, with_new=with_new)
        name_panel(axes, model)
    legend_below(figure, [*swatches(scene, shown), *_ceiling_swatch(shown), *doubt_swatch(shown)])
    return figure


def _even(cells: Sequence[Drawn], most: int) -> list[Drawn]:
    """Keep whole shapes, about ``most`` cells of them, spread evenly from first to last."""
    groups = [list(group) for _, group in groupby(cells, key=lambda cell: cell.shape)]
    kept = max(2, round(most * len(groups) / max(len(cells), 1)))
    return [cell for group in spread(groups, kept) for cell in group]


def _ceiling_swatch(cells: Iterable[Drawn]) -> list[Any]:
    from matplotlib.lines import Line2D

    if not any(cell.at_ceilings for cell in cells):
        return []
    label = "at the ceilings measured beside it (GEMM, copy)"
    return [Line2D([], [], color=INK, linestyle="", marker="|", markersize=9, label=label)]


def _slots(cells: Iterable[Drawn]) -> list[tuple[float, Drawn]]:
    """Place each cell on the axis, one unit a bar, with a gap between shapes."""
    placed: list[tuple[float, Drawn]] = []
    at = 0.0
    for _, group in groupby(cells, key=lambda cell: cell.shape):
        for cell in group:
            placed.append((at, cell))
            at += 1.0
        at += 0.8
    return placed


def rate_range(cell: Drawn) -> tuple[float, float, float] | None:
    """Return output token/s of the slowest round, the cell and the fastest round."""
    tokens = cell.shape[0] * cell.shape[2]
    rounds = (tokens / e2e for e2e in cell.samples("e2e_s") if e2e > 0)
    return around(cell.metric("output_tokens_per_s"), rounds)


def _throughput_panel(
    axes: Axes, scene: Scene, slots: list[tuple[float, Drawn]], *, with_new: bool
) -> None:
    tidy(axes, "x")
    rates = {at: rate_range(cell) for at, cell in slots}
    room = 1.2 if any(cell.doubtful for _, cell in slots) else 1.1
    ceilings = {at: cell.at_ceilings for at, cell in slots}
    log = _scale_bars(
        axes,
        [rate for rate in rates.values() if rate],
        [ceiling for ceiling in ceilings.values() if ceiling],
        room,
    )
    for at, cell in slots:
        rate, colour = rates[at], scene.colours[cell.arm]
        if rate is None:
            empty_slot(axes, at, "no figure" if cell.verdict == "ok" else cell.label, colour)
            continue
        low, value, high = rate
        bar(axes, (at, 0.86), value, cell, colour)
        axes.errorbar(
            value, at, xerr=[[value - low], [high - value]], color=INK, capsize=2, linewidth=0.8
        )
        if (ceiling := ceilings[at]) is not None:
            axes.plot([ceiling], [at], "|", color=INK, markersize=9, markeredgewidth=1.4)
        words = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        beside(axes, high, at, f"{words}  {cell.label}" if cell.doubtful else words)
    groups = [list(group) for _, group in groupby(slots, key=lambda slot: slot[1].shape)]
    axes.set_yticks(
        [(group[0][0] + group[-1][0]) / 2 for group in groups],
        [shape_words(group[0][1].shape, with_new=with_new) for group in groups],
    )
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(slots[-1][0] + 0.75, -0.75)
    axes.set_xlabel(
        f"output throughput (token/s{', log axis' if log else ''});"
        " whiskers: slowest and fastest round", fontsize=8,
    )  # fmt: skip


def _scale_bars(
    axes: Axes,
    rates: Sequence[tuple[float, float, float]],
    ceilings: Sequence[float],
    room: float,
) -> bool:
    """Set the value axis: bars with ``room`` for words, and ceilings; return whether it is log."""
    from matplotlib.ticker import LogLocator

    values = [value for _, value, _ in rates if value > 0]
    if not values:
        axes.set_xticks([])
        return False
    longest = max(high for _, _, high in rates)
    top = max([longest, *ceilings])
    if top / min(values) <= LOG_OVER:
        axes.set_xlim(0, max(longest * room, top * 1.05))
        axes.xaxis.set_major_formatter("{x:,g}")
        return False
    axes.set_xscale("log")
    least = min(values) / 2
    axes.set_xlim(least, max(least * (longest / least) ** room, top * 1.2))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,g}")
    return True
