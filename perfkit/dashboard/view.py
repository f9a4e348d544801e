"""What all pages share: the files, the sidebar that picks among them, tables and marks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import streamlit as st

from perfkit.dashboard import table
from perfkit.dashboard.index import ATTENTION, BROKEN, GENERATION, Shelf, Source, parse, shared
from perfkit.reporting.mark import WORD
from perfkit.results.store import section, synthetic

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import altair as alt
    import pandas as pd

_KEY, _UPLOADED = "selection", "uploaded"
UPLOAD = "upload/"  # how the labels of uploaded files begin
_LONGEST = 160
_ROW_PX = 35  # of a table
ASKS = "Measure with `perfkit run`, give a folder that holds results, or upload a file at the left."


@dataclass(frozen=True)
class Selection:
    """All files, and what of them was picked; nothing picked means all."""

    shelf: Shelf
    machines: tuple[str, ...]
    models: tuple[str, ...]
    commits: tuple[str, ...]

    @property
    def cells(self) -> pd.DataFrame:
        """The picked cells, as ``table.COLUMNS``."""
        return table.chosen(self.shelf.cells, self.machines, self.models, self.commits)

    def results(self, *kinds: str) -> list[Source]:
        """Return results of these kinds, of picked machines and commits."""
        return [
            source
            for source in self.shelf.of(*kinds)
            if (not self.machines or machine_key(source) in self.machines)
            and (not self.commits or table.commit_of(source.document) in self.commits)
        ]


def machine_key(source: Source) -> str:
    """Return the key of the machine that a result was measured on."""
    block = "perfkit_attention" if source.kind == ATTENTION else "perfkit"
    return str(section(source.document, block, "machine").get("key") or table.UNKNOWN)


def prepare(roots: Sequence[str]) -> None:
    """Read what changed under the folders, draw the sidebar, and keep what was picked."""
    with st.spinner("reading result files"):
        shelf = shared(tuple(roots)).shelf()
    with st.sidebar:
        shelf = shelf.beside(_uploads())
        picked = _pick(shelf.cells)
        if st.button("Read the folders again", width="stretch"):
            st.rerun()
    st.session_state[_KEY] = Selection(shelf, *picked)


def current() -> Selection:
    """Return what the sidebar picked."""
    return cast("Selection", st.session_state[_KEY])


def _uploads() -> list[Source]:
    """Return the uploaded files, held in memory alone and named apart from those in folders."""
    given = st.file_uploader(
        "Show other result files too", type=["json", "csv"], accept_multiple_files=True,
        key="uploads", help="Kept in this browser session's memory; nothing is written.",
    )  # fmt: skip
    before: dict[str, Source] = st.session_state.get(_UPLOADED, {})
    now: dict[str, Source] = {}
    for count, file in enumerate(given, 1):
        label = f"{UPLOAD}{count}/{file.name}"
        known = before.get(file.file_id)
        if known is None or known.label != label:
            known = parse(label, file.getvalue())
        now[file.file_id] = known or Source(label, BROKEN, "is no batching sweep")
    st.session_state[_UPLOADED] = now
    return list(now.values())


def _pick(cells: pd.DataFrame) -> tuple[tuple[str, ...], ...]:
    names = dict(zip(cells["machine_key"], cells["machine"], strict=True))
    picked = []
    for label, column in (("Machines", "machine_key"), ("Models", "model"), ("Commits", "commit")):
        options = sorted(cells[column].unique())
        found = st.multiselect(
            label, options, placeholder="all", key=f"pick_{column}", select_all=False,
            format_func=(lambda key: machine_words(key, names)) if column == "machine_key" else str,
        )  # fmt: skip
        picked.append(tuple(found))
    return tuple(picked)


def machine_words(key: str, names: dict[str, str]) -> str:
    """Return a machine's name, with its key where another machine has that name too."""
    name = names.get(key, key)
    return name if list(names.values()).count(name) == 1 else f"{name} ({key})"


def short(words: str) -> str:
    """Return words that are too long for a line with their middle left out."""
    if len(words) <= _LONGEST:
        return words
    return f"{words[: _LONGEST // 2]} … {words[-_LONGEST // 2 :]}"


def distinct(names: Sequence[str], mark: str) -> list[str]:
    """Return names without the parts, between ``mark``s, that all of them share."""
    parts = [name.split(mark) for name in names]
    if len({len(some) for some in parts}) != 1:
        return list(names)
    kept = [at for at, some in enumerate(zip(*parts, strict=True)) if len(set(some)) > 1]
    return [mark.join(some[at] for at in kept) for some in parts] if kept else list(names)


def show(chart: alt.LayerChart, alt: str) -> None:
    """Draw a chart; ``alt`` is what a reader who does not see it is told."""
    st.altair_chart(chart, alt=alt)


def numbers(frame: pd.DataFrame, alt: str, *, most_px: int = 400) -> None:
    """Show a table, at most so high; figures with four digits."""
    figures = frame.select_dtypes("float").columns
    words = frame.select_dtypes(exclude=["number", "datetimetz"]).columns
    frame = frame.assign(**{name: frame[name].astype("object").fillna("") for name in words})
    config = {name: st.column_config.NumberColumn(format="%.4g") for name in figures}
    height = min(most_px, _ROW_PX * (len(frame) + 1) + 3)
    st.dataframe(frame, hide_index=True, column_config=config, alt=alt, height=height)


def say_synthetic(rows: pd.DataFrame) -> None:
    """Say it where some of what is shown was measured by nobody."""
    count = int(rows["synthetic"].notna().sum())
    if count:
        st.error(f"{WORD}: nobody measured {count} of these {len(rows)} cells.")


def real(sources: Iterable[Source]) -> tuple[list[Source], int]:
    """Return the sources that were measured, and how many were not."""
    some = list(sources)
    kept = [source for source in some if synthetic(source.document) is None]
    return kept, len(some) - len(kept)


def title_of(source: Source) -> str:
    """Return a result in a line: when, on what, of which commit, how much, where."""
    block = "perfkit_attention" if source.kind == ATTENTION else "perfkit"
    told = section(source.document, block)
    machine = section(told, "machine")
    day = source.document["datetime"][:16].replace("T", " ") or "no date"
    name = machine.get("name") or machine.get("key") or "unknown machine"
    kind = "" if source.kind == GENERATION else f" {source.kind}"
    count = len(told["cells"])
    commit, end = table.commit_of(source.document), "/".join(source.label.split("/")[-2:])
    return short(f"{day}, {end}, {commit}, {count}{kind} cells, {name}")
