"""The report's charts: rows of ``chart_rows`` in, an Altair chart out, for a white page.

They need the extra ``report``. Arms look as in a Scene, so that a chart and a picture of the same
cells look alike. What the dashboard draws too is drawn by ``common_charts``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfkit.profiling.classes import CLASSES
from perfkit.profiling.explain import IDLE, OUTSIDE
from perfkit.reporting import common_charts
from perfkit.reporting.chart_rows import FRONT
from perfkit.reporting.common_charts import data, number
from perfkit.reporting.drawing import FAINT, INK
from perfkit.reporting.looks import PALETTE, looks
from perfkit.reporting.memory import FORECAST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import altair as alt

    from perfkit.reporting.chart_rows import Row
    from perfkit.reporting.scene import Scene

_DASHES = {"-": [1, 0], "--": [6, 3], ":": [2, 2], "-.": [6, 2, 2, 2]}
_WIDE = 1100


def effects(rows: Sequence[Row]) -> alt.TopLevelMixin | None:
    """Return each cell's effect with its interval, in the order of the rows."""
    import altair as alt

    if not rows:
        return None
    machines = dict.fromkeys(row["machine"] for row in rows)
    colour = _scale("machine", dict(zip(machines, PALETTE * 3, strict=False)), None)
    base = alt.Chart(data(rows)).encode(
        y=alt.Y("cell:N", sort=None, title=None, axis=alt.Axis(labelLimit=420)), color=colour
    )
    spans = base.mark_rule(strokeWidth=2).encode(
        x=alt.X(
            "low:Q",
            title="output tok/s, times eager nofmha's, log axis (more is better)",
            scale=alt.Scale(type="log", nice=False, padding=10),
        ),
        x2="high:Q",
    )
    points = base.mark_point(filled=True, size=55).encode(
        x="times:Q",
        tooltip=["cell:N", "machine:N", "verdict:N", number("times"), number("low"),
                 number("high"), "runs:Q"],
    )  # fmt: skip
    zero = alt.Chart(data([{}])).mark_rule(color=FAINT).encode(x=alt.datum(1))
    made = alt.layer(zero, spans, points).properties(width=_WIDE - 330, height=alt.Step(15))
    return _finish(made, "Effect on output throughput, with intervals over runs")


def pareto(rows: Sequence[Row], scene: Scene) -> alt.TopLevelMixin | None:
    """Return output token/s over e2e latency, a panel a workload; a click in the legend picks.

    Workloads without a cell that may be compared have no panel.
    """
    import altair as alt

    led = {row["panel"] for row in rows if row["state"] == FRONT}
    rows = [row for row in rows if row["panel"] in led]
    if not rows:
        return None
    picked = alt.selection_point(fields=["arm"], bind="legend")
    chart = common_charts.pareto(rows, scene.looks, picked).properties(width=310, height=220)
    made = chart.facet(facet=_panels("panel"), columns=3).resolve_scale(x="independent")
    return _finish(made.add_params(picked), "Output throughput over end-to-end latency")


def latency(rows: Sequence[Row], scene: Scene) -> alt.TopLevelMixin | None:
    """Return distributions of both latencies; a list under them picks the workload."""
    import altair as alt

    if not rows:
        return None
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["workload"]] = counts.get(row["workload"], 0) + 1
    options = sorted(counts)
    picked = alt.selection_point(
        fields=["workload"],
        bind=alt.binding_select(options=options, name="model and shape: "),
        value=max(options, key=lambda name: (counts[name], name)),
        name="workload",
    )
    panels = []
    for words in dict.fromkeys(row["latency"] for row in rows):
        mine = [row for row in rows if row["latency"] == words]
        panels.append(
            alt.Chart(data(mine)).transform_filter(picked).transform_flatten(["ms", "share"])
            .mark_line(interpolate="step-after", strokeWidth=1.7)
            .encode(
                x=alt.X("ms:Q", title=f"{words} (ms), log axis",
                        scale=alt.Scale(type="log", nice=False, padding=10)),
                y=alt.Y("share:Q", title="share of samples", scale=alt.Scale(domain=[0, 1])),
                color=_arms(rows, scene), strokeDash=_dashes(rows, scene), detail="verdict:N",
                tooltip=["arm:N", "verdict:N", number("ms"), number("share"), "samples:Q"],
            ).properties(width=_WIDE // 2 - 20, height=260)
        )  # fmt: skip
    # One view holds the list, all follow it.
    made = alt.hconcat(panels[0].add_params(picked), *panels[1:])
    return _finish(made, "Cumulative distributions of latencies")


def roofline(rows: Sequence[Row], roofs: Sequence[Row], scene: Scene) -> alt.TopLevelMixin | None:
    """Return phases under the ceilings of their machine, on logarithmic axes."""
    import altair as alt

    picked = alt.selection_point(fields=["arm"], bind="legend")
    x = alt.X("FLOP/byte:Q", title="FLOP a byte that the phase needs at least",
              scale=alt.Scale(type="log", nice=False, padding=6))  # fmt: skip
    y = alt.Y(
        "TFLOP/s:Q",
        title="TFLOP/s of one device",
        scale=alt.Scale(type="log", nice=False, padding=10),
    )
    lines = alt.Chart(data(roofs)).mark_line(color=INK, strokeWidth=1.3).encode(
        x=x, y=y, strokeDash=alt.StrokeDash("ceiling:N", title="measured ceiling",
                                            legend=alt.Legend(labelLimit=500)),
        order="order:Q", tooltip=["ceiling:N"],
    )  # fmt: skip
    points = alt.Chart(data(rows)).mark_point(filled=True, size=60).encode(
        x=x, y=y, color=_arms(rows, scene), shape=alt.Shape(
            "phase:N", scale=alt.Scale(domain=["prefill", "decode"], range=["circle", "square"])
        ),
        opacity=alt.condition(picked, alt.value(0.9), alt.value(0.08)),
        fillOpacity=alt.condition("datum.verdict == 'ok'", alt.value(1), alt.value(0)),
        strokeOpacity=alt.value(1),
        tooltip=["cell:N", "phase:N", number("FLOP/byte"), number("TFLOP/s"), "verdict:N"],
    )  # fmt: skip
    made = alt.layer(lines, points).add_params(picked).properties(width=_WIDE - 300, height=380)
    return _finish(made, "Rate of each phase under the measured ceilings")


def memory(rows: Sequence[Row]) -> alt.TopLevelMixin | None:
    """Return the forecast's parts and the measured peak, two bars a cell, in GiB."""
    import altair as alt

    if not rows:
        return None
    greys = {f"forecast: {words}": colour for words, _, colour in FORECAST}
    peaks = dict.fromkeys(row["part"] for row in rows if row["bar"] == "measured")
    colours = {**greys, **dict(zip(peaks, PALETTE, strict=False))}
    made = alt.Chart(data(rows)).mark_bar().encode(
        y=alt.Y("cell:N", sort=None, title=None, axis=alt.Axis(labelLimit=420)),
        yOffset=alt.YOffset("bar:N", sort=["forecast", "measured"]),
        x=alt.X("GiB:Q", title="GiB", stack=True),
        color=_scale("part", colours, None),
        order="order:Q",
        tooltip=["cell:N", "part:N", number("GiB"), "verdict:N"],
    ).properties(width=_WIDE - 330, height=alt.Step(11))  # fmt: skip
    return _finish(made, "Memory forecast beside the measured peak")


def ablation(rows: Sequence[Row]) -> alt.TopLevelMixin | None:
    """Return each pair's change with its interval, a panel a figure."""
    import altair as alt

    if not rows:
        return None
    arms = looks(row["attention"] for row in rows)
    panels = [
        common_charts.changes(
            [row for row in rows if row["figure"] == words], words, arms, named=at == 0
        ).properties(width=235, height=alt.Step(15))
        for at, words in enumerate(dict.fromkeys(row["figure"] for row in rows))
    ]
    return _finish(alt.hconcat(*panels), "Change by fused attention")


def breakdown(rows: Sequence[Row], colours: Mapping[str, str]) -> alt.TopLevelMixin | None:
    """Return the share of each kernel class, a bar a cell and phase."""
    import altair as alt

    if not rows:
        return None
    there = {row["class"] for row in rows}
    kinds = {kind: colours[kind] for kind in (*CLASSES, IDLE, OUTSIDE) if kind in there}
    made = alt.Chart(data(rows)).mark_bar().encode(
        y=alt.Y("cell:N", sort=None, title=None, axis=alt.Axis(labelLimit=420)),
        x=alt.X("share (%):Q", title="share of the time, %", stack=True),
        color=_scale("class", kinds, "kernel class"), order="order:Q",
        tooltip=["cell:N", "class:N", number("ms"), number("share (%)")],
    ).properties(width=_WIDE - 300, height=alt.Step(24))  # fmt: skip
    return _finish(made, "Where the time goes, by kernel class")


def waterfall(rows: Sequence[Row], colours: Mapping[str, str]) -> alt.TopLevelMixin | None:
    """Return the steps from A's time to B's, a class each."""
    import altair as alt

    kinds = {row["kind"]: colours.get(row["kind"], FAINT) for row in rows}
    base = alt.Chart(data(rows)).encode(
        x=alt.X("step:N", sort=None, title=None, axis=alt.Axis(labelAngle=-30, labelLimit=220)),
    )
    bars = base.mark_bar(stroke=INK, strokeWidth=0.4).encode(
        y=alt.Y("from:Q", title="ms"), y2="to:Q",
        color=_scale("kind", kinds, None, legend=None),
        tooltip=["step:N", number("moved"), number("from"), number("to")],
    )  # fmt: skip
    words = base.mark_text(dy=-7, fontSize=9, color=INK).encode(
        y=alt.Y("top:Q"), text="label:N"
    ).transform_calculate(top="max(datum.from, datum.to)")  # fmt: skip
    return _finish(
        alt.layer(bars, words).properties(width=_WIDE - 60, height=260),
        "From one arm's time to the other's, by kernel class",
    )


def attention(rows: Sequence[Row], colours: Mapping[str, str]) -> alt.TopLevelMixin | None:
    """Return TFLOP/s over length, a line a provider, a panel a head size and mask."""
    import altair as alt

    if not rows:
        return None
    there = dict.fromkeys(row["provider"] for row in rows)
    scale = _scale("provider", {name: colours.get(name, FAINT) for name in there}, "provider")
    made = alt.Chart(data(rows)).mark_line(point=True).encode(
        x=alt.X("length:Q", title="sequence length", scale=alt.Scale(type="log", base=2)),
        y=alt.Y("TFLOP/s:Q"), color=scale,
        tooltip=["provider:N", "length:Q", number("TFLOP/s"), "verdict:N"],
    ).properties(width=470, height=240).facet(facet=_panels("panel"), columns=2)  # fmt: skip
    return _finish(made, "Attention kernels, TFLOP/s over length")


def _arms(rows: Sequence[Row], scene: Scene) -> Any:
    there = {row["arm"] for row in rows}
    return _scale("arm", {a: c for a, c in scene.colours.items() if a in there}, "arm")


def _dashes(rows: Sequence[Row], scene: Scene) -> Any:
    import altair as alt

    there = {row["arm"] for row in rows}
    arms = [arm for arm in scene.looks if arm in there]
    return alt.StrokeDash(
        "arm:N", title="arm",
        scale=alt.Scale(domain=arms, range=[_DASHES[scene.looks[arm].line] for arm in arms]),
    )  # fmt: skip


def _scale(field: str, colours: Mapping[str, str], title: str | None, **extra: Any) -> Any:
    import altair as alt

    legend = extra.get("legend", alt.Legend(labelLimit=420, orient="bottom", columns=3))
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return alt.Color(f"{field}:N", title=title, scale=scale, legend=legend)


def _panels(field: str) -> Any:
    import altair as alt

    return alt.Facet(f"{field}:N", title=None, sort=None, header=alt.Header(labelLimit=300))


def _finish(chart: Any, about: str) -> alt.TopLevelMixin:
    plain = chart.properties(description=about).configure_view(stroke=None)
    made: alt.TopLevelMixin = plain.configure_axis(
        gridColor="#E4E4E4", domainColor=FAINT, labelColor=INK, titleColor=INK
    )
    return made
