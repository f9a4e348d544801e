"""What all pictures share: canvas, bars, words beside them, legends."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from perfkit.reporting.scene import Drawn, Scene

DOUBT = "#D0D0D0"
INK = "#333333"
FAINT = "#666666"
WIDTH_IN = 11.0
T = TypeVar("T")
TITLE_LINE_IN = 0.22
_TITLE_CHARS = 110
_TITLE_LINES = 2  # that heights allow for


def blank(height_in: float, title: str) -> Figure:
    """Return an empty figure with this title, as wide as all are."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12, color=INK)
    return figure


def canvas(scene: Scene, what: str, height_in: float, note: str = "") -> Figure:
    """Return an empty figure whose title says what, models, machine, precision and date."""
    about = "  |  ".join(part for part in (scene.about, note) if part)
    head = f"{what}: {', '.join(scene.models) or 'no cells'}"
    lines = [part for line in (head, *about.splitlines()) for part in wrap(line, _TITLE_CHARS)]
    more = TITLE_LINE_IN * max(0, len(lines) - _TITLE_LINES)
    return blank(height_in + more, "\n".join(lines))


def tidy(axes: Axes, grid: str) -> None:
    """Leave two spines and a light grid along ``grid`` ("x", "y" or "both")."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis=grid, color="#E4E4E4", linewidth=0.7)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)


def rows_of_axes(figure: Figure, heights: Sequence[float], columns: int = 1) -> Any:
    """Return an array of axes, a row a height, heights in proportion."""
    return figure.subplots(
        len(heights), columns, squeeze=False, gridspec_kw={"height_ratios": list(heights)}
    )


def name_panel(axes: Axes, model: str) -> None:
    """Write the model above a panel, and what its labels count."""
    axes.set_title(model, fontsize=10, loc="left", color=INK)
    units = "batch in sequences, prompt and new in tokens"
    axes.set_title(units, fontsize=7, loc="right", color=FAINT)


def swatches(scene: Scene, cells: Iterable[Drawn], prefix: str = "") -> list[Any]:
    """Return legend entries for the arms of these cells."""
    from matplotlib.patches import Patch

    arms = {cell.arm for cell in cells}
    return [
        Patch(color=colour, label=prefix + arm)
        for arm, colour in scene.colours.items()
        if arm in arms
    ]


def doubt_swatch(cells: Iterable[Drawn]) -> list[Any]:
    """Return the legend entry for doubtful cells, if there are any."""
    from matplotlib.patches import Patch

    if not any(cell.doubtful for cell in cells):
        return []
    label = "not comparable: verdict beside the bar"
    return [Patch(facecolor=DOUBT, edgecolor=INK, hatch="////", label=label)]


def legend_below(figure: Figure, handles: list[Any]) -> None:
    """Put the legend under the panels, in as many columns as fit."""
    if handles:
        lines = (line for handle in handles for line in handle.get_label().split("\n"))
        longest = max(len(line) for line in lines)
        columns = max(1, min(len(handles), int(150 / (longest + 8))))
        figure.legend(
            handles=handles, loc="outside lower center", ncols=columns, fontsize=8, frameon=False
        )


def bar(axes: Axes, place: tuple[float, float], value: float, cell: Drawn, colour: str) -> None:
    """Draw a value at ``place`` (middle, thickness): in its arm's colour, hatched when doubtful."""
    y, height = place
    if cell.doubtful:
        axes.barh(y, value, height, color=DOUBT, edgecolor=colour, hatch="////", linewidth=0.8)
    else:
        axes.barh(y, value, height, color=colour)


def beside(axes: Axes, x: float, y: float, text: str) -> None:
    """Write ``text`` to the right of a bar that ends at ``x``."""
    axes.annotate(
        text, (x, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7,
        color=INK,
    )  # fmt: skip


def empty_slot(axes: Axes, y: float, text: str, colour: str) -> None:
    """Say at the axis why no bar is here; the cross has the colour of the arm that is missing."""
    place = axes.get_yaxis_transform()
    axes.plot([0.006], [y], "x", color=colour, transform=place, markersize=4.5, clip_on=False)
    axes.annotate(
        text, (0.006, y), xycoords=place, xytext=(7, 0), textcoords="offset points",
        va="center", fontsize=7, color=FAINT, style="italic",
    )  # fmt: skip


def shape_words(shape: tuple[int, int, int], *, with_new: bool) -> str:
    """Return a shape as people read it; new tokens only where they differ."""
    words = f"batch {shape[0]}, prompt {shape[1]}"
    return f"{words}, new {shape[2]}" if with_new else words


def new_tokens(cells: Iterable[Drawn]) -> tuple[bool, str]:
    """Return whether labels must tell new tokens, and the title's note where they need not."""
    counts = {cell.shape[2] for cell in cells}
    return len(counts) > 1, f"{counts.pop()} new tokens" if len(counts) == 1 else ""


def spread(values: Sequence[T], most: int) -> list[T]:
    """Return up to ``most`` (2 at least) values: first, last, and evenly by position between."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]
