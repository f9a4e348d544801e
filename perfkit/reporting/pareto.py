"""throughput_latency_pareto: what throughput each arm gives within what time."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from perfkit.reporting.curves import (
    MARKER,
    Scale,
    by_lengths,
    chunks,
    grid,
    head_row,
    legend_of,
    marker_of,
)
from perfkit.reporting.drawing import DOUBT, FAINT, INK, canvas, legend_below, tidy
from perfkit.reporting.holes import foot
from perfkit.reporting.looks import tint
from perfkit.reporting.throughput import LOG_OVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from perfkit.reporting.scene import Drawn, Scene

_PANEL_IN, _LINE_IN = 2.4, 0.13
# What a panel is taken to measure where it is decided which labels have room, and a label's box.
_PANEL_PT = (155.0, 170.0)
_FONT_PT = 6.5
_GAP_PT, _TWIN_PT = 2.5, 10.0
Place = tuple[float, float]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class _Panel:
    title: str
    cells: tuple[Drawn, ...]

    @property
    def points(self) -> dict[int, Place]:
        """Seconds and output token/s of each cell that has both, by its position."""
        found = {at: _place(cell) for at, cell in enumerate(self.cells)}
        return {at: place for at, place in found.items() if place}

    @property
    def fronts(self) -> dict[str, list[Place]]:
        """The Pareto front of each arm, of the cells that may be compared."""
        places: dict[str, list[Place]] = {}
        for at, place in self.points.items():
            if not self.cells[at].doubtful:
                places.setdefault(self.cells[at].arm, []).append(place)
        return {arm: pareto_front(found) for arm, found in places.items()}

    @property
    def beaten(self) -> set[int]:
        """Positions of cells that another one beats, of any arm of the same machine."""
        return beaten(self.cells)

    @property
    def has_choice(self) -> bool:
        """Whether some arm has two points that may be compared."""
        arms = Counter(self.cells[at].arm for at in self.points if not self.cells[at].doubtful)
        return any(count > 1 for count in arms.values())

    @property
    def holes(self) -> list[str]:
        """Lines that count what has no point, and why."""
        missing = Counter(
            "no figure" if cell.verdict == "ok" else cell.label
            for at, cell in enumerate(self.cells)
            if at not in self.points
        )
        words = ", ".join(
            f"{count}\N{NO-BREAK SPACE}{word}" for word, count in sorted(missing.items())
        )
        return textwrap.wrap(f"no point: {words}", 44) if words else []


def pareto_front(points: Iterable[Place]) -> list[Place]:
    """Return the (latency, throughput) points that no other beats, by latency.

    A point is beaten by one that is no slower and gives no less, and is better in one of the two;
    of equal points one is kept.
    """
    front: list[Place] = []
    for latency, throughput in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or throughput > front[-1][1]:
            front.append((latency, throughput))
    return front


def beaten(cells: Sequence[Drawn]) -> set[int]:
    """Return the positions of cells that another of the same machine beats, as a front has it.

    Cells that may not be compared beat none and are not beaten.
    """
    places: dict[str, dict[int, Place]] = {}
    for at, cell in enumerate(cells):
        if not cell.doubtful and (place := _place(cell)):
            places.setdefault(cell.machine, {})[at] = place
    return {
        at for mine in places.values()
        for at, place in mine.items() if place not in pareto_front(mine.values())
    }  # fmt: skip


def throughput_latency_pareto(scene: Scene) -> Figure | None:
    """Output token/s over e2e latency, a point each cell, a panel each model and lengths.

    None where no arm has two cells that may be compared in one panel.
    """
    rows = _rows(scene)
    panels = [panel for _, row in rows for panel in row]
    cells = [cell for panel in panels for cell in panel.cells]
    if not any(panel.has_choice for panel in panels):
        return None
    alone = len(scene.cells) - len(cells)
    note = f"left out: {alone} cells with none to compare" if alone else ""
    heights = [_PANEL_IN + _LINE_IN * max(len(panel.holes) for panel in row) for _, row in rows]
    figure = canvas(scene, "Throughput against latency", 1.5 + sum(h + 0.4 for h in heights), note)
    grids = grid(figure, heights, [len(row) for _, row in rows])
    for (model, row), axes, height_in in zip(rows, grids, heights, strict=True):
        _draw_row(list(zip(axes, row, strict=True)), scene, 1 - _PANEL_IN / height_in)
        head_row(axes[0], scene, model)
    legend_below(figure, [*legend_of(scene, cells), *_marks()])
    return figure


def _rows(scene: Scene) -> list[tuple[str, list[_Panel]]]:
    rows = []
    for model, alike in by_lengths(scene):
        made = [_Panel(title, tuple(cells)) for title, cells in alike]
        rows += chunks(model, [panel for panel in made if len(panel.points) > 1])
    return rows


def _place(cell: Drawn) -> Place | None:
    seconds, rate = cell.metric("e2e_s"), cell.metric("output_tokens_per_s")
    return (seconds, rate) if seconds and rate and seconds > 0 and rate > 0 else None


def _draw_row(row: Sequence[tuple[Axes, _Panel]], scene: Scene, share: float) -> None:
    """Draw panels with the same two axes, points above ``share`` of their height."""
    places = [place for _, panel in row for place in panel.points.values()]
    across = Scale.of([x for x, _ in places], 1.0)
    up = Scale.of([y for _, y in places], LOG_OVER)
    for column, (axes, panel) in enumerate(row):
        tidy(axes, "both")
        axes.set(xscale=across.name, yscale=up.name)
        axes.set(xlim=across.ends, ylim=(up.below(share), up.ends[1]))
        axes.set_xticks(*across.ticks)
        axes.set_yticks(*up.ticks)
        axes.minorticks_off()
        axes.tick_params(axis="y", labelleft=column == 0)
        axes.set_xlabel(f"e2e latency (s){across.words}", fontsize=8)
        if column == 0:
            axes.set_ylabel(f"output token/s{up.words}", fontsize=8)
        axes.set_title(panel.title, fontsize=9, loc="left", color=INK)
        _draw_arms(axes, panel, scene)
        _label(axes, panel, (across, up), scene)
        _say_holes(axes, panel, share)


def _draw_arms(axes: Axes, panel: _Panel, scene: Scene) -> None:
    for arm, front in panel.fronts.items():
        axes.plot(
            *zip(*front, strict=True), color=scene.colours[arm], linestyle=scene.looks[arm].line,
            linewidth=1.2,
        )  # fmt: skip
    beaten_here = panel.beaten
    for at, place in panel.points.items():
        cell = panel.cells[at]
        look = scene.looks[cell.arm]
        face = "white" if cell.doubtful else DOUBT if at in beaten_here else look.colour
        axes.plot(*place, **marker_of(look, face))


def _label(axes: Axes, panel: _Panel, scales: tuple[Scale, Scale], scene: Scene) -> None:
    """Write batches beside their markers, from the arm that gives most, where there is room."""

    def point(place: Place) -> Place:
        shares = (scale.share(value) for scale, value in zip(scales, place, strict=True))
        return tuple(s * size for s, size in zip(shares, _PANEL_PT, strict=True))  # type: ignore[return-value]

    taken = [point(place) for place in panel.points.values()]
    for front in panel.fronts.values():
        taken += places_along([point(place) for place in front])
    best = {arm: front[-1][1] for arm, front in panel.fronts.items()}
    order = sorted(
        (at for at in panel.points if panel.cells[at].arm in best),
        key=lambda at: (-best[panel.cells[at].arm], panel.cells[at].shape),
    )
    words = {at: (point(panel.points[at]), str(panel.cells[at].shape[0])) for at in order}
    for at, align in with_room(words, taken).items():
        axes.annotate(
            words[at][1], panel.points[at], xytext=_offset(align), ha=align,
            textcoords="offset points", fontsize=_FONT_PT,
            color=tint(scene.colours[panel.cells[at].arm], -0.25),
        )  # fmt: skip


def places_along(line: Sequence[Place], step: float = 3.0) -> list[Place]:
    """Return places on a line, ``step`` apart."""
    found = []
    for (x0, y0), (x1, y1) in pairwise(line):
        count = max(1, math.ceil(math.dist((x0, y0), (x1, y1)) / step))
        found += [
            (x0 + (x1 - x0) * i / count, y0 + (y1 - y0) * i / count) for i in range(count + 1)
        ]
    return found


def with_room(words: Mapping[int, tuple[Place, str]], taken: Iterable[Place]) -> dict[int, str]:
    """Return where words have room beside their places: "right" ends left of it, "center" above it.

    A word that would touch a place taken or an earlier word is left out, and so is one that says
    what an earlier one says close by. Units are points.
    """
    boxes: list[Box] = []
    places = list(taken)
    kept: dict[int, str] = {}
    for key, (place, word) in words.items():
        twins = (words[other][0] for other in kept if words[other][1] == word)
        if any(math.dist(place, twin) < _TWIN_PT for twin in twins):
            continue
        others = [(*other, *other) for other in places if other != place]
        for align in ("right", "center"):
            box = _box(place, word, align)
            if not any(_touches(box, other, _GAP_PT) for other in [*others, *boxes]):
                boxes.append(box)
                kept[key] = align
                break
    return kept


def _offset(align: str) -> Place:
    return (-_GAP_PT, _GAP_PT - 1) if align == "right" else (0.0, _GAP_PT + 1)


def _box(place: Place, word: str, align: str) -> Box:
    """Return left, bottom, right and top of a word."""
    width = 0.62 * _FONT_PT * len(word)
    away, up = _offset(align)
    right = place[0] + away + (width / 2 if align == "center" else 0.0)
    return right - width, place[1] + up, right, place[1] + up + 0.8 * _FONT_PT


def _touches(one: Box, two: Box, gap: float) -> bool:
    across = one[0] - gap < two[2] and two[0] < one[2] + gap
    return across and one[1] - gap < two[3] and two[1] < one[3] + gap


def _say_holes(axes: Axes, panel: _Panel, share: float) -> None:
    """Count at the foot of the panel what has no point."""
    if share:
        foot(axes, share)
    axes.text(
        0.985, share / 2, "\n".join(panel.holes), transform=axes.transAxes, ha="right",
        va="center", fontsize=_FONT_PT - 0.5, color=FAINT,
    )  # fmt: skip


def _marks() -> list[Any]:
    from matplotlib.lines import Line2D

    kept = {key: value for key, value in MARKER.items() if key != "zorder"}
    return [
        Line2D([], [], color=INK, linestyle="", marker="$8$", markersize=6, mew=0, label="batch"),
        Line2D([], [], color=INK, linewidth=1.2, label="Pareto front of an arm"),
        Line2D([], [], color=INK, linestyle="", mfc=DOUBT, label="beaten by another", **kept),
    ]
