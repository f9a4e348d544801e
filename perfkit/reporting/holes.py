"""Cells without figures under the lines of a panel: a cross for each, and the word for why."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit.reporting.drawing import FAINT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

    from perfkit.reporting.curves import Panel
    from perfkit.reporting.scene import Scene

CROSS: dict[str, Any] = {"marker": "x", "linestyle": "", "markersize": 3.2, "markeredgewidth": 1.0}
# Crosses beside each other, and what is between their middles.
_ABREAST, _CROSS_PT = 4, 4.0
_ROW_IN, _EDGE_IN = 0.11, 0.025
_FONT_PT = 6.0
_COLOUR = "#F5F5F5"


@dataclass(frozen=True)
class HoleRow:
    """A line of the strip: these arms have no figures at these places, for one reason."""

    word: str
    places: tuple[float, ...]
    arms: tuple[str, ...]

    def side(self, places: Sequence[float]) -> int:
        """Return where of all ``places`` the word has more room: -1 before, 1 behind."""
        return -1 if self.places[0] / places[0] >= places[-1] / self.places[-1] else 1

    @property
    def half_pt(self) -> float:
        """Points from the middle of the crosses beside each other to the outer one's."""
        return _CROSS_PT * (len(self.arms) - 1) / 2

    @property
    def need_pt(self) -> float:
        """Points from a place to the end of the word beside its crosses."""
        return self.half_pt + 6 + 0.6 * _FONT_PT * len(self.word)


def hole_rows(panel: Panel, scene: Scene) -> list[HoleRow]:
    """Return the rows of a panel's strip: arms that end alike share one, the longest is last.

    No more than _ABREAST arms share a row: their crosses stand beside each other.
    """
    places: dict[tuple[str, str], list[float]] = {}
    for spot in sorted(panel.spots, key=lambda spot: spot.x):
        if spot.span is None:
            places.setdefault(spot.hole, []).append(spot.x)
    alike: dict[tuple[str, tuple[float, ...]], list[str]] = {}
    order = list(scene.colours)
    for arm, word in sorted(places, key=lambda hole: (order.index(hole[0]), hole[1])):
        alike.setdefault((word, tuple(places[arm, word])), []).append(arm)
    rows = [
        HoleRow(word, found, tuple(arms[at : at + _ABREAST]))
        for (word, found), arms in alike.items()
        for at in range(0, len(arms), _ABREAST)
    ]
    return sorted(rows, key=lambda row: (len(row.places), row.word))


def strip_in(panels: Iterable[Panel], scene: Scene) -> float:
    """Return the height in inches that the strips of panels beside each other take."""
    most = max(len(hole_rows(panel, scene)) for panel in panels)
    return most * _ROW_IN + 2 * _EDGE_IN if most else 0.0


def margins(
    rows: Iterable[HoleRow], places: Sequence[float], width_pt: float, least: float
) -> tuple[float, float]:
    """Return octaves to leave before and behind ``places`` so that each word stays in its panel.

    ``width_pt`` is the panel's width in points. With m octaves before, a octaves of places before
    the row's first, and s octaves in all: (m + a) / (s + m) of the width must hold the word.
    """
    found = {-1: least, 1: least}
    octaves = math.log2(places[-1] / places[0]) + least
    for row in rows:
        side = row.side(places)
        ratio = row.places[0] / places[0] if side < 0 else places[-1] / row.places[-1]
        lack = row.need_pt * octaves - math.log2(ratio) * width_pt
        found[side] = max(found[side], lack / (width_pt - row.need_pt))
    return found[-1], found[1]


def aside(axes: Axes, points: float) -> Any:
    """Return a transform to add to another: so many points to the right."""
    from matplotlib.transforms import ScaledTranslation

    scale = axes.get_figure(root=True).dpi_scale_trans  # type: ignore[union-attr]
    return ScaledTranslation(points / 72, 0, scale)


def foot(axes: Axes, share: float) -> None:
    """Shade the lowest ``share`` of a panel, where no value is drawn."""
    from matplotlib.patches import Rectangle

    box = Rectangle((0, 0), 1, share, transform=axes.transAxes, color=_COLOUR, zorder=1.5)
    axes.add_patch(box)


def draw_strip(
    axes: Axes, panel: Panel, scene: Scene, places: Sequence[float], strip: tuple[float, float]
) -> None:
    """Draw the strip at the foot of a panel: its height in inches, and as a share of the panel."""
    height_in, share = strip
    foot(axes, share)
    where = axes.get_xaxis_transform()
    for at, row in enumerate(reversed(hole_rows(panel, scene))):
        y = share * (_EDGE_IN + _ROW_IN * (at + 0.5)) / height_in
        for i, arm in enumerate(row.arms):
            axes.plot(
                row.places, [y] * len(row.places), color=scene.colours[arm], **CROSS,
                transform=where + aside(axes, i * _CROSS_PT - row.half_pt),
            )  # fmt: skip
        side = row.side(places)
        axes.annotate(
            row.word, (row.places[0] if side < 0 else row.places[-1], y), xycoords=where,
            xytext=((row.half_pt + 4) * side, 0), textcoords="offset points", fontsize=_FONT_PT,
            ha="right" if side < 0 else "left", va="center_baseline", color=FAINT,
        )  # fmt: skip
