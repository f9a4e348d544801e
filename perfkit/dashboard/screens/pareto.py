"""Throughput against latency, what is beaten in grey."""

from __future__ import annotations

import streamlit as st

from perfkit.dashboard import charts, table, view
from perfkit.dashboard.fronts import LATENCY, RATE, placed, points_of
from perfkit.reporting import common_charts
from perfkit.reporting.chart_rows import BEATEN, FRONT
from perfkit.reporting.looks import looks


def _page() -> None:
    st.title("Throughput against latency")
    cells = view.current().cells
    cells = table.latest(cells[cells[RATE] > 0])
    groups = {name: placed(rows) for name, rows in table.groups(cells).items()}
    groups = {name: rows for name, rows in groups.items() if len(rows) > 1}
    if not groups:
        st.info(f"No two cells of one machine, model and lengths have figures. {view.ASKS}")
        return
    name = st.selectbox("Model, lengths and machine", list(groups), key="pareto_group")
    rows = groups[name]
    view.say_synthetic(rows)
    counts = rows["state"].value_counts()
    left, right = st.columns([3, 2])
    with left:
        told = f"{counts.get(FRONT, 0)} cells on the front, {counts.get(BEATEN, 0)} beaten"
        chart = common_charts.pareto(points_of(rows), looks(rows["arm"]), columns=2)
        chart = chart.properties(height=charts.HEIGHT_PX)
        view.show(chart, f"output token/s over latency: {told}")
        st.caption(
            f"{told} (grey), by another that is no slower and gives no less. Hollow: timed, but no "
            "comparison accepts it. Numbers are batches. The newest run of each cell."
        )
    with right:
        view.numbers(rows[["arm", "batch", LATENCY, RATE, "state", "verdict", "file"]],
                     "the numbers of the chart", most_px=500)  # fmt: skip


_page()
