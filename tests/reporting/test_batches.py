"""Throughput over batch: lines of what was timed, crosses where nothing was, nothing hidden."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from perfkit.reporting.batches import throughput_vs_batch
from perfkit.reporting.curves import CEILING
from perfkit.reporting.plots import title_of
from perfkit.reporting.scene import set_scene
from tests.reporting.documents import cell, document, matrix
from tests.reporting.layout import clashes

if TYPE_CHECKING:
    from typing import Any

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@pytest.fixture(scope="module")
def whole() -> Figure:
    figure = throughput_vs_batch(set_scene([matrix()]))
    assert figure is not None
    return figure


def panel(*cells: tuple[str, dict[str, Any]]) -> Axes:
    figure = throughput_vs_batch(set_scene([document(*cells)]))
    assert figure is not None
    (axes,) = figure.axes
    return axes


def lines(axes: Axes) -> list[list[float | None]]:
    """Return the values of each arm's line, None where it is broken."""
    long = [line for line in axes.lines if len(line.get_ydata()) > 2]
    arms = [line for line in long if line.get_color() != CEILING["color"]]
    return [[None if math.isnan(y) else y for y in line.get_ydata()] for line in arms]


def test_a_matrix_has_a_panel_for_each_prompt_and_a_row_for_each_new(whole: Figure) -> None:
    titles = [axes.get_title(loc="left") for axes in whole.axes]
    prompts = (128, 512, 1024, 2048)
    assert titles == [f"prompt {p}, new {n}" for n in (32, 128) for p in prompts]
    assert "left out" not in title_of(whole)


def test_no_words_of_a_matrix_touch_or_leave_the_picture(whole: Figure) -> None:
    assert clashes(whole) == []


def test_batches_are_plain_numbers_an_octave_apart(whole: Figure) -> None:
    axes = whole.axes[0]
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "1", "2", "4", "8", "16", "32", "64",
    ]  # fmt: skip


def test_what_has_no_figure_is_told_in_its_panel(whole: Figure) -> None:
    said = {axes.get_title(loc="left"): [t.get_text() for t in axes.texts] for axes in whole.axes}
    assert said["prompt 128, new 32"] == []
    assert said["prompt 512, new 128"] == ["timeout", "oom"]
    assert sorted(said["prompt 2048, new 32"]) == ["diverged", "oom", "oom"]


def test_a_line_breaks_where_figures_are_missing() -> None:
    axes = panel(
        cell(batch=1, rate=10.0), cell(batch=2, rate=20.0), cell(batch=4, verdict="timeout"),
        cell(batch=8, rate=30.0),
    )  # fmt: skip
    assert lines(axes) == [[10.0, 20.0, None, 30.0]]
    (cross,) = [line for line in axes.lines if line.get_marker() == "x"]
    assert list(cross.get_xdata()) == [4]
    assert [text.get_text() for text in axes.texts] == ["timeout"]


def test_crosses_stand_under_every_value() -> None:
    axes = panel(cell(batch=1, rate=10.0), cell(batch=2, rate=20.0), cell(batch=4, verdict="oom"))
    (cross,) = [line for line in axes.lines if line.get_marker() == "x"]
    (strip,) = axes.patches
    assert 0 < cross.get_ydata()[0] < strip.get_height() < 0.3
    bottom, top = axes.get_ylim()
    assert (0 - bottom) / (top - bottom) == pytest.approx(strip.get_height())
    assert min(axes.get_yticks()) == 0


def test_doubtful_cells_are_hollow() -> None:
    axes = panel(cell(batch=1, rate=9.0), cell(batch=2, rate=20.0, verdict="throttled"))
    faces = {
        line.get_ydata()[0]: line.get_markerfacecolor()
        for line in axes.lines
        if line.get_marker() == "o"
    }
    assert faces[20.0] == "white"
    assert faces[9.0] != "white"


def test_whiskers_span_the_rounds() -> None:
    name, body = cell(batch=2, new=10, rate=10.0)
    body["samples"]["e2e_s"] = [1.0, 2.0, 4.0]
    axes = panel((name, body), cell(batch=4, new=10))
    assert [5.0, 20.0] in [list(line.get_ydata()) for line in axes.lines]


def test_the_dotted_line_is_the_best_arm_at_its_ceilings() -> None:
    def at(batch: int, attention: str, mfu: float) -> tuple[str, dict[str, Any]]:
        name, body = cell(attention=attention, batch=batch, new=11, rate=30.0)
        body["metrics"] |= {"ttft_s": 0.4, "e2e_s": 2.4, "mfu": mfu, "mbu": 0.2}
        return name, body

    # 11 or 22 tokens in mfu * 0.4 + 0.2 * 2.0 s: the least time is at the lower mfu.
    axes = panel(*(at(b, a, m) for b in (1, 2) for a, m in (("fmha", 0.5), ("nofmha", 0.25))))
    dotted = axes.lines[0]
    assert list(dotted.get_ydata()) == pytest.approx([11 / 0.5, 22 / 0.5])


def test_the_value_axis_is_logarithmic_over_thirty_times() -> None:
    def scale(ratio: float) -> str:
        cells = [cell(batch=b, rate=r) for b, r in ((1, 10.0), (2, 10.0 * ratio))]
        for (_, body), rate in zip(cells, (10.0, 10.0 * ratio), strict=True):
            body["metrics"]["mfu"] = None
            body["samples"]["e2e_s"] = [body["case"]["batch"] * 64 / rate]
        return panel(*cells).get_yscale()

    assert (scale(29.0), scale(31.0)) == ("linear", "log")


def test_a_panel_without_any_figure_takes_no_room() -> None:
    holes = [cell(batch=b, prompt=128, verdict="unsupported") for b in (1, 2)]
    figure = throughput_vs_batch(set_scene([document(cell(batch=1), cell(batch=2), *holes)]))
    assert figure is not None
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["prompt 512, new 64"]
    assert "left out: 2 cells where no arm makes a line" in title_of(figure)


def test_cells_of_a_lone_batch_are_counted_and_left_out() -> None:
    made = document(cell(batch=1), cell(batch=2), cell(batch=4, prompt=128), cell("a", "b"))
    figure = throughput_vs_batch(set_scene([made]))
    assert figure is not None
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["llama2-7b\nprompt 512, new 64"]
    assert "left out: 2 cells where no arm makes a line" in title_of(figure)


@pytest.mark.parametrize(
    "cells",
    [
        [],
        [cell()],
        [cell(batch=1), cell(batch=2, verdict="oom")],
        [cell(batch=1), cell(batch=2, prompt=128)],
        [cell(batch=1), cell("torch-compile", batch=2)],
    ],
)
def test_without_two_batches_of_an_arm_there_is_no_picture(
    cells: list[tuple[str, dict[str, Any]]],
) -> None:
    assert throughput_vs_batch(set_scene([document(*cells)])) is None


def test_bare_cells_do_not_stop_the_picture() -> None:
    made = document(cell(batch=1), cell(batch=2), ("x", {}), ("y", {"verdict": "ok"}))
    assert throughput_vs_batch(set_scene([made])) is not None
