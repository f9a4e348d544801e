"""Batching sweeps, and how far simulations were off real batchers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from perfkit.dashboard import batching, charts, view
from perfkit.dashboard.index import SWEEP, VALIDATION

if TYPE_CHECKING:
    import pandas as pd

    from perfkit.dashboard.index import Source

_WORDS = {
    "line": "policy", "rate": "requests/s", "rho": "of saturation", "p99_ms": "p99 ms",
    "low_ms": "from", "high_ms": "to", "delay_ms": "delay ms", "max_batch": "largest batch",
}  # fmt: skip


def _pick(words: str, sources: list[Source]) -> Source:
    by_label = {source.label: source for source in sources}
    label = st.selectbox(words, list(by_label), key=words, format_func=view.short)
    return by_label[label]


def _sweep(source: Source) -> None:
    assert source.frame is not None  # noqa: S101
    rows = batching.lines(source.frame)
    if rows.empty:
        st.info("No point of this sweep has a p99 latency.")
        return
    sizes = sorted(rows.loc[rows["policy"] != "one-by-one", "max_batch"].unique()) or [1]
    left, right = st.columns([3, 2])
    most = left.selectbox("Largest batch", sizes, index=len(sizes) - 1, key="largest_batch")
    shown = rows[(rows["max_batch"] == most) | (rows["policy"] == "one-by-one")]
    left, right = st.columns([3, 2])
    with left:
        view.show(charts.p99_over_rate(shown), f"p99 latency over the rate, {len(shown)} points")
        st.caption("Hollow: 98 % of saturation or more, where the figure grows with the run.")
    with right:
        view.numbers(_named(shown, "line", "rate", "rho", "p99_ms", "low_ms", "high_ms"),
                     "the numbers of the chart", most_px=460)  # fmt: skip
    _map(batching.dynamic(rows))


def _map(found: pd.DataFrame) -> None:
    if found.empty:
        return
    choice, _ = st.columns([3, 2])
    shares = sorted(found["rho"].unique())
    share = choice.selectbox(
        "Load, share of saturation", shares, index=len(shares) // 2, key="share"
    )
    field = found[found["rho"] == share]
    left, right = st.columns([3, 2])
    with left:
        view.show(charts.p99_map(field), f"p99 latency by delay and batch, {len(field)} points")
    with right:
        view.numbers(_named(field, "delay_ms", "max_batch", "rate", "p99_ms"),
                     "the numbers of the map")  # fmt: skip


def _named(rows: pd.DataFrame, *columns: str) -> pd.DataFrame:
    return rows[list(columns)].rename(columns=_WORDS)


def _validation(source: Source) -> None:
    rows = batching.errors(source.document)
    if rows.empty:
        st.info("Nothing was compared in this validation.")
        return
    left, right = st.columns([3, 2])
    with left:
        view.show(charts.errors(rows), f"error of the simulated mean by load, {len(rows)} points")
    with right:
        view.numbers(rows, "the numbers of the chart, and the errors of quantiles")


def _page() -> None:
    st.title("Request batching")
    shelf = view.current().shelf
    sweeps, validations = shelf.of(SWEEP), shelf.of(VALIDATION)
    if not sweeps and not validations:
        st.info("No batching sweep (`perfkit batching sweep`) and no validation is here.")
    if sweeps:
        st.subheader("Simulated policies")
        _sweep(_pick("Sweep", sweeps))
    if validations:
        st.subheader("Against a real batcher")
        _validation(_pick("Validation", validations))


_page()
