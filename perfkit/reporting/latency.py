"""latency_cdf: distributions of the time to the first token and between tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfkit.reporting.drawing import INK, canvas, rows_of_axes, shape_words, tidy
from perfkit.results.store import section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from perfkit.reporting.scene import Drawn, Scene

DOUBT_LINE = "#9A9A9A"
MARKERS = (("p50", 0.5, "o"), ("p90", 0.9, "s"), ("p99", 0.99, "^"))


def latency(scene: Scene, what: str = "Latency distribution") -> Figure:
    """Distributions of TTFT and ITL, one row a model, at the shape that most arms share."""
    chosen = {model: _telling_shape(scene.of(model)) for model in scene.models}
    heights = [max(3.0, 0.2 * len(cells) + 1.2) for cells in chosen.values()]
    figure = canvas(scene, what, 0.9 + sum(heights))
    if not chosen:
        return figure
    grid = rows_of_axes(figure, heights, 2)
    for (model, cells), (left, right) in zip(chosen.items(), grid, strict=True):
        shape = shape_words(cells[0].shape, with_new=True)
        left.set_title(f"{model}: {shape}", fontsize=10, loc="left", color=INK)
        _cdf_panel(left, scene, cells, "ttft_s", "time to first token (ms)")
        _cdf_panel(right, scene, cells, "itl_s", "inter-token latency (ms)")
        left.set_ylabel("cumulative share of samples", fontsize=8)
        right.legend(
            handles=_cdf_legend(scene, cells), loc="upper left", bbox_to_anchor=(1.01, 1.02),
            fontsize=8, frameon=False,
        )  # fmt: skip
    return figure


def _telling_shape(cells: Sequence[Drawn]) -> list[Drawn]:
    """Return the cells of the shape most arms have samples at, ties to the largest one."""
    shapes = sorted({cell.shape for cell in cells}, key=lambda s: (s[0] * s[1], s))

    def arms(shape: tuple[int, int, int]) -> int:
        return sum(1 for c in cells if c.shape == shape and c.samples("ttft_s"))

    best = max(reversed(shapes), key=arms)
    return [cell for cell in cells if cell.shape == best]


def _cdf_panel(axes: Axes, scene: Scene, cells: Sequence[Drawn], name: str, words: str) -> None:
    tidy(axes, "both")
    seen: list[float] = []
    for cell in cells:
        line = sorted(x * 1e3 for x in cell.samples(name) if x > 0)
        if not line:
            continue
        seen += line
        colour = DOUBT_LINE if cell.doubtful else scene.colours[cell.arm]
        shares = [i / len(line) for i in range(len(line) + 1)]
        axes.step(
            [line[0], *line], shares, where="post", color=colour,
            linestyle=scene.looks[cell.arm].line, linewidth=1.5,
        )  # fmt: skip
        quantiles = section(cell.body, "quantiles", name)
        for key, share, marker in MARKERS:
            if quantiles.get(key) is not None:
                axes.plot(
                    quantiles[key] * 1e3, share, marker, color=colour, markersize=6,
                    markeredgecolor="white", zorder=3,
                )  # fmt: skip
    axes.set_xlabel(f"{words}, log axis", fontsize=8)
    axes.set_ylim(0, 1.04)
    if seen:
        _scale_ms(axes, min(seen), max(seen))
    else:
        axes.text(0.5, 0.5, "no samples", transform=axes.transAxes, ha="center", color=INK)


def _scale_ms(axes: Axes, low: float, high: float) -> None:
    """Make the axis logarithmic with plain numbers, readable under one decade too."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    axes.set_xscale("log")
    pad = max((high / low) ** 0.05, 1.02)
    axes.set_xlim(low / pad, high * pad)
    span = high / low
    if span < 4:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    else:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 1e3 else (1,)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")


def _cdf_legend(scene: Scene, cells: Sequence[Drawn]) -> list[Any]:
    from matplotlib.lines import Line2D

    handles = []
    for cell in cells:
        colour = DOUBT_LINE if cell.doubtful else scene.colours[cell.arm]
        drawn = bool(cell.samples("ttft_s") or cell.samples("itl_s"))
        words = cell.arm if cell.verdict == "ok" else f"{cell.arm} ({cell.label})"
        line = scene.looks[cell.arm].line
        style = {"linestyle": line} if drawn else {"linestyle": "", "marker": "x"}
        handles.append(Line2D([], [], color=colour, label=words, **style))  # type: ignore[arg-type]
    kept = {k for c in cells for n in ("ttft_s", "itl_s") for k in _known(c, n)}
    marks = [
        Line2D([], [], color=INK, linestyle="", marker=marker, label=key)
        for key, _, marker in MARKERS
        if key in kept
    ]
    return [*handles, *marks]


def _known(cell: Drawn, name: str) -> list[str]:
    quantiles = section(cell.body, "quantiles", name) if cell.samples(name) else {}
    return [key for key, value in quantiles.items() if value is not None]
