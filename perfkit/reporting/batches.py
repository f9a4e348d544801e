"""throughput_vs_batch: what a larger batch brings, and where an arm ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.reporting.curves import (
    PANEL_IN,
    Panel,
    Spot,
    by_lengths,
    chunks,
    draw_row,
    grid,
    head_row,
    legend_of,
    makes_a_line,
    marks_of,
)
from perfkit.reporting.drawing import canvas, legend_below
from perfkit.reporting.holes import strip_in
from perfkit.reporting.throughput import LOG_OVER, rate_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from perfkit.reporting.scene import Drawn, Scene

_AXES = ("batch (sequences)", "output token/s")


def throughput_vs_batch(scene: Scene) -> Figure | None:
    """Lines of output_tokens_per_s over batch, a panel each model, prompt length and new tokens.

    None where no arm has figures at two batch sizes of one panel.
    """
    rows = _rows(scene)
    panels = [panel for _, row in rows for panel in row]
    if not panels:
        return None
    cells = [spot.cell for panel in panels for spot in panel.spots]
    alone = len(scene.cells) - len(cells)
    note = f"left out: {alone} cells where no arm makes a line" if alone else ""
    heights = [PANEL_IN + strip_in(row, scene) for _, row in rows]
    figure = canvas(
        scene, "Output throughput over batch", 1.5 + sum(h + 0.35 for h in heights), note
    )
    grids = grid(figure, heights, [len(row) for _, row in rows])
    for (model, row), axes in zip(rows, grids, strict=True):
        draw_row(list(zip(axes, row, strict=True)), scene, _AXES, LOG_OVER)
        head_row(axes[0], scene, model)
    legend_below(figure, [*legend_of(scene, cells), *marks_of(panels)])
    return figure


def _rows(scene: Scene) -> list[tuple[str, list[Panel]]]:
    """Return rows of panels: a model's new tokens under each other, its prompts side by side."""
    rows = []
    for model, alike in by_lengths(scene):
        made = [_panel(title, cells) for title, cells in alike]
        rows += chunks(model, [panel for panel in made if makes_a_line(panel.spots)])
    return rows


def _panel(title: str, cells: Sequence[Drawn]) -> Panel:
    spots = tuple(Spot(c.shape[0], c, rate_range(c)) for c in cells if c.shape[0] > 0)
    ceilings: dict[float, float] = {}
    for spot in spots:
        if (rate := spot.cell.at_ceilings) is not None:
            ceilings[spot.x] = max(rate, ceilings.get(spot.x, 0.0))
    return Panel(title, spots, tuple(sorted(ceilings.items())))
