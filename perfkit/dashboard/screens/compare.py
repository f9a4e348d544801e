"""Two result files side by side, by the rules of ``perfkit compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from perfkit.dashboard import charts, view
from perfkit.dashboard.index import ATTENTION, GENERATION
from perfkit.dashboard.view import UPLOAD
from perfkit.errors import UsageError
from perfkit.reporting import compare
from perfkit.reporting.tables import short_id
from perfkit.results.store import measured, synthetic

if TYPE_CHECKING:
    from perfkit.dashboard.index import Source

_MOST = 40
ALL = "all"


def _choose(sources: list[Source]) -> tuple[Source, Source]:
    """Let two be picked; at first the newest with its forerunner, or what was uploaded last."""
    by_label = {source.label: source for source in sources}
    names = sorted(by_label, key=lambda name: by_label[name].document["datetime"], reverse=True)
    uploaded = next((one.label for one in reversed(sources) if one.label.startswith(UPLOAD)), "")
    after = uploaded or names[0]
    others = [name for name in names if name != after and not synthetic(by_label[name].document)]
    alike = (name for name in others if _alike(by_label[name], by_label[after]))
    before = next(alike, others[0] if others else names[-1])
    left, right = st.columns(2)
    picked = [
        place.selectbox(
            words, names, index=names.index(first), key=f"file_{words[0]}{uploaded}",
            format_func=lambda name: view.title_of(by_label[name]),
        )
        for place, words, first in ((left, "A: before", before), (right, "B: after", after))
    ]  # fmt: skip
    a, b = (by_label[name] for name in picked)
    return a, b


def _alike(source: Source, wanted: Source) -> bool:
    return (
        source is not wanted
        and source.kind == wanted.kind
        and view.machine_key(source) == view.machine_key(wanted)
    )


def _frame(rows: list[compare.Row], block: str) -> pd.DataFrame:
    units = {name: (words, scale) for name, words, scale in compare.FIGURES[block]}
    made = []
    for row in rows:
        words, scale = units[row.figure]
        a, b = (None if value is None else value * scale for value in (row.a, row.b))
        made.append((short_id(row.cell), row.figure, words, a, b, row.ratio, row.note))
    columns = ["cell", "name", "figure", "A", "B", "ratio", "note"]
    frame = pd.DataFrame(made, columns=columns)
    return frame.astype(dict.fromkeys(("A", "B", "ratio"), "float64"))


def _show(frame: pd.DataFrame) -> None:
    left, right = st.columns([2, 3])
    figures = list(dict.fromkeys(frame["figure"]))
    usual = figures.index("output tok/s") if "output tok/s" in figures else 0
    figure = left.selectbox("Figure", [*figures, ALL], index=usual, key="figure")
    words = right.text_input("Cell holds", key="compare_words", placeholder="b8/p512")
    shown = frame if figure == ALL else frame[frame["figure"] == figure]
    if words:
        shown = shown[shown["cell"].str.contains(words, regex=False)]
    drawn = shown.dropna(subset=["ratio"])
    left, right = st.columns(2)
    with left:
        if figure == ALL:
            st.info("Pick one figure to see its ratios as a chart.")
        elif drawn.empty:
            st.info("No ratio may be formed here: the last column says why.")
        else:
            far = (drawn["ratio"] - 1).abs().sort_values(ascending=False).index[:_MOST]
            name = drawn["name"].iloc[0]
            told = f"B over A of {figure}, {len(far)} cells"
            rows = drawn.loc[sorted(far)]
            rows = rows.assign(cell=view.distinct(list(rows["cell"]), "/"))
            view.show(charts.ratios(rows, name, figure), told)
            if len(drawn) > _MOST:
                st.caption(f"The {_MOST} largest changes of {len(drawn)}.")
            st.caption("Names without what all cells share.")
    with right:
        told = shown.rename(columns={"ratio": "B ÷ A"})
        columns = ["cell", "A", "B", "B ÷ A", "note"]
        if figure == ALL:
            columns.insert(1, "figure")
        view.numbers(told[columns], "both files' figures, and their ratio where one may be formed")


def _page() -> None:
    st.title("Compare two result files")
    sources = view.current().results(GENERATION, ATTENTION)
    if len(sources) < 2:
        st.info(f"Two result files are needed, {len(sources)} is here. {view.ASKS}")
        return
    chosen = _choose(sources)
    try:
        a, b = (measured(source.document, source.label) for source in chosen)
        rows = compare.compare(a, b)
        block = compare.block_of(a, b)
        alone = compare.only_in(a, b)
    except UsageError as error:
        st.error("These two cannot be compared.")
        st.text(str(error))
        return
    st.caption(
        "A ratio stands only where both cells are ok, on one machine, with outputs shown to agree."
    )
    _show(_frame(rows, block))
    for words, cells in zip(("A", "B"), alone, strict=True):
        if cells:
            with st.expander(f"{len(cells)} cells only in {words}"):
                view.numbers(pd.DataFrame({"cell": cells}), f"cells that {words} alone has")


_page()
