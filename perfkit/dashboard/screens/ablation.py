"""What fused attention changes, by the rules of ``perfkit ablation``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import pandas as pd
import streamlit as st

from perfkit.dashboard import charts, table, view
from perfkit.dashboard.index import GENERATION, pairs_of
from perfkit.reporting import ablation as report
from perfkit.reporting import common_charts
from perfkit.reporting.chart_rows import ablation_rows
from perfkit.reporting.looks import looks
from perfkit.results.ablation import FIGURES

if TYPE_CHECKING:
    from perfkit.reporting.chart_rows import Row
    from perfkit.results.ablation import Pair

# The columns of changes in HEADERS are in the order of FIGURES.
_HEADER = dict(zip(FIGURES, report.HEADERS[4:], strict=False))
_WORDS = {**table.WORDS, "peak_allocated_bytes": "peak allocated memory"}


def _drawn(pairs: list[Pair], figure: str) -> list[Row]:
    rows = ablation_rows(pairs, {figure: figure})
    names = view.distinct([row["pair"] for row in rows], " ")
    return [row | {"pair": name} for row, name in zip(rows, names, strict=True)]


def _one_machine(pairs: list[Pair], names: dict[Any, Any]) -> list[Pair]:
    counts: dict[str, int] = {}
    for pair in pairs:
        counts[pair.machine] = counts.get(pair.machine, 0) + bool(pair.changes)
    keys = sorted(counts, key=lambda key: -counts[key])
    key = st.selectbox(
        "Machine", keys, key="ablation_machine",
        format_func=lambda key: view.machine_words(key, names),
    )  # fmt: skip
    return [pair for pair in pairs if pair.machine == key]


def _page() -> None:
    st.title("What fused attention changes")
    chosen = view.current()
    sources, left_out = view.real(chosen.results(GENERATION))
    if left_out:
        st.caption(f"Left out, as nobody measured them: {left_out} synthetic result files.")
    models = chosen.models
    pairs = [
        pair for pair in pairs_of(tuple(sources)) if not models or pair.case["model"] in models
    ]
    if not pairs:
        st.info(f"No two cells differ in attention alone. {view.ASKS}")
        return
    cells = chosen.shelf.cells
    names = dict(zip(cells["machine_key"], cells["machine"], strict=True))
    left, right = st.columns([3, 2])
    with left:
        mine = _one_machine(pairs, names)
    figure = right.selectbox(
        "Figure", FIGURES, key="ablation_figure", format_func=_WORDS.__getitem__
    )
    rows = _drawn(mine, figure)
    left, right = st.columns(2)
    with left:
        if not rows:
            st.info("No pair has this figure; the table says why.")
        else:
            title = f"{_WORDS[figure].split(' ms')[0]}: fused ÷ nofmha, less 1, in %"
            arms = looks(row["attention"] for row in rows)
            chart = common_charts.changes(rows, title, arms).properties(
                height=alt.Step(charts.ROW_PX)
            )
            view.show(chart, f"{title}, {len(rows)} pairs")
            st.caption(
                "Lines: 95 % interval over runs, none for a single run; cut where longer than the "
                "chart. Names without what all pairs share."
            )
    with right:
        told = pd.DataFrame(report.rows(mine), columns=list(report.HEADERS))
        first = ["pair", "attention", _HEADER[figure]]
        told = told[[*first, *(name for name in told.columns if name not in first)]]
        view.numbers(told, "every pair with its changes, or why it has none", most_px=700)
    with st.expander("The often-quoted gain"):
        for line in report.quoted(mine):
            st.text(line)


_page()
