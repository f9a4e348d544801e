"""The mark on tables and pictures of what nobody measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from perfkit.reporting.drawing import INK, TITLE_LINE_IN
from perfkit.results.store import synthetic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matplotlib.figure import Figure

WORD = "SYNTHETIC"
MARK_STYLE = "bold red"
_COLOUR, _ALPHA = "#B00020", 0.2
# Of the longest that fits, so that no letter touches an edge.
_FILL = 0.94


def mark_of(documents: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the words of the mark where any of the documents is synthetic, else None."""
    makers = dict.fromkeys(maker for one in documents if (maker := synthetic(one)) is not None)
    if not makers:
        return None
    return f"{WORD}: holds figures that nobody measured, made by {', '.join(makers)}"


def stamp(figure: Figure, documents: Iterable[Mapping[str, Any]]) -> None:
    """Write the mark across a picture and above its title, where any document is synthetic."""
    mark = mark_of(documents)
    if mark is None:
        return
    figure.suptitle(f"{mark}\n{figure.get_suptitle()}", fontsize=12, color=INK)
    width, height = figure.get_size_inches()
    height += TITLE_LINE_IN
    figure.set_figheight(height)
    angle, size = _diagonal(width, height)
    figure.text(
        0.5, 0.5, WORD, rotation=math.degrees(angle), rotation_mode="anchor", fontsize=size,
        fontweight="bold", color=_COLOUR, alpha=_ALPHA, ha="center", va="center_baseline",
        zorder=1000,
    ).set_in_layout(False)  # fmt: skip


def _diagonal(width: float, height: float) -> tuple[float, float]:
    """Return the angle (radians) and font size (points) that fill a page of these inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    box = TextPath((0, 0), WORD, size=1, prop=FontProperties(weight="bold")).get_extents()
    angle = math.atan2(height, width)
    along, across = math.cos(angle), math.sin(angle)
    wide = box.width * along + box.height * across
    high = box.width * across + box.height * along
    return angle, 72 * _FILL * min(width / wide, height / high)
