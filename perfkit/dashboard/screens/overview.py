"""What there is: files, machines, verdicts, throughput by batch, and every cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from perfkit.dashboard import charts, table, view
from perfkit.dashboard.fronts import RATE
from perfkit.dashboard.index import BROKEN, OTHER

if TYPE_CHECKING:
    import pandas as pd

    from perfkit.dashboard.index import Shelf, Source

_SHOWN = (
    "cell", "synthetic", "machine", "verdict", "agreement", *table.WORDS.values(), "reason", "date",
    "commit", "driver", "torch", "file",
)  # fmt: skip


def _broken(shelf: Shelf) -> None:
    bad = shelf.of(BROKEN)
    if bad:
        files = "1 file" if len(bad) == 1 else f"{len(bad)} files"
        st.warning(f"{files} cannot be shown; all others are.")
        view.numbers(
            _named(bad).drop(columns="kind"), "files that cannot be shown, with the reason"
        )


def _named(sources: list[Source]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        [(one.label, one.kind, one.reason) for one in sources], columns=["file", "kind", "reason"]
    )


def _by_batch(cells: pd.DataFrame) -> None:
    timed = table.latest(cells[cells[RATE] > 0])
    groups = {
        name: rows for name, rows in table.groups(timed).items() if len(set(rows["batch"])) > 1
    }
    if not groups:
        return
    st.subheader("Throughput by batch")
    name = st.selectbox("Model, lengths and machine", list(groups), key="batch_group")
    rows = groups[name].sort_values(["arm", "batch"])
    view.say_synthetic(rows)
    left, right = st.columns([3, 2])
    with left:
        view.show(charts.by_batch(rows), f"output token/s over the batch, {len(rows)} cells")
        st.caption("The newest run of each cell. Hollow: timed, but no ratio accepts it.")
    with right:
        view.numbers(rows[["arm", "batch", RATE, "TTFT ms", "TPOT ms", "verdict"]],
                     "the numbers of the chart", most_px=460)  # fmt: skip


def _cells(cells: pd.DataFrame) -> None:
    st.subheader("Cells")
    left, right = st.columns([2, 3])
    words = left.text_input("Cell holds", key="cell_words", placeholder="b8/p512")
    verdicts = right.multiselect(
        "Verdicts", sorted(cells["verdict"].unique()), key="verdicts", placeholder="all",
        select_all=False,
    )  # fmt: skip
    shown = cells[cells["cell"].str.contains(words, regex=False)] if words else cells
    if verdicts:
        shown = shown[shown["verdict"].isin(verdicts)]
    view.say_synthetic(shown)
    kept = [name for name in _SHOWN if shown[name].notna().any()]
    newest = shown.sort_values("date", ascending=False, kind="stable")
    view.numbers(newest[kept], "every cell with its verdict and figures", most_px=500)
    st.caption(f"{len(shown):,} of {len(cells):,} cells, newest first; click a heading to sort.")


def _page() -> None:
    chosen = view.current()
    shelf, cells = chosen.shelf, chosen.cells
    st.title("perfkit results")
    told = (
        ("cells", len(cells)),
        ("result files", cells["file"].nunique()),
        ("machines", cells.loc[cells["synthetic"].isna(), "machine_key"].nunique()),
        ("models", cells["model"].nunique()),
        ("cells not ok", int((cells["verdict"] != "ok").sum())),
    )
    for column, (words, count) in zip(st.columns(len(told)), told, strict=True):
        column.metric(words, f"{count:,}")
    _broken(shelf)
    if cells.empty:
        st.info(f"No result file here. {view.ASKS}")
    else:
        _by_batch(cells)
        _cells(cells)
    others = shelf.of(OTHER)
    with st.expander(f"Files: {len(shelf.sources) - len(others)} read, {len(others)} of no result"):
        view.numbers(_named(list(shelf.sources)), "all files with what they hold")


_page()
