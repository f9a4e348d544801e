"""The charts that the dashboard alone has, in Altair: tables in, a chart out.

Every chart is shown with its numbers in a table beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt

from perfkit.dashboard.fronts import LATENCY, RATE
from perfkit.reporting.common_charts import GREY, SIZE, axis, encodings
from perfkit.reporting.looks import ON_ANY_PAGE, looks
from perfkit.results.runs import HIGHER_IS_BETTER

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = 2  # of a legend: a chart has three fifths of the page
ROW_PX, HEIGHT_PX = 20, 460  # the height of a chart with its axes and legend


def _looks(rows: pd.DataFrame, field: str) -> tuple[alt.Color, alt.Shape]:
    return encodings(field, rows[[field]].to_dict("records"), looks(rows[field]), _COLUMNS)


def _axis(name: str, rows: pd.DataFrame, words: str | None = None) -> dict[str, Any]:
    return axis(name, list(rows[name]), words)


def _layered(*layers: alt.Chart, **properties: Any) -> alt.LayerChart:
    return alt.LayerChart(layer=list(layers), **properties)


def by_batch(rows: pd.DataFrame) -> alt.LayerChart:
    """Draw output token/s over the batch, a line an arm; hollow where no ratio accepts the cell."""
    colour, shape = _looks(rows, "arm")
    batches = sorted(rows["batch"].unique())
    base = alt.Chart(rows.assign(comparable=rows["verdict"] == "ok")).encode(
        x=alt.X("batch:Q", scale=alt.Scale(type="log", base=2, padding=12), title="batch, log axis",
                axis=alt.Axis(values=[int(batch) for batch in batches])),
        y=alt.Y(**_axis(RATE, rows)),
        color=colour,
        tooltip=["cell:N", f"{RATE}:Q", f"{LATENCY}:Q", "verdict:N"],
    )  # fmt: skip
    points = base.mark_point(size=SIZE).encode(
        shape=shape,
        fillOpacity=alt.condition("datum.comparable", alt.value(1), alt.value(0)),
        fill=colour,
    )
    return _layered(base.mark_line(strokeWidth=1.5), points, height=HEIGHT_PX)


def history(runs: pd.DataFrame, words: str) -> alt.LayerChart:
    """Draw a figure over ``history.runs_of`` rows; rules where environment or commit changed."""
    colour, shape = _looks(runs, "machine")
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
        color=ON_ANY_PAGE[3], strokeWidth=2
    )
    points = base.mark_point(size=SIZE, filled=True, opacity=1).encode(
        shape=shape,
        opacity=alt.condition("datum.verdict == 'ok'", alt.value(1), alt.value(0.4)),
    )
    return _layered(
        code.encode(tooltip=["run:Q", "code_changed:N"]),
        around.encode(tooltip=["run:Q", "changed:N"]),
        base.mark_line(strokeWidth=1),
        points,
        height=HEIGHT_PX,
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
    stems = base.mark_rule(color=ON_ANY_PAGE[0], strokeWidth=1.5).encode(x2=alt.datum(1))
    points = base.mark_point(size=SIZE, filled=True, opacity=1, color=ON_ANY_PAGE[0])
    return _layered(one, stems, points, height=alt.Step(ROW_PX), data=rows)


def p99_over_rate(rows: pd.DataFrame) -> alt.LayerChart:
    """Draw p99 latency over the rate of a sweep, a line a policy; hollow near saturation."""
    colour, shape = _looks(rows, "line")
    base = alt.Chart(rows).encode(
        x=alt.X(**_axis("rate", rows, "requests per second")),
        y=alt.Y(**_axis("p99_ms", rows, "p99 latency ms")),
        color=colour,
        tooltip=["line:N", "rate:Q", "rho:Q", "p99_ms:Q", "low_ms:Q", "high_ms:Q", "steady:N"],
    )
    spans = base.mark_rule().encode(y="low_ms:Q", y2="high_ms:Q")
    points = base.mark_point(size=SIZE).encode(
        shape=shape,
        fill=colour,
        fillOpacity=alt.condition("datum.steady", alt.value(1), alt.value(0)),
    )
    return _layered(base.mark_line(strokeWidth=1.5), spans, points, height=HEIGHT_PX)


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
    colour, shape = _looks(rows, "figure")
    base = alt.Chart(rows).encode(
        x=alt.X("load:Q", title="load, share of saturation", scale=alt.Scale(padding=20)),
        y=alt.Y("mean off %:Q", title="mean: predicted ÷ measured, less 1, %"),
        color=colour,
        tooltip=["figure:N", "load:Q", "measured ms:Q", "predicted ms:Q", "mean off %:Q"],
    )
    none = alt.Chart().mark_rule(color=GREY).encode(y=alt.datum(0))
    points = base.mark_point(size=SIZE, filled=True, opacity=1).encode(shape=shape)
    lines = base.mark_line(strokeWidth=1.2)
    return _layered(none, lines, points, height=HEIGHT_PX, data=rows)
