"""Three pictures of one or more result documents: throughput, latency, memory."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from perfkit.reporting.frame import section, write_whole
from perfkit.reporting.scene import Drawn, Scene, set_scene
from perfkit.reporting.tables import GIB, peak

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOUBT = "#D0D0D0"
DOUBT_LINE = "#9A9A9A"
INK = "#333333"
FORECAST = (
    ("weights", "weights_bytes", "#7A7A7A"),
    ("KV cache", "kv_bytes", "#ABABAB"),
    ("activations", "activation_bytes", "#D6D6D6"),
)
MARKERS = (("p50", 0.5, "o"), ("p90", 0.9, "s"), ("p99", 0.99, "^"))
# Above this ratio of largest to smallest a linear axis hides the small ones.
LOG_OVER = 30.0
MEMORY_CELLS = 24
WIDTH_IN = 11.0
DPI = 130


def draw_all(documents: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Write tokens_per_sec.png, latency_cdf.png and memory.png to ``folder``, each whole.

    Of cells measured twice on one machine the latest is drawn. Returns the paths written.
    """
    paths = []
    for name, figure in figures(documents).items():
        path = folder / f"{name}.png"
        words = {"Title": title_of(figure)}
        write_whole(
            path,
            lambda place, figure=figure, words=words: figure.savefig(  # type: ignore[misc]
                place, format="png", dpi=DPI, metadata=words
            ),
        )
        paths.append(path)
    return paths


def figures(documents: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """Return the pictures by file stem, unsaved."""
    scene = set_scene(documents)
    return {
        "tokens_per_sec": _throughput(scene),
        "latency_cdf": _latency(scene),
        "memory": _memory(scene),
    }


def title_of(figure: Figure) -> str:
    """Return the words above a picture."""
    return figure.get_suptitle()


# --- what the pictures share -----------------------------------------------------------------


def _canvas(scene: Scene, what: str, height_in: float, note: str = "") -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    about = "  |  ".join(part for part in (scene.about, note) if part)
    head = f"{what}: {', '.join(scene.models) or 'no cells'}"
    figure.suptitle(f"{head}\n{about}", fontsize=12, color=INK)
    return figure


def _tidy(axes: Axes, grid: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis=grid, color="#E4E4E4", linewidth=0.7)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)


def _rows_of_axes(figure: Figure, heights: Sequence[float], columns: int = 1) -> Any:
    return figure.subplots(
        len(heights), columns, squeeze=False, gridspec_kw={"height_ratios": list(heights)}
    )


def _name_panel(axes: Axes, model: str) -> None:
    axes.set_title(model, fontsize=10, loc="left", color=INK)
    units = "batch in sequences, prompt and new in tokens"
    axes.set_title(units, fontsize=7, loc="right", color="#666666")


def _swatches(scene: Scene, cells: Iterable[Drawn], prefix: str = "") -> list[Any]:
    from matplotlib.patches import Patch

    arms = {cell.arm for cell in cells}
    return [
        Patch(color=colour, label=prefix + arm)
        for arm, colour in scene.colours.items()
        if arm in arms
    ]


def _doubt_swatch(cells: Iterable[Drawn]) -> list[Any]:
    from matplotlib.patches import Patch

    if not any(cell.doubtful for cell in cells):
        return []
    label = "not comparable: verdict beside the bar"
    return [Patch(facecolor=DOUBT, edgecolor=INK, hatch="////", label=label)]


def _legend_below(figure: Figure, handles: list[Any]) -> None:
    if handles:
        longest = max(len(handle.get_label()) for handle in handles)
        columns = max(1, min(len(handles), int(150 / (longest + 8))))
        figure.legend(
            handles=handles, loc="outside lower center", ncols=columns, fontsize=8, frameon=False
        )


def _bar(axes: Axes, place: tuple[float, float], value: float, cell: Drawn, colour: str) -> None:
    """Draw a value at ``place`` (middle, thickness): in its arm's colour, hatched when doubtful."""
    y, height = place
    if cell.doubtful:
        axes.barh(y, value, height, color=DOUBT, edgecolor=colour, hatch="////", linewidth=0.8)
    else:
        axes.barh(y, value, height, color=colour)


def _beside(axes: Axes, x: float, y: float, text: str) -> None:
    axes.annotate(
        text, (x, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7,
        color=INK,
    )  # fmt: skip


def _empty_slot(axes: Axes, y: float, text: str, colour: str) -> None:
    """Say at the axis why no bar is here; the cross has the colour of the arm that is missing."""
    place = axes.get_yaxis_transform()
    axes.plot([0.006], [y], "x", color=colour, transform=place, markersize=4.5, clip_on=False)
    axes.annotate(
        text, (0.006, y), xycoords=place, xytext=(7, 0), textcoords="offset points",
        va="center", fontsize=7, color="#666666", style="italic",
    )  # fmt: skip


def _shape_words(shape: tuple[int, int, int], *, with_new: bool) -> str:
    words = f"batch {shape[0]}, prompt {shape[1]}"
    return f"{words}, new {shape[2]}" if with_new else words


def _new_tokens(cells: Iterable[Drawn]) -> tuple[bool, str]:
    """Return whether labels must tell new tokens, and the title's note where they need not."""
    counts = {cell.shape[2] for cell in cells}
    return len(counts) > 1, f"{counts.pop()} new tokens" if len(counts) == 1 else ""


# --- tokens_per_sec ---------------------------------------------------------------------------


def _throughput(scene: Scene) -> Figure:
    """Bars of output_tokens_per_s, one panel a model, one group a shape, one bar an arm."""
    panels = {model: _slots(scene.of(model)) for model in scene.models}
    heights = [max(at for at, _ in slots) + 1.5 for slots in panels.values()]
    with_new, note = _new_tokens(scene.cells)
    figure = _canvas(scene, "Output throughput", 1.9 + sum(0.19 * h + 0.5 for h in heights), note)
    if not panels:
        return figure
    for (model, slots), axes in zip(
        panels.items(), _rows_of_axes(figure, heights)[:, 0], strict=True
    ):
        _throughput_panel(axes, scene, slots, with_new=with_new)
        _name_panel(axes, model)
    _legend_below(figure, [*_swatches(scene, scene.cells), *_doubt_swatch(scene.cells)])
    return figure


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


def _rate_range(cell: Drawn) -> tuple[float, float, float] | None:
    """Return output token/s of the slowest round, the cell and the fastest round."""
    value = cell.metric("output_tokens_per_s")
    if value is None:
        return None
    tokens = cell.shape[0] * cell.shape[2]
    rates = [tokens / e2e for e2e in cell.samples("e2e_s") if e2e > 0]
    return min([*rates, value]), value, max([*rates, value])


def _throughput_panel(
    axes: Axes, scene: Scene, slots: list[tuple[float, Drawn]], *, with_new: bool
) -> None:
    _tidy(axes, "x")
    rates = {at: _rate_range(cell) for at, cell in slots}
    room = 1.2 if any(cell.doubtful for _, cell in slots) else 1.1
    log = _scale_bars(axes, [rate for rate in rates.values() if rate], room)
    for at, cell in slots:
        rate, colour = rates[at], scene.colours[cell.arm]
        if rate is None:
            _empty_slot(axes, at, "no figure" if cell.verdict == "ok" else cell.label, colour)
            continue
        low, value, high = rate
        _bar(axes, (at, 0.86), value, cell, colour)
        axes.errorbar(
            value, at, xerr=[[value - low], [high - value]], color=INK, capsize=2, linewidth=0.8
        )
        words = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        _beside(axes, high, at, f"{words}  {cell.label}" if cell.doubtful else words)
    groups = [list(group) for _, group in groupby(slots, key=lambda slot: slot[1].shape)]
    axes.set_yticks(
        [(group[0][0] + group[-1][0]) / 2 for group in groups],
        [_shape_words(group[0][1].shape, with_new=with_new) for group in groups],
    )
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(slots[-1][0] + 0.75, -0.75)
    axes.set_xlabel(
        f"output throughput (token/s{', log axis' if log else ''});"
        " whiskers: slowest and fastest round", fontsize=8,
    )  # fmt: skip


def _scale_bars(axes: Axes, rates: Sequence[tuple[float, float, float]], room: float) -> bool:
    """Set the value axis, ``room`` times as long as its bars; return whether it is logarithmic."""
    from matplotlib.ticker import LogLocator

    values = [value for _, value, _ in rates if value > 0]
    if not values:
        axes.set_xticks([])
        return False
    top = max(high for _, _, high in rates)
    if max(values) / min(values) <= LOG_OVER:
        axes.set_xlim(0, top * room)
        axes.xaxis.set_major_formatter("{x:,.0f}" if top >= 10 else "{x:g}")
        return False
    axes.set_xscale("log")
    least = min(values) / 2
    axes.set_xlim(least, least * (top / least) ** room)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,g}")
    return True


# --- latency_cdf ------------------------------------------------------------------------------


def _latency(scene: Scene) -> Figure:
    """Distributions of TTFT and ITL, one row a model, at the shape that most arms share."""
    chosen = {model: _telling_shape(scene.of(model)) for model in scene.models}
    heights = [max(3.0, 0.2 * len(cells) + 1.2) for cells in chosen.values()]
    figure = _canvas(scene, "Latency distribution", 0.9 + sum(heights))
    if not chosen:
        return figure
    grid = _rows_of_axes(figure, heights, 2)
    for (model, cells), (left, right) in zip(chosen.items(), grid, strict=True):
        shape = _shape_words(cells[0].shape, with_new=True)
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
    _tidy(axes, "both")
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
            linestyle=scene.lines[cell.arm], linewidth=1.5,
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
        style = {"linestyle": scene.lines[cell.arm]} if drawn else {"linestyle": "", "marker": "x"}
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


# --- memory -----------------------------------------------------------------------------------


def _memory(scene: Scene) -> Figure:
    """Forecast stacked beside the measured peak, two bars a cell, one panel a model."""
    panels = _largest(scene)
    cells = [cell for mine in panels.values() for cell in mine]
    heights = [len(mine) + 1.0 for mine in panels.values()]
    cut = len(cells) < len(scene.cells)
    note = f"the {len(cells)} largest of {len(scene.cells)} cells" if cut else ""
    with_new, new = _new_tokens(cells)
    note = "  |  ".join(part for part in (new, note) if part)
    figure = _canvas(scene, "Memory", 2.0 + sum(0.34 * h + 0.4 for h in heights), note)
    if not panels:
        return figure
    taken = [peak(cell.body) for cell in cells if cell.has_figures]
    metrics = sorted({found[0] for found in taken if found})
    for (model, mine), axes in zip(
        panels.items(), _rows_of_axes(figure, heights)[:, 0], strict=True
    ):
        _memory_panel(axes, scene, mine, with_new=with_new)
        _name_panel(axes, model)
        axes.set_xlabel(f"memory (GiB); measured: {', '.join(metrics) or 'none'}", fontsize=8)
    _legend_below(figure, _memory_legend(scene, cells))
    return figure


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
    _tidy(axes, "x")
    for at, cell in enumerate(cells):
        _forecast_bar(axes, at - 0.21, cell)
        colour = scene.colours[cell.arm]
        measured = peak(cell.body) if cell.has_figures else None
        if measured is None:
            words = "no figure" if cell.verdict == "ok" else cell.label
            _empty_slot(axes, at + 0.21, words, colour)
            continue
        size = measured[1] / GIB
        _bar(axes, (at + 0.21, 0.38), size, cell, colour)
        words = f"{size:,.1f}  {cell.label}" if cell.doubtful else f"{size:,.1f}"
        _beside(axes, size, at + 0.21, words)
    axes.set_yticks(
        range(len(cells)),
        [f"{c.arm},  {_shape_words(c.shape, with_new=with_new)}" for c in cells],
    )
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(cells) - 0.4, -0.6)
    room = 1.22 if any(cell.doubtful for cell in cells) else 1.1
    axes.set_xlim(0, max(max(_size(cell) for cell in cells) / GIB, 1e-3) * room)


def _forecast_bar(axes: Axes, y: float, cell: Drawn) -> None:
    forecast = section(cell.body, "memory", "forecast")
    if not forecast:
        _empty_slot(axes, y, "no forecast", INK)
        return
    start = 0.0
    for _, key, colour in FORECAST:
        size = (forecast.get(key) or 0) / GIB
        axes.barh(y, size, 0.38, left=start, color=colour)
        start += size
    total = forecast.get("total_bytes")
    _beside(axes, start, y, f"{start if total is None else total / GIB:,.1f}")


def _memory_legend(scene: Scene, cells: Sequence[Drawn]) -> list[Any]:
    from matplotlib.patches import Patch

    stack = [Patch(color=colour, label=f"forecast: {name}") for name, _, colour in FORECAST]
    return [*stack, *_swatches(scene, cells, "measured: "), *_doubt_swatch(cells)]
