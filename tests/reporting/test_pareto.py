"""Throughput against latency: fronts by hand, and only of what may be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perfkit.reporting.pareto import (
    pareto_front,
    places_along,
    throughput_latency_pareto,
    with_room,
)
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
    return draw(matrix())


def draw(made: dict[str, Any]) -> Figure:
    figure = throughput_latency_pareto(set_scene([made]))
    assert figure is not None
    return figure


def timed(batch: int, e2e_s: float, rate: float, **words: Any) -> tuple[str, dict[str, Any]]:
    name, body = cell(batch=batch, rate=rate, **words)
    body["metrics"]["e2e_s"] = e2e_s
    return name, body


def front(axes: Axes) -> list[tuple[float, float]]:
    return [tuple(point) for point in axes.lines[0].get_xydata()]


@pytest.mark.parametrize(
    ("points", "kept"),
    [
        ([], []),
        ([(1.0, 5.0)], [(1.0, 5.0)]),
        # Slower and less: beaten. Slower and more, or faster and less: a choice.
        ([(3.0, 9.0), (1.0, 5.0), (2.0, 4.0)], [(1.0, 5.0), (3.0, 9.0)]),
        # As slow and less, or as much and slower: beaten.
        ([(1.0, 5.0), (1.0, 7.0)], [(1.0, 7.0)]),
        ([(2.0, 5.0), (1.0, 5.0)], [(1.0, 5.0)]),
        # The same twice: once.
        ([(1.0, 5.0), (1.0, 5.0), (2.0, 6.0)], [(1.0, 5.0), (2.0, 6.0)]),
        ([(4.0, 1.0), (3.0, 2.0), (2.0, 3.0), (1.0, 4.0)], [(1.0, 4.0)]),
    ],
)
def test_the_front_by_hand(
    points: list[tuple[float, float]], kept: list[tuple[float, float]]
) -> None:
    assert pareto_front(points) == kept
    assert pareto_front(reversed(points)) == kept


def test_a_front_takes_the_best_and_leaves_the_beaten_as_points() -> None:
    made = document(timed(1, 1.0, 50.0), timed(2, 2.0, 80.0), timed(4, 4.0, 70.0))
    (axes,) = draw(made).axes
    assert front(axes) == [(1.0, 50.0), (2.0, 80.0)]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert sorted(point.get_xdata()[0] for point in points) == [1.0, 2.0, 4.0]


def test_doubtful_cells_are_hollow_and_no_part_of_a_front() -> None:
    made = document(
        timed(1, 1.0, 50.0), timed(2, 1.5, 99.0, verdict="unstable"), timed(4, 2.0, 80.0)
    )
    (axes,) = draw(made).axes
    assert front(axes) == [(1.0, 50.0), (2.0, 80.0)]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert [line.get_xydata().tolist() for line in hollow] == [[[1.5, 99.0]]]


def test_each_arm_has_its_own_front() -> None:
    made = document(
        timed(1, 1.0, 50.0), timed(2, 2.0, 80.0),
        timed(1, 0.5, 90.0, backend="torch-compile"), timed(2, 0.6, 95.0, backend="torch-compile"),
    )  # fmt: skip
    (axes,) = draw(made).axes
    fronts = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "None"]
    assert sorted(fronts) == [[[0.5, 90.0], [0.6, 95.0]], [[1.0, 50.0], [2.0, 80.0]]]


def test_cells_without_figures_are_counted() -> None:
    made = document(
        timed(1, 1.0, 50.0), timed(2, 2.0, 80.0), cell(batch=4, verdict="oom"),
        cell(batch=8, verdict="oom"), cell(batch=16, verdict="crash"),
    )  # fmt: skip
    (axes,) = draw(made).axes
    said = [text.get_text().replace("\N{NO-BREAK SPACE}", " ") for text in axes.texts]
    assert said[-1] == "no point: 1 crash, 2 oom"


def test_a_matrix_has_a_panel_for_each_prompt_and_new(whole: Figure) -> None:
    assert len(whole.axes) == 8
    assert whole.axes[0].get_xlabel() == "e2e latency (s), log axis"
    assert "llama2-7b" in title_of(whole)
    for axes in whole.axes:
        batches = {text.get_text() for text in axes.texts} & {"1", "2", "4", "8", "16", "32", "64"}
        assert len(batches) >= 4


def test_no_words_of_a_matrix_touch_or_leave_the_picture(whole: Figure) -> None:
    assert clashes(whole) == []


def test_words_stand_left_or_above_or_nowhere() -> None:
    alone = {0: ((50.0, 50.0), "8")}
    assert with_room(alone, [(50.0, 50.0)]) == {0: "right"}
    assert with_room(alone, [(50.0, 50.0), (44.0, 53.0)]) == {0: "center"}
    assert with_room(alone, [(44.0, 53.0), (50.0, 57.0)]) == {}


def test_of_words_in_each_others_way_the_first_stands() -> None:
    assert with_room({0: ((50.0, 50.0), "16"), 1: ((51.0, 51.0), "16")}, []) == {0: "right"}
    assert with_room({0: ((50.0, 50.0), "16"), 1: ((90.0, 50.0), "16")}, []) == dict.fromkeys(
        (0, 1), "right"
    )


def test_a_line_takes_the_places_along_it() -> None:
    assert places_along([(0.0, 0.0), (0.0, 6.0)]) == [(0.0, 0.0), (0.0, 3.0), (0.0, 6.0)]
    assert places_along([(0.0, 0.0)]) == []


@pytest.mark.parametrize(
    "cells",
    [
        [],
        [cell()],
        [cell(batch=1), cell(batch=2, verdict="oom")],
        [cell(batch=1), cell(batch=2, verdict="unstable")],
        [cell(batch=1), cell("torch-compile", batch=2)],
        [cell(batch=1), cell(batch=2, prompt=128)],
    ],
)
def test_without_two_cells_to_compare_there_is_no_picture(
    cells: list[tuple[str, dict[str, Any]]],
) -> None:
    assert throughput_latency_pareto(set_scene([document(*cells)])) is None
