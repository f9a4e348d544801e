"""Whatever is made of figures that nobody measured says so."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console

from perfkit.reporting.frame import rows, write_csv
from perfkit.reporting.mark import mark_of, stamp
from perfkit.reporting.memory_table import memory_table
from perfkit.reporting.plots import figures, save, title_of
from perfkit.reporting.tables import headline, results_table
from tests.reporting.documents import cell, document, matrix, small

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure
    from rich.table import Table

MADE = document(
    cell(attention="nofmha", rate=100.0), cell(rate=175.0), synthetic="a script"
)  # fmt: skip
HONEST = document(cell(attention="nofmha", rate=100.0), cell(rate=175.0))


def printed(table: Table) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def marks(figure: Figure) -> list[Any]:
    return [text for text in figure.texts if text.get_text() == "SYNTHETIC"]


@pytest.mark.parametrize("table", [results_table, memory_table])
def test_tables_say_it_above(table: Any) -> None:
    first = printed(table(MADE)).splitlines()[0]
    assert first.startswith("SYNTHETIC: holds figures that nobody measured, made by a script")
    assert "SYNTHETIC" not in printed(table(HONEST))


def test_the_headline_says_it_first() -> None:
    assert headline(MADE).startswith("SYNTHETIC: ")
    assert "SYNTHETIC" not in headline(HONEST)


def test_made_up_figures_have_no_ratio_even_among_themselves() -> None:
    assert "1.75" in printed(results_table(HONEST))
    assert "1.75" not in printed(results_table(MADE))


def test_csv_has_a_column_of_it(tmp_path: Path) -> None:
    assert {row["synthetic"] for row in rows(MADE)} == {"a script"}
    assert {row["synthetic"] for row in rows(HONEST)} == {None}
    write_csv(MADE, tmp_path / "made.csv")
    head, first, *_ = (tmp_path / "made.csv").read_text(encoding="utf-8").splitlines()
    assert head.endswith(",synthetic")
    assert first.endswith(",a script")


def test_every_picture_with_any_of_it_is_marked_across_and_above(tmp_path: Path) -> None:
    documents = [matrix(), MADE]
    drawn = figures(documents)
    assert len(drawn) == 6
    for name, figure in drawn.items():
        save(figure, tmp_path / f"{name}.png", documents)
        (mark,) = marks(figure)
        assert 20 < mark.get_rotation() < 70
        assert 0 < mark.get_alpha() < 0.5
        assert title_of(figure).startswith("SYNTHETIC: ")


@pytest.mark.parametrize("size", [(11, 3), (11, 11), (11, 30)])
def test_the_mark_is_large_and_leaves_no_picture(size: tuple[float, float]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    canvas = FigureCanvasAgg(figure)
    stamp(figure, [MADE])
    figure.suptitle("")
    canvas.draw()
    inked = (np.asarray(canvas.buffer_rgba())[..., :3] < 255).any(axis=2)
    shares = []
    for along in (0, 1):
        places = np.flatnonzero(inked.any(axis=along))
        assert 0 < places[0] < places[-1] < inked.shape[1 - along] - 1
        shares.append((places[-1] - places[0]) / inked.shape[1 - along])
    assert max(shares) > 0.9


def test_what_was_measured_is_not_marked(tmp_path: Path) -> None:
    figure = figures([small()])["tokens_per_sec"]
    before = title_of(figure)
    save(figure, tmp_path / "honest.png", [small(), HONEST])
    assert not marks(figure)
    assert title_of(figure) == before
    assert mark_of([HONEST]) is None


def test_a_file_that_nobody_measured_has_no_day_of_measuring() -> None:
    made = MADE | {"datetime": "2000-01-01T00:00:00"}
    title = title_of(figures([made, document(cell(batch=2))])["tokens_per_sec"])
    assert "2026-11-24" in title
    assert "2000" not in title
