"""What the pictures of many panels share: their grid, a line an arm, and cells without figures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from perfkit.reporting.drawing import INK, WIDTH_IN, tidy
from perfkit.reporting.holes import CROSS, aside, draw_strip, hole_rows, margins, strip_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from perfkit.reporting.looks import Look
    from perfkit.reporting.scene import Drawn, Scene

# Panels beside each other; at drawing.WIDTH_IN seven powers of two have room for their numbers.
COLUMNS = 4
PANEL_IN = 2.0
# A panel's width where there are COLUMNS of them, less what is beside it.
_PANEL_PT = (WIDTH_IN - 0.7) * 72 / COLUMNS - 18
MARKER: dict[str, Any] = {"marker": "o", "markersize": 3.9, "markeredgewidth": 0.9, "zorder": 3}
CEILING: dict[str, Any] = {"color": "#8A8A8A", "linestyle": (0, (1, 1.6)), "linewidth": 1.2}

T = TypeVar("T")


@dataclass(frozen=True)
class Spot:
    """One cell at ``x``: the value between its least and its most of a round, None for no figure.

    Units are the panel's.
    """

    x: float
    cell: Drawn
    span: tuple[float, float, float] | None

    @property
    def hole(self) -> tuple[str, str]:
        """Return the arm that is missing here, and the word for why."""
        return self.cell.arm, "no figure" if self.cell.verdict == "ok" else self.cell.label


@dataclass(frozen=True)
class Panel:
    """A title, the spots under it, and the (x, value) points of a line at the ceilings."""

    title: str
    spots: tuple[Spot, ...]
    ceiling: tuple[tuple[float, float], ...] = ()

    @property
    def values(self) -> list[float]:
        """Every value that the panel's axis must show."""
        drawn = [value for spot in self.spots if spot.span for value in spot.span]
        return drawn + [value for _, value in self.ceiling]


def around(value: float | None, rounds: Iterable[float]) -> tuple[float, float, float] | None:
    """Return least, value, most over the rounds; None where there is no positive value."""
    if value is None or value <= 0:
        return None
    known = [value, *(x for x in rounds if x > 0)]
    return min(known), value, max(known)


def makes_a_line(spots: Iterable[Spot]) -> bool:
    """Whether some arm has figures at two places."""
    places: dict[str, set[float]] = {}
    for spot in spots:
        if spot.span:
            places.setdefault(spot.cell.arm, set()).add(spot.x)
    return any(len(found) > 1 for found in places.values())


def steps(low: float, high: float, *, log: bool, most: int = 6) -> list[float]:
    """Return round numbers between ``low`` and ``high`` for an axis, few enough to be read."""
    from matplotlib.ticker import MaxNLocator

    found: list[float] = []
    if not log or high / low < 4:
        located = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        return [float(tick) for tick in located if low <= tick <= high]
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for subs in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        found = [s * 10.0**k for k in powers for s in subs if low <= s * 10.0**k <= high]
        if len(found) <= most:
            break
    return found


@dataclass(frozen=True)
class Scale:
    """An axis: its ends, and whether it is logarithmic."""

    ends: tuple[float, float]
    log: bool

    @classmethod
    def of(cls, values: Sequence[float], log_over: float) -> Scale:
        """Return one that holds all values, logarithmic where they differ ``log_over`` times."""
        low, high = min(values, default=1.0), max(values, default=1.0)
        if high / low <= log_over:
            return cls((0.0, high * 1.08), log=False)
        pad = max((high / low) ** 0.07, 1.03)
        return cls((low / pad, high * pad), log=True)

    @property
    def name(self) -> str:
        """Matplotlib's name for it."""
        return "log" if self.log else "linear"

    @property
    def words(self) -> str:
        """What its label must say of it."""
        return ", log axis" if self.log else ""

    @property
    def ticks(self) -> tuple[list[float], list[str]]:
        """Round numbers on it, and their words."""
        found = steps(*self.ends, log=self.log)
        return found, [f"{tick:,g}" for tick in found]

    def below(self, share: float) -> float:
        """Return where to begin instead so that ``share`` of the whole is under the low end."""
        low, high = self.ends
        away = share / (1 - share)
        return low / (high / low) ** away if self.log else low - (high - low) * away

    def share(self, value: float) -> float:
        """Return where on the axis a value is, from 0 to 1."""
        low, high = self.ends
        if self.log:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)


def chunks(model: str, panels: Sequence[T]) -> list[tuple[str, list[T]]]:
    """Return a model's panels in rows of COLUMNS."""
    return [(model, list(panels[at : at + COLUMNS])) for at in range(0, len(panels), COLUMNS)]


def grid(figure: Figure, heights_in: Sequence[float], widths: Sequence[int]) -> list[list[Axes]]:
    """Return a row of axes for each height, with as many as its width; the rest stays empty."""
    columns = max(widths)
    made = figure.subplots(
        len(heights_in), columns, squeeze=False, gridspec_kw={"height_ratios": list(heights_in)}
    )
    rows: list[list[Axes]] = []
    for axes, width in zip(made, widths, strict=True):
        for unused in axes[width:]:
            unused.set_axis_off()
        rows.append(list(axes[:width]))
    return rows


def draw_row(
    row: Sequence[tuple[Axes, Panel]], scene: Scene, words: tuple[str, str], log_over: float
) -> None:
    """Draw panels with one value axis: logarithmic where values differ ``log_over`` times.

    ``words`` name the places and the values.
    """
    panels = [panel for _, panel in row]
    height_in = strip_in(panels, scene)
    share = height_in / (PANEL_IN + height_in)
    places = sorted({spot.x for panel in panels for spot in panel.spots})
    values = [value for panel in panels for value in panel.values]
    scale = Scale.of(values, log_over)
    missing = [hole for panel in panels for hole in hole_rows(panel, scene)]
    room = margins(missing, places, _PANEL_PT, 0.55)
    for column, (axes, panel) in enumerate(row):
        tidy(axes, "both")
        _scale_places(axes, places, room)
        axes.set(yscale=scale.name, ylim=(scale.below(share), scale.ends[1]))
        axes.set_yticks(*(scale.ticks if values else ([], [])))
        axes.minorticks_off()
        axes.set_xlabel(f"{words[0]}, log axis", fontsize=8)
        axes.tick_params(axis="y", labelleft=column == 0)
        if column == 0:
            axes.set_ylabel(f"{words[1]}{scale.words}", fontsize=8)
        axes.set_title(panel.title, fontsize=9, loc="left", color=INK)
        if panel.ceiling:
            axes.plot(*zip(*panel.ceiling, strict=True), **CEILING)
        for arm in scene.colours:
            _draw_arm(axes, [s for s in panel.spots if s.cell.arm == arm], scene)
        if share:
            draw_strip(axes, panel, scene, places, (height_in, share))


def _scale_places(axes: Axes, places: Sequence[float], room: tuple[float, float]) -> None:
    """Set a log2 axis with ``room`` octaves at its ends; numbers stand where they have room."""
    axes.set_xscale("log", base=2)
    axes.set_xlim(places[0] / 2 ** room[0], places[-1] * 2 ** room[1])
    octave_pt = _PANEL_PT / (math.log2(places[-1] / places[0]) + sum(room))
    axes.set_xticks(places, numbered(places, octave_pt))
    axes.minorticks_off()


def numbered(places: Sequence[float], octave_pt: float) -> list[str]:
    """Return the number of each place, empty where it would touch the one before."""
    words: list[str] = []
    end = -math.inf
    for place in places:
        word, at = f"{place:.0f}", math.log2(place) * octave_pt
        half = len(word) * 2.6
        words.append(word if at - half > end else "")
        if words[-1]:
            end = at + half + 2
    return words


def _draw_arm(axes: Axes, spots: Sequence[Spot], scene: Scene) -> None:
    """Draw whiskers, a line broken where figures are missing, and markers, hollow in doubt."""
    if not any(spot.span for spot in spots):
        return
    arm = spots[0].cell.arm
    colour = scene.colours[arm]
    beside = axes.transData + aside(axes, _dodge(arm, scene))
    ordered = sorted(spots, key=lambda spot: spot.x)
    line = [spot.span[1] if spot.span else math.nan for spot in ordered]
    axes.plot(
        [spot.x for spot in ordered], line, color=colour, linestyle=scene.looks[arm].line,
        linewidth=1.3, transform=beside,
    )  # fmt: skip
    for spot in ordered:
        if spot.span:
            low, value, high = spot.span
            axes.plot([spot.x] * 2, [low, high], color=colour, linewidth=0.9, transform=beside)
            face = "white" if spot.cell.doubtful else colour
            axes.plot(spot.x, value, transform=beside, **marker_of(scene.looks[arm], face))


def _dodge(arm: str, scene: Scene) -> float:
    """Return how far beside its place an arm stands, in points: equal values stay visible."""
    order = list(scene.colours)
    step = min(1.6, 9.0 / max(len(order) - 1, 1))
    return (order.index(arm) - (len(order) - 1) / 2) * step


def marker_of(look: Look, face: str) -> dict[str, Any]:
    """Return how matplotlib draws an arm's marker, filled with ``face``."""
    return {**MARKER, "color": look.colour, "marker": look.marker, "mfc": face}


def legend_of(scene: Scene, cells: Sequence[Drawn]) -> list[Any]:
    """Return legend entries: a line an arm, then hollow markers and crosses where there are any."""
    from matplotlib.lines import Line2D

    arms = {cell.arm for cell in cells}
    entries = [
        Line2D([], [], ls=look.line, linewidth=1.3, label=arm, **marker_of(look, look.colour))
        for arm, look in scene.looks.items()
        if arm in arms
    ]
    if doubts := sorted({cell.label for cell in cells if cell.doubtful}):
        label = f"not comparable:\n{', '.join(doubts)}"
        entries.append(Line2D([], [], color=INK, linestyle="", mfc="white", label=label, **MARKER))
    return entries


def marks_of(panels: Sequence[Panel]) -> list[Any]:
    """Return the legend entries of crosses, whiskers and ceilings, as far as there are any."""
    from matplotlib.lines import Line2D

    spots = [spot for panel in panels for spot in panel.spots]
    entries = []
    if any(spot.span is None for spot in spots):
        entries.append(Line2D([], [], color=INK, label="no figure", **CROSS))
    if any(spot.span and spot.span[0] < spot.span[2] for spot in spots):
        label = "slowest to fastest round"
        entries.append(Line2D([], [], color=INK, linestyle="", marker="|", label=label))
    if any(panel.ceiling for panel in panels):
        entries.append(Line2D([], [], label="at the measured ceilings, best arm", **CEILING))
    return entries


def grouped(cells: Iterable[Drawn], part: int) -> Iterator[tuple[int, list[Drawn]]]:
    """Yield cells by a part of their shape (0 batch, 1 prompt, 2 new), smallest first."""
    found: dict[int, list[Drawn]] = {}
    for cell in cells:
        found.setdefault(cell.shape[part], []).append(cell)
    yield from sorted(found.items())


def by_lengths(scene: Scene) -> Iterator[tuple[str, list[tuple[str, list[Drawn]]]]]:
    """Yield each model, for each of its new tokens, with (title, cells) of its prompt lengths."""
    for model in scene.models:
        for new, alike in grouped(scene.of(model), 2):
            made = [(f"prompt {prompt}, new {new}", cells) for prompt, cells in grouped(alike, 1)]
            yield model, made


def head_row(axes: Axes, scene: Scene, model: str) -> None:
    """Name the model above the first panel of a row, where there is more than one."""
    if len(scene.models) > 1:
        title = axes.get_title(loc="left")
        axes.set_title(f"{model}\n{title}", fontsize=9, loc="left", color=INK)
