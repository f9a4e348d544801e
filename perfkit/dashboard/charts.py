"""The dashboard's charts, in Altair: tables in, a chart out; colours as the pictures have them.

Every chart is shown with its numbers in a table beside it. Colours alone say nothing: each arm has
a shape too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt

from perfkit.dashboard.fronts import BEATEN, DOUBTFUL, FRONT, LATENCY, RATE
from perfkit.reporting.scene import PALETTE
from perfkit.results.runs import HIGHER_IS_BETTER

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

# The last of the palette is lost on a dark page.
COLOURS = PALETTE[:-1]
GREY = "#8C8C8C"  # seen on white and on black
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
_SIZE, _ROW_PX, _HEIGHT_PX = 70, 20, 460  # the height of a chart with its axes and legend
_LOG_OVER = 10.0


def _looks(names: Iterable[str], title: str, columns: int = 3) -> tuple[alt.Color, alt.Shape]:
    """Return a colour and a shape for each name: 36 pairs before one comes again."""
    domain = sorted(set(names))
    colours = [COLOURS[at % len(COLOURS)] for at in range(len(domain))]
    shapes = [SHAPES[(at + at // len(COLOURS)) % len(SHAPES)] for at in range(len(domain))]
    legend = alt.Legend(orient="bottom", columns=columns, labelLimit=320, title=None)
    return (
        alt.Color(f"{title}:N", scale=alt.Scale(domain=domain, range=colours), legend=legend),
        alt.Shape(f"{title}:N", scale=alt.Scale(domain=domain, range=shapes), legend=legend),
    )


def _scale(values: pd.Series[float]) -> alt.Scale:
    """Return a logarithmic scale for positive values over a decade or more, else a linear one."""
    low, high = values.min(), values.max()
    wide = low > 0 and high / low >= _LOG_OVER
    if wide:
        return alt.Scale(type="log", nice=False, padding=12)
    return alt.Scale(zero=False, padding=12)


def _axis(name: str, values: pd.Series[float], words: str | None = None) -> dict[str, Any]:
    scale = _scale(values)
    log = ", log axis" if scale.to_dict().get("type") == "log" else ""
    return {"shorthand": f"{name}:Q", "scale": scale, "title": f"{words or name}{log}"}


def _layered(*layers: alt.Chart, **properties: Any) -> alt.LayerChart:
    return alt.LayerChart(layer=list(layers), **properties)


def by_batch(rows: pd.DataFrame) -> alt.LayerChart:
    """Draw output token/s over the batch, a line an arm; hollow where no ratio accepts the cell."""
    colour, shape = _looks(rows["arm"], "arm")
    batches = sorted(rows["batch"].unique())
    base = alt.Chart(rows.assign(comparable=rows["verdict"] == "ok")).encode(
        x=alt.X("batch:Q", scale=alt.Scale(type="log", base=2, padding=12), title="batch, log axis",
                axis=alt.Axis(values=[int(batch) for batch in batches])),
        y=alt.Y(**_axis(RATE, rows[RATE])),
        color=colour,
        tooltip=["cell:N", f"{RATE}:Q", f"{LATENCY}:Q", "verdict:N"],
    )  # fmt: skip
    points = base.mark_point(size=_SIZE).encode(
        shape=shape,
        fillOpacity=alt.condition("datum.comparable", alt.value(1), alt.value(0)),
        fill=colour,
    )
    return _layered(base.mark_line(strokeWidth=1.5), points, height=_HEIGHT_PX)


def pareto(rows: pd.DataFrame) -> alt.LayerChart:
    """Draw output token/s over e2e latency of ``fronts.placed`` rows; what is beaten is grey."""
    colour, shape = _looks(rows["arm"], "arm")
    base = alt.Chart(rows).encode(
        x=alt.X(**_axis(LATENCY, rows[LATENCY])),
        y=alt.Y(**_axis(RATE, rows[RATE])),
        tooltip=["cell:N", "batch:Q", f"{RATE}:Q", f"{LATENCY}:Q", "place:N", "verdict:N"],
    )
    front = alt.datum.place == FRONT
    line = base.transform_filter(front).mark_line(color=GREY, strokeDash=[4, 3], strokeWidth=1.2)
    beaten = base.transform_filter(alt.datum.place == BEATEN).mark_point(
        size=_SIZE, filled=True, color=GREY, opacity=0.55
    )
    doubtful = base.transform_filter(alt.datum.place == DOUBTFUL).mark_point(
        size=_SIZE, filled=False, color=GREY
    )
    best = base.transform_filter(front).mark_point(size=_SIZE * 1.5, filled=True, opacity=1)
    words = base.transform_filter(front).mark_text(
        align="right", dx=-8, dy=-8, fontSize=11, color=GREY
    )
    return _layered(
        line,
        beaten.encode(shape=shape),
        doubtful.encode(shape=shape),
        best.encode(color=colour, shape=shape),
        words.encode(text="batch:Q"),
        height=_HEIGHT_PX,
    )


def history(runs: pd.DataFrame, words: str) -> alt.LayerChart:
    """Draw a figure over ``history.runs_of`` rows; rules where environment or commit changed."""
    colour, shape = _looks(runs["machine"], "machine")
    across = alt.X("run:Q", title="run, oldest first", axis=alt.Axis(tickMinStep=1, format="d"),
                   scale=alt.Scale(domain=[0.5, len(runs) + 0.5], nice=False))  # fmt: skip
    told = ["run:Q", "date:T", "file:N", f"{words}:Q", "verdict:N", "commit:N", "driver:N",
            "torch:N"]  # fmt: skip
    base = alt.Chart(runs).encode(
        x=across,
        y=alt.Y(f"{words}:Q", title=words, scale=alt.Scale(zero=False, padding=15)),
        color=colour,
        tooltip=told,
    )
    rules = alt.Chart(runs).encode(x=across)
    code = rules.transform_filter("datum.code_changed != ''").mark_rule(
        color=GREY, strokeDash=[2, 3]
    )
    around = rules.transform_filter("datum.changed != ''").mark_rule(
        color=COLOURS[3], strokeWidth=2
    )
    points = base.mark_point(size=_SIZE, filled=True, opacity=1).encode(
        shape=shape,
        opacity=alt.condition("datum.verdict == 'ok'", alt.value(1), alt.value(0.4)),
    )
    return _layered(
        code.encode(tooltip=["run:Q", "code_changed:N"]),
        around.encode(tooltip=["run:Q", "changed:N"]),
        base.mark_line(strokeWidth=1),
        points,
        height=_HEIGHT_PX,
    )


def ratios(rows: pd.DataFrame, figure: str, words: str) -> alt.LayerChart:
    """Draw B over A of one figure, a line a cell, largest first; ``words`` name the figure."""
    better = "more" if figure in HIGHER_IS_BETTER else "less"
    title = f"{words}: B ÷ A, {better} is better"
    base = alt.Chart(rows).encode(
        y=alt.Y("cell:N", sort="-x", title=None, axis=alt.Axis(labelLimit=420)),
        x=alt.X("ratio:Q", title=title, scale=alt.Scale(zero=False, padding=20)),
        tooltip=["cell:N", "A:Q", "B:Q", "ratio:Q", "note:N"],
    )
    one = alt.Chart().mark_rule(color=GREY).encode(x=alt.datum(1))
    stems = base.mark_rule(color=COLOURS[0], strokeWidth=1.5).encode(x2=alt.datum(1))
    points = base.mark_point(size=_SIZE, filled=True, opacity=1, color=COLOURS[0])
    return _layered(one, stems, points, height=alt.Step(_ROW_PX), data=rows)


def changes(rows: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw changes in %, with intervals ``low`` to ``high`` where there are any, a line a pair.

    The axis has room for the changes; an interval that is longer is cut at its ends.
    """
    colour, shape = _looks(rows["attention"], "attention", columns=2)
    base = alt.Chart(rows).encode(
        y=alt.Y("pair:N", sort=None, title=None, axis=alt.Axis(labelLimit=420)),
        tooltip=["pair:N", "attention:N", "change:Q", "low:Q", "high:Q", "runs:Q"],
        color=colour,
    )
    ends = [min(rows["change"].min(), 0), max(rows["change"].max(), 0)]
    room = max(ends[1] - ends[0], 1) * 0.3
    scale = alt.Scale(domain=[ends[0] - room, ends[1] + room], nice=False)
    spans = base.mark_rule(strokeWidth=2, clip=True).encode(
        x=alt.X("low:Q", title=title, scale=scale), x2="high:Q"
    )
    points = base.mark_point(size=_SIZE, filled=True, opacity=1).encode(x="change:Q", shape=shape)
    none = alt.Chart().mark_rule(color=GREY).encode(x=alt.datum(0))
    return _layered(none, spans, points, height=alt.Step(_ROW_PX), data=rows)


def p99_over_rate(rows: pd.DataFrame) -> alt.LayerChart:
    """Draw p99 latency over the rate of a sweep, a line a policy; hollow near saturation."""
    colour, shape = _looks(rows["line"], "line")
    base = alt.Chart(rows).encode(
        x=alt.X(**_axis("rate", rows["rate"], "requests per second")),
        y=alt.Y(**_axis("p99_ms", rows["p99_ms"], "p99 latency ms")),
        color=colour,
        tooltip=["line:N", "rate:Q", "rho:Q", "p99_ms:Q", "low_ms:Q", "high_ms:Q", "steady:N"],
    )
    spans = base.mark_rule().encode(y="low_ms:Q", y2="high_ms:Q")
    points = base.mark_point(size=_SIZE).encode(
        shape=shape,
        fill=colour,
        fillOpacity=alt.condition("datum.steady", alt.value(1), alt.value(0)),
    )
    return _layered(base.mark_line(strokeWidth=1.5), spans, points, height=_HEIGHT_PX)


def p99_map(rows: pd.DataFrame) -> alt.LayerChart:
    """Draw p99 latency of dynamic batching by queue delay and largest batch, with its numbers."""
    base = alt.Chart(rows).encode(
        x=alt.X("delay_ms:O", title="queue delay ms", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("max_batch:O", title="largest batch", sort="descending"),
        tooltip=["delay_ms:Q", "max_batch:Q", "p99_ms:Q", "rho:Q"],
    )
    ends = [rows["p99_ms"].min(), rows["p99_ms"].max()]
    shade = alt.Color("p99_ms:Q", title="p99 ms",
                      scale=alt.Scale(scheme="cividis", type="log", domain=ends))  # fmt: skip
    # Cividis runs from dark to light: words on it are white below its middle.
    dark = f"datum.p99_ms < {(ends[0] * ends[1]) ** 0.5}"
    words = base.mark_text(fontSize=12).encode(
        text=alt.Text("p99_ms:Q", format=",.4~r"),
        color=alt.condition(dark, alt.value("#FFFFFF"), alt.value("#000000")),
    )
    return _layered(base.mark_rect().encode(color=shade), words, height=280)


def errors(rows: pd.DataFrame) -> alt.LayerChart:
    """Draw how far a simulation was off what was measured, in %, by load, a line a figure."""
    colour, shape = _looks(rows["figure"], "figure")
    base = alt.Chart(rows).encode(
        x=alt.X("load:Q", title="load, share of saturation", scale=alt.Scale(padding=20)),
        y=alt.Y("mean off %:Q", title="mean: predicted ÷ measured, less 1, %"),
        color=colour,
        tooltip=["figure:N", "load:Q", "measured ms:Q", "predicted ms:Q", "mean off %:Q"],
    )
    none = alt.Chart().mark_rule(color=GREY).encode(y=alt.datum(0))
    points = base.mark_point(size=_SIZE, filled=True, opacity=1).encode(shape=shape)
    lines = base.mark_line(strokeWidth=1.2)
    return _layered(none, lines, points, height=_HEIGHT_PX, data=rows)
