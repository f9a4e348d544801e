"""One cell over time, with what changed around it."""

from __future__ import annotations

import streamlit as st

from perfkit.dashboard import charts, table, view
from perfkit.dashboard.history import runs_of


def _page() -> None:
    st.title("History of a cell")
    cells = view.current().cells
    measured = cells[cells["synthetic"].isna()]
    counts = measured["cell"].value_counts()
    counts = counts[counts > 1]
    if counts.empty:
        st.info(f"No cell was measured twice. {view.ASKS}")
        return
    left, right = st.columns([3, 1])
    cell = left.selectbox(
        "Cell", list(counts.index), key="history_cell",
        format_func=lambda name: f"{view.short(name)}: {counts[name]} runs",
    )  # fmt: skip
    runs = runs_of(measured, cell)
    figures = [words for words in table.WORDS.values() if runs[words].notna().any()]
    if not figures:
        st.info("No run of this cell has figures; the table says why.")
        view.numbers(
            runs[["run", "date", "verdict", "reason", "file"]], "the runs, without figures"
        )
        return
    words = right.selectbox("Figure", figures, key="history_figure")
    timed = runs.dropna(subset=[words])
    left, right = st.columns(2)
    with left:
        view.show(charts.history(runs, words), f"{words} of {len(timed)} runs, oldest first")
        st.caption(
            "Solid rule: machine, driver, CUDA or torch changed. Dotted: the commit. "
            "Faint: timed, but no ratio accepts it."
        )
    with right:
        shown = ["run", "date", words, "verdict", "changed", "code_changed", "machine", "driver",
                 "torch", "commit", "file"]  # fmt: skip
        told = runs[shown].rename(columns={"code_changed": "commit changed"})
        view.numbers(told, "the numbers of the chart, and what changed", most_px=500)


_page()
