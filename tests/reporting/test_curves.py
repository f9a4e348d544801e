"""Axes of many panels: round numbers, room for words."""

from __future__ import annotations

import pytest

from perfkit.reporting.curves import Panel, Scale, Spot, numbered, steps
from perfkit.reporting.holes import HoleRow, hole_rows, margins
from perfkit.reporting.scene import set_scene
from tests.reporting.documents import cell, document


@pytest.mark.parametrize(
    ("low", "high", "log", "expected"),
    [
        (0.0, 100.0, False, [0, 20, 40, 60, 80, 100]),
        (17.0, 20.0, True, [17, 18, 19, 20]),
        (8.0, 40.0, True, [10, 15, 20, 30]),
        (20.0, 900.0, True, [20, 50, 100, 200, 500]),
        (25.0, 9000.0, True, [30, 100, 300, 1000, 3000]),
        (2.0, 2e6, True, [10, 100, 1000, 10_000, 100_000, 1_000_000]),
    ],
)
def test_axes_have_a_few_round_numbers(
    low: float, high: float, log: bool, expected: list[float]
) -> None:
    assert steps(low, high, log=log) == pytest.approx(expected)


def test_a_scale_leaves_room_below() -> None:
    linear = Scale((0.0, 100.0), log=False)
    assert linear.below(0.2) == pytest.approx(-25.0)
    logarithmic = Scale((1.0, 100.0), log=True)
    assert logarithmic.below(0.5) == pytest.approx(0.01)
    assert (linear.share(25.0), logarithmic.share(10.0)) == pytest.approx((0.25, 0.5))


def test_a_scale_of_one_value_or_none_is_linear() -> None:
    assert not Scale.of([3.0, 3.0], 1.0).log
    assert not Scale.of([], 1.0).log
    assert Scale.of([3.0, 4.0], 1.0).log


def test_numbers_that_would_touch_are_left_out() -> None:
    assert numbered([1, 2, 4], 20.0) == ["1", "2", "4"]
    assert numbered([512, 1000, 1024, 2048], 24.0) == ["512", "1000", "", "2048"]


def test_arms_that_end_alike_share_a_row() -> None:
    made = [
        cell(backend, batch=batch, verdict=verdict, attention=attention)
        for backend, attention, batch, verdict in (
            ("a", "fmha", 1, "ok"), ("a", "fmha", 2, "ok"), ("a", "fmha", 4, "oom"),
            ("a", "nofmha", 2, "oom"), ("a", "nofmha", 4, "oom"),
            ("b", "nofmha", 1, "crash"), ("b", "nofmha", 2, "oom"), ("b", "nofmha", 4, "oom"),
        )
    ]  # fmt: skip
    scene = set_scene([document(*made)])
    spots = tuple(
        Spot(c.shape[0], c, (1.0, 1.0, 1.0) if c.verdict == "ok" else None) for c in scene.cells
    )
    assert hole_rows(Panel("", spots), scene) == [
        HoleRow("crash", (1,), ("b nofmha",)),
        HoleRow("oom", (4,), ("a fmha",)),
        HoleRow("oom", (2, 4), ("a nofmha", "b nofmha")),
    ]


def test_a_word_stands_where_more_of_the_range_is() -> None:
    places = [1.0, 2.0, 4.0, 8.0]
    assert HoleRow("oom", (8.0,), ("a",)).side(places) == -1
    assert HoleRow("oom", (1.0, 2.0), ("a",)).side(places) == 1
    assert HoleRow("oom", (1.0, 8.0), ("a",)).side(places) == -1


def test_a_row_that_has_no_free_place_gets_a_margin() -> None:
    places = [1.0, 2.0, 4.0, 8.0]
    free = HoleRow("oom", (8.0,), ("a",))
    assert margins([free], places, 150.0, 0.5) == (0.5, 0.5)
    full = HoleRow("unsupported", (1.0, 2.0, 4.0, 8.0), ("a",))
    # 6 + 0.6 * 6 * 11 = 45.6 points of 150 for m of m + 3.5 octaves.
    before, behind = margins([full], places, 150.0, 0.5)
    assert before / (before + 3.5) * 150 == pytest.approx(45.6)
    assert behind == 0.5
