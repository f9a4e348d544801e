from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from perfkit.batching import sweep
from perfkit.batching.job import Batches
from perfkit.batching.loads import Load, Share
from perfkit.batching.sweep import Grid
from perfkit.errors import UsageError
from perfkit.reporting import batching

if TYPE_CHECKING:
    from pathlib import Path

TAU = np.array([0.0, *(0.012 + 0.0008 * b for b in range(1, 9))])
LIKE = Load("poisson", 1.0, 500)
GRID = Grid(
    sweep.batching((4, 8), (0.0, 0.02)),
    tuple(Share(share, LIKE) for share in (0.3, 0.99)),
    (Batches(TAU), "given"),
    seeds=2,
)


@pytest.fixture(scope="module")
def swept() -> list[sweep.Done]:
    return [sweep.measure(job) for job in sweep.jobs(GRID)]


@pytest.fixture
def table(tmp_path: Path, swept: list[sweep.Done]) -> Path:
    (tmp_path / "sweep.csv").write_text(sweep.table([one.row for one in swept]), encoding="utf-8")
    rows = [size for one in swept for size in one.sizes]
    (tmp_path / "sizes.csv").write_text(sweep.table(rows, sweep.SIZES), encoding="utf-8")
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


def test_no_line_is_dropped_and_none_looks_like_another(table: Path) -> None:
    """Ten delays, of which there are eight colours."""
    frame = batching.read(table)
    dynamic = frame[(frame["policy"] == "dynamic") & (frame["delay_us"] == 0)]
    many = pd.concat([dynamic.assign(delay_us=1e3 * ms) for ms in range(10)])
    for figure in (
        batching.latency(many),
        batching.histogram(
            many,
            pd.concat([
                batching.sizes(table.with_name("sizes.csv")).query("delay_us == 0").assign(
                    delay_us=1e3 * ms)
                for ms in range(10)
            ]),
        ),
    ):  # fmt: skip
        assert len(figure.legends[0].get_texts()) == 10
        looks = {
            (line.get_color(), line.get_linestyle())
            for line in figure.axes[0].lines
            if line.get_linestyle() != "None"
        }
        assert len(looks) == 10


def test_one_by_one_alone_has_a_panel(table: Path) -> None:
    frame = batching.read(table)
    alone = frame[frame["policy"] == "one-by-one"]
    (axes,) = batching.latency(alone).axes
    assert axes.get_title(loc="left") == "at most 1 together"


def test_points_that_are_not_steady_are_hollow(table: Path) -> None:
    figure = batching.latency(batching.read(table))
    faces = {line.get_markerfacecolor() for axes in figure.axes for line in axes.lines
             if len(line.get_xdata()) and line.get_marker() == "o"}  # fmt: skip
    assert "white" in faces
    assert len(faces) > 1


def test_batch_sizes_are_shares_that_add_up(tmp_path: Path, table: Path) -> None:
    read = batching.sizes(tmp_path / "sizes.csv")
    sums = read.groupby(["policy", "max_batch", "delay_us", "rho"], dropna=False)["share"].sum()
    assert len(sums) == len(sweep.jobs(GRID)) == 14
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


def test_open_arrivals_have_three_pictures_and_a_closed_loop_one(table: Path) -> None:
    frame, sizes = batching.read(table), table.with_name("sizes.csv")
    names = ["dyn_batch_latency", "dyn_batch_p99", "dyn_batch_sizes"]
    assert list(batching.figures(frame, sizes)) == names
    closed = batching.figures(frame.assign(arrival="closed"), sizes)
    assert list(closed) == names[:1]
    assert "a closed loop" in closed["dyn_batch_latency"].get_suptitle()
    assert list(batching.figures(frame[frame["policy"] == "static"], sizes)) == names[:1]
    assert batching.figures(frame.assign(lat_p99=np.nan), sizes) == {}


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "policy,rate\n"])
def test_a_file_that_is_no_sweep_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"x\.csv"):
        batching.read(tmp_path / "x.csv")
