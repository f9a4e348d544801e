"""Charts that the report and the dashboard share, in Altair, for pages white or black.

Colours alone say nothing: each arm has a shape too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfkit.reporting.chart_rows import BEATEN, FRONT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import altair as alt

    from perfkit.reporting.chart_rows import Row
    from perfkit.reporting.looks import Look

GREY = "#8C8C8C"  # seen on white and on black
SIZE = 60  # of a marker
_SHAPES = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "P": "cross",
           "v": "triangle-down"}  # fmt: skip
# An axis over less than this is linear.
_LOG_OVER = 10.0
_ROOM = 0.3  # beside the changes, as a share of what they span


def pareto(
    rows: Sequence[Row],
    looks: Mapping[str, Look],
    picked: alt.Parameter | None = None,
    *,
    columns: int = 3,
) -> alt.LayerChart:
    """Return output token/s over e2e latency of ``throughput_rows``; batches beside their points.

    Points on their machine's front are filled and joined, those that another beats grey, outline
    and all, and those that no comparison accepts hollow. Arms that are not ``picked`` are pale.
    """
    import altair as alt

    colours, shapes = _scales("arm", rows, looks)
    legend = _legend(columns)
    arms: dict[str, Any] = {"scale": colours, "legend": legend}
    shape = alt.Shape("arm:N", scale=shapes, legend=legend)
    grey = {"test": f"datum.state == '{BEATEN}'", "value": GREY}
    hollow = {"test": f"datum.state != '{FRONT}'", "value": "transparent"}
    colour = alt.Color("arm:N", **arms, condition=grey)
    fill = alt.Fill("arm:N", **arms, condition=[grey, hollow])
    pale = {} if picked is None else {
        "opacity": alt.condition(picked, alt.value(1), alt.value(0.12))
    }  # fmt: skip
    base = alt.Chart(data(rows)).encode(
        x=alt.X(**axis("e2e (s)", [row["e2e (s)"] for row in rows])),
        y=alt.Y(**axis("output token/s", [row["output token/s"] for row in rows])),
    )
    front = f"datum.state == '{FRONT}'"
    line = base.transform_filter(front).mark_line(
        color=GREY, strokeDash=[4, 3], strokeWidth=1.2
    ).encode(detail="machine:N")  # fmt: skip
    # One layer for all: a panel whose layer is empty has no extent, and Vega warns of it.
    points = base.mark_point(size=SIZE, filled=False).encode(
        color=colour, shape=shape, fill=fill,
        tooltip=["arm:N", "batch:Q", number("e2e (s)"), number("output token/s"), "state:N"],
        **pale,
    )  # fmt: skip
    words = base.transform_filter(front).mark_text(
        align="right", dx=-7, dy=-7, fontSize=10, color=GREY
    ).encode(text="batch:Q")  # fmt: skip
    return alt.LayerChart(layer=[line, points, words])


def changes(
    rows: Sequence[Row], words: str, looks: Mapping[str, Look], *, named: bool = True
) -> alt.LayerChart:
    """Return changes of one figure of ``ablation_rows`` with their intervals, a line a pair.

    The axis has room for the changes; an interval that is longer is cut at its ends. ``named``
    writes the pairs beside their lines.
    """
    import altair as alt

    colour, shape = encodings("attention", rows, looks)
    names = alt.Axis(labelLimit=420) if named else None
    base = alt.Chart(data(rows)).encode(
        y=alt.Y("pair:N", sort=None, title=None, axis=names), color=colour,
        tooltip=["pair:N", "attention:N", number("change (%)"), number("low"), number("high"),
                 "runs:Q"],
    )  # fmt: skip
    values = [0.0, *(row["change (%)"] for row in rows)]
    room = _ROOM * max(max(values) - min(values), 1)
    scale = alt.Scale(domain=[min(values) - room, max(values) + room], nice=False)
    spans = base.mark_rule(strokeWidth=2, clip=True).encode(
        x=alt.X("low:Q", title=words, scale=scale), x2="high:Q"
    )
    points = base.mark_point(size=SIZE, filled=True, opacity=1).encode(
        x="change (%):Q", shape=shape
    )
    none = alt.Chart(data([{}])).mark_rule(color=GREY).encode(x=alt.datum(0))
    return alt.LayerChart(layer=[none, spans, points])


def encodings(
    field: str, rows: Sequence[Row], looks: Mapping[str, Look], columns: int = 3
) -> tuple[alt.Color, alt.Shape]:
    """Return colour and shape of what ``field`` names in the rows, with one legend for both."""
    import altair as alt

    legend = _legend(columns)
    colours, shapes = _scales(field, rows, looks)
    return (
        alt.Color(f"{field}:N", scale=colours, legend=legend),
        alt.Shape(f"{field}:N", scale=shapes, legend=legend),
    )


def _legend(columns: int = 3) -> alt.Legend:
    import altair as alt

    return alt.Legend(labelLimit=420, orient="bottom", columns=columns, title=None)


def _scales(
    field: str, rows: Sequence[Row], looks: Mapping[str, Look]
) -> tuple[alt.Scale, alt.Scale]:
    import altair as alt

    there = {row[field] for row in rows}
    kept = {name: look for name, look in looks.items() if name in there}
    return (
        alt.Scale(domain=list(kept), range=[look.colour for look in kept.values()]),
        alt.Scale(domain=list(kept), range=[_SHAPES[look.marker] for look in kept.values()]),
    )


def axis(name: str, values: Sequence[float], words: str | None = None) -> dict[str, Any]:
    """Return an axis of a column: logarithmic, and said so, over a decade or more of positives."""
    import altair as alt

    log = min(values) > 0 and max(values) / min(values) >= _LOG_OVER
    kind = {"type": "log", "nice": False} if log else {"zero": False}
    title = f"{words or name}{', log axis' if log else ''}"
    return {"shorthand": f"{name}:Q", "scale": alt.Scale(**kind, padding=12), "title": title}


def data(rows: Sequence[Row]) -> Any:
    """Return rows as they are: no transformer of Altair's, which refuses over 5,000 of them."""
    import altair as alt

    return alt.InlineData(values=list(rows))


def number(field: str) -> Any:
    """Return a line of a tooltip, with four digits."""
    import altair as alt

    return alt.Tooltip(f"{field}:Q", format=".4~g")
