"""latency_vs_prompt: what a longer prompt costs before the first token, and after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.reporting.curves import (
    COLUMNS,
    PANEL_IN,
    Panel,
    Spot,
    around,
    draw_row,
    grid,
    grouped,
    head_row,
    legend_of,
    makes_a_line,
    marks_of,
)
from perfkit.reporting.drawing import canvas, legend_below, spread
from perfkit.reporting.holes import strip_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from perfkit.reporting.scene import Drawn, Scene

_ROWS = {"ttft_s": "TTFT (ms)", "tpot_s": "TPOT (ms)"}


@dataclass(frozen=True)
class _Chosen:
    """A model's panels, cells by batch, at one count of new tokens; and words for the rest."""

    model: str
    new: int
    panels: dict[int, list[Drawn]]
    left_out: str


def latency_vs_prompt(scene: Scene) -> Figure | None:
    """Lines of TTFT over prompt length, TPOT under it, a column each batch, rows each model.

    A model is drawn at the new tokens that most cells have, in up to COLUMNS batches spread over
    its range; the title says what is left out. None where no arm has figures at two prompt lengths.
    """
    chosen = [found for model in scene.models if (found := _choose(scene, model))]
    rows = [row for one in chosen for row in _rows(one)]
    if not rows:
        return None
    panels = [panel for _, _, row in rows for panel in row]
    cells = [cell for one in chosen for mine in one.panels.values() for cell in mine]
    heights = [PANEL_IN + strip_in(row, scene) for _, _, row in rows]
    height = 1.5 + sum(h + 0.55 for h in heights)
    figure = canvas(scene, "Latency over prompt length", height, _note(chosen, scene.models))
    grids = grid(figure, heights, [len(row) for _, _, row in rows])
    for (model, words, row), axes in zip(rows, grids, strict=True):
        draw_row(list(zip(axes, row, strict=True)), scene, ("prompt (tokens)", words), 1.0)
        head_row(axes[0], scene, model)
    legend_below(figure, [*legend_of(scene, cells), *marks_of(panels)])
    return figure


def _note(chosen: Sequence[_Chosen], models: Sequence[str]) -> str:
    """Return what is drawn of the models, and what is not."""
    words = {one.model: f"{one.new} new tokens{one.left_out}" for one in chosen}
    alike = len(set(words.values())) == 1
    said = [*words.values()][:1] if alike else [f"{m}: {text}" for m, text in words.items()]
    said += [f"left out: {model}" for model in models if model not in words]
    return "; ".join(said)


def _choose(scene: Scene, model: str) -> _Chosen | None:
    """Choose new tokens and batches of a model; None where nothing makes a line."""
    mine = scene.of(model)
    by_new = {new: _batches(cells) for new, cells in grouped(mine, 2)}
    drawable = {new: batches for new, batches in by_new.items() if batches}
    if not drawable:
        return None

    def cells_with_figures(new: int) -> int:
        return sum(cell.has_figures for cells in drawable[new].values() for cell in cells)

    new = max(drawable, key=lambda n: (cells_with_figures(n), n))
    kept = spread(list(drawable[new]), COLUMNS)
    batches = sorted({cell.shape[0] for cell in mine} - set(kept))
    others = sorted(set(by_new) - {new})
    words = [
        f"{what} {', '.join(map(str, values))}"
        for what, values in (("batch", batches), ("new", others))
        if values
    ]
    left_out = f" (left out: {'; '.join(words)})" if words else ""
    return _Chosen(model, new, {batch: drawable[new][batch] for batch in kept}, left_out)


def _batches(cells: Sequence[Drawn]) -> dict[int, list[Drawn]]:
    """Return cells by batch where there are two prompt lengths; empty where no arm has a line."""
    found = {
        batch: alike
        for batch, alike in grouped(cells, 0)
        if len({cell.shape[1] for cell in alike if cell.shape[1] > 0}) > 1
    }
    lines = (makes_a_line(_spots(alike, "ttft_s")) for alike in found.values())
    return found if any(lines) else {}


def _rows(chosen: _Chosen) -> list[tuple[str, str, list[Panel]]]:
    """Return a row of TTFT and one of TPOT, the latter where any cell has it."""
    rows = []
    for name, words in _ROWS.items():
        row = [
            Panel(f"batch {batch}", _spots(cells, name)) for batch, cells in chosen.panels.items()
        ]
        if any(spot.span for panel in row for spot in panel.spots):
            rows.append((chosen.model, words, row))
    return rows


def _spots(cells: Sequence[Drawn], name: str) -> tuple[Spot, ...]:
    return tuple(Spot(c.shape[1], c, _span_ms(c, name)) for c in cells if c.shape[1] > 0)


def _span_ms(cell: Drawn, name: str) -> tuple[float, float, float] | None:
    """Return ms of the fastest round, the cell and the slowest round."""
    value = cell.metric(name)
    rounds = cell.samples("ttft_s")
    if name == "tpot_s":
        after = max(cell.shape[2] - 1, 1)
        both = zip(cell.samples("e2e_s"), rounds, strict=False)
        rounds = [(e2e - ttft) / after for e2e, ttft in both]
    return around(None if value is None else value * 1e3, [x * 1e3 for x in rounds])
