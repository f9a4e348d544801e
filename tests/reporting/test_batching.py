from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from perfkit.batching import sweep
from perfkit.batching.sweep import Grid
from perfkit.errors import UsageError
from perfkit.reporting import batching

if TYPE_CHECKING:
    from pathlib import Path

GRID = Grid((4, 8), (0.0, 0.02), (0.3, 0.99), requests=500, seeds=2)
TAU = np.array([0.0, *(0.012 + 0.0008 * b for b in range(1, 9))])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [sweep.row(found, GRID, "given", per_s) for found, per_s in sweep.points(GRID, TAU)]
    (tmp_path / "sweep.csv").write_text(sweep.table(rows), encoding="utf-8")
    return tmp_path / "sweep.csv"


def test_each_largest_batch_has_a_panel_and_each_policy_a_line(table: Path) -> None:
    figure = batching.latency(batching.read(table))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "at most 4 together", "at most 8 together",
    ]  # fmt: skip
    (legend,) = figure.legends
    words = [text.get_text() for text in legend.get_texts()]
    assert sorted(words) == ["dynamic, 0 ms", "dynamic, 20 ms", "one-by-one", "static"]
    assert "simulated" in figure.get_suptitle()


def test_points_that_are_not_steady_are_hollow(table: Path) -> None:
    figure = batching.latency(batching.read(table))
    faces = {line.get_markerfacecolor() for axes in figure.axes for line in axes.lines
             if len(line.get_xdata()) and line.get_marker() == "o"}  # fmt: skip
    assert "white" in faces
    assert len(faces) > 1


def test_batch_sizes_are_shares_that_add_up(tmp_path: Path, table: Path) -> None:
    rows = [row for found, _ in sweep.points(GRID, TAU) for row in sweep.sizes(found)]
    (tmp_path / "sizes.csv").write_text(sweep.table(rows, sweep.SIZES), encoding="utf-8")
    read = batching.sizes(tmp_path / "sizes.csv")
    sums = read.groupby(["policy", "max_batch", "delay_us", "rho"], dropna=False)["share"].sum()
    assert len(sums) == sweep.size(GRID)
    assert sums.tolist() == pytest.approx([1.0] * len(sums))
    figure = batching.histogram(batching.read(table), read)
    assert "at most 8" in figure.get_suptitle()
    assert len(figure.axes) == 2


def test_each_load_has_a_map_with_its_numbers(table: Path) -> None:
    frame = batching.read(table)
    figure = batching.heat_map(frame)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "30% of saturation", "99% of saturation",
    ]  # fmt: skip
    assert all(len(axes.texts) == 4 for axes in figure.axes)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "policy,rate\n"])
def test_a_file_that_is_no_sweep_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"x\.csv"):
        batching.read(tmp_path / "x.csv")
