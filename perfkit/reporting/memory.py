"""memory: the forecast of every cell beside what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    swatches,
    tidy,
)
from perfkit.reporting.tables import GIB, gib, peak
from perfkit.results.store import section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from perfkit.reporting.scene import Drawn, Scene

FORECAST = (
    ("weights", "weights_bytes", "#7A7A7A"),
    ("KV cache", "kv_bytes", "#ABABAB"),
    ("activations", "activation_bytes", "#D6D6D6"),
)
MEMORY_CELLS = 24


def memory(scene: Scene) -> Figure:
    """Forecast stacked beside the measured peak, two bars a cell, one panel a model."""
    panels = _largest(scene)
    cells = [cell for mine in panels.values() for cell in mine]
    heights = [len(mine) + 1.0 for mine in panels.values()]
    cut = len(cells) < len(scene.cells)
    note = f"the {len(cells)} largest of {len(scene.cells)} cells" if cut else ""
    with_new, new = new_tokens(cells)
    note = "  |  ".join(part for part in (new, note) if part)
    figure = canvas(scene, "Memory", 2.0 + sum(0.34 * h + 0.4 for h in heights), note)
    if not panels:
        return figure
    legend = _key(cells)
    for (model, mine), axes in zip(
        panels.items(), rows_of_axes(figure, heights)[:, 0], strict=True
    ):
        _memory_panel(axes, scene, mine, with_new=with_new)
        name_panel(axes, model)
        axes.set_xlabel(f"memory (GiB); measured: {legend}", fontsize=8)
    legend_below(figure, _memory_legend(scene, cells))
    return figure


def _key(cells: Sequence[Drawn]) -> str:
    """Return which measurements the bars are."""
    parts = [_measured(cell) for cell in cells]
    inner = sorted({part[0][0] for part in parts if part})
    outer = sorted({part[1][0] for part in parts if part and part[1] != part[0]})
    words = [f"{name} (filled)" for name in inner] + [f"{name} (outlined)" for name in outer]
    return ", ".join(words if outer else inner) or "none"


def _measured(cell: Drawn) -> tuple[tuple[str, float], tuple[str, float]] | None:
    """Return name and bytes of what torch had allocated, and of the best peak recorded.

    Both are the latter where torch counted nothing, as on a CPU.
    """
    outer = peak(cell.body) if cell.has_figures else None
    if outer is None:
        return None
    allocated = cell.metric("peak_allocated_bytes")
    if allocated is None or allocated >= outer[1]:
        return outer, outer
    return ("peak_allocated_bytes", allocated), outer


def largest_of(scene: Scene) -> list[Drawn]:
    """Return the cells that are drawn: the largest, with some of each model."""
    return [cell for mine in _largest(scene).values() for cell in mine]


def _largest(scene: Scene) -> dict[str, list[Drawn]]:
    """Share MEMORY_CELLS slots among the models; of each keep the largest, in their own order."""
    left, kept = MEMORY_CELLS, {}
    waiting = sorted(scene.models, key=lambda model: len(scene.of(model)))
    for i, model in enumerate(waiting):
        mine = scene.of(model)
        quota = max(1, left // (len(waiting) - i))
        chosen = sorted(range(len(mine)), key=lambda k: -_size(mine[k]))[:quota]
        kept[model] = [mine[k] for k in sorted(chosen)]
        left -= len(kept[model])
    return {model: kept[model] for model in scene.models}


def _size(cell: Drawn) -> float:
    """Return the larger of forecast and measured peak, in bytes."""
    measured = peak(cell.body) if cell.has_figures else None
    forecast = section(cell.body, "memory", "forecast").get("total_bytes") or 0
    return max(measured[1] if measured else 0, forecast)


def _memory_panel(axes: Axes, scene: Scene, cells: Sequence[Drawn], *, with_new: bool) -> None:
    tidy(axes, "x")
    for at, cell in enumerate(cells):
        _forecast_bar(axes, at - 0.21, cell)
        colour = scene.colours[cell.arm]
        measured = _measured(cell)
        if measured is None:
            words = "no figure" if cell.verdict == "ok" else cell.label
            empty_slot(axes, at + 0.21, words, colour)
            continue
        inner, outer = (size / GIB for _, size in measured)
        bar(axes, (at + 0.21, 0.38), inner, cell, colour)
        words = gib(inner)
        if outer > inner:
            axes.barh(
                at + 0.21, outer - inner, 0.34, left=inner, facecolor="none", edgecolor=colour,
                linewidth=0.8,
            )  # fmt: skip
            words = f"{gib(inner)}, device {gib(outer)}"
        beside(axes, outer, at + 0.21, f"{words}  {cell.label}" if cell.doubtful else words)
    axes.set_yticks(
        range(len(cells)),
        [f"{c.arm},  {shape_words(c.shape, with_new=with_new)}" for c in cells],
    )
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(cells) - 0.4, -0.6)
    room = 1.22 if any(cell.doubtful for cell in cells) else 1.1
    axes.set_xlim(0, max(max(_size(cell) for cell in cells) / GIB, 1e-3) * room)


def _forecast_bar(axes: Axes, y: float, cell: Drawn) -> None:
    forecast = section(cell.body, "memory", "forecast")
    if not forecast:
        empty_slot(axes, y, "no forecast", INK)
        return
    start = 0.0
    for _, key, colour in FORECAST:
        size = (forecast.get(key) or 0) / GIB
        axes.barh(y, size, 0.38, left=start, color=colour)
        start += size
    total = forecast.get("total_bytes")
    beside(axes, start, y, gib(start if total is None else total / GIB))


def _memory_legend(scene: Scene, cells: Sequence[Drawn]) -> list[Any]:
    from matplotlib.patches import Patch

    stack = [Patch(color=colour, label=f"forecast: {name}") for name, _, colour in FORECAST]
    return [*stack, *swatches(scene, cells, "measured: "), *doubt_swatch(cells)]
