"""Latency over prompt length: TTFT above TPOT, and a title that says what is not shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perfkit.reporting.drawing import spread
from perfkit.reporting.plots import title_of
from perfkit.reporting.prompts import latency_vs_prompt
from perfkit.reporting.scene import set_scene
from tests.reporting.documents import cell, document, matrix
from tests.reporting.layout import clashes

if TYPE_CHECKING:
    from typing import Any

    from matplotlib.figure import Figure


@pytest.fixture(scope="module")
def whole() -> Figure:
    return draw(matrix())


def draw(made: dict[str, Any]) -> Figure:
    figure = latency_vs_prompt(set_scene([made]))
    assert figure is not None
    return figure


def test_a_matrix_shows_four_batches_at_one_new_and_says_so(whole: Figure) -> None:
    assert [axes.get_title(loc="left") for axes in whole.axes] == [
        f"batch {batch}" for batch in (1, 4, 16, 64)
    ] * 2
    assert "128 new tokens (left out: batch 2, 8, 32; new 32)" in title_of(whole)
    assert whole.axes[0].get_ylabel() == "TTFT (ms), log axis"
    assert whole.axes[4].get_ylabel() == "TPOT (ms), log axis"


def test_no_words_of_a_matrix_touch_or_leave_the_picture(whole: Figure) -> None:
    assert clashes(whole) == []


def test_holes_are_told_in_both_rows(whole: Figure) -> None:
    words = [sorted(text.get_text() for text in axes.texts) for axes in whole.axes]
    assert words[:4] == words[4:] == [[], [], ["diverged", "oom"], ["oom", "oom"]]


def test_lines_are_the_figures_in_ms_with_whiskers_of_the_rounds() -> None:
    one, two = cell(prompt=128, new=11), cell(prompt=256, new=11)
    for (_, body), scale in ((one, 1.0), (two, 2.0)):
        body["metrics"] |= {"ttft_s": 0.02 * scale, "tpot_s": 0.004 * scale}
        body["samples"] |= {"ttft_s": [0.01, 0.03], "e2e_s": [0.04, 0.13]}
    upper, lower = draw(document(one, two)).axes
    assert list(upper.lines[0].get_ydata()) == pytest.approx([20.0, 40.0])
    assert list(upper.lines[1].get_ydata()) == pytest.approx([10.0, 30.0])
    assert list(lower.lines[0].get_ydata()) == pytest.approx([4.0, 8.0])
    # (40 - 10) / 10 and (130 - 30) / 10 ms a token.
    assert list(lower.lines[1].get_ydata()) == pytest.approx([3.0, 10.0])


def test_without_tpot_its_row_is_left_out() -> None:
    cells = [cell(prompt=prompt, new=2) for prompt in (128, 256)]
    for _, body in cells:
        body["metrics"]["tpot_s"] = None
    (axes,) = draw(document(*cells)).axes
    assert axes.get_ylabel().startswith("TTFT")


def test_the_new_tokens_that_most_cells_have_are_chosen() -> None:
    made = [cell(prompt=p, new=n) for p, n in ((128, 8), (256, 8), (512, 8), (128, 64), (256, 64))]
    assert "8 new tokens (left out: new 64)" in title_of(draw(document(*made)))
    assert "64 new tokens (left out: new 8)" in title_of(draw(document(*made[:2], *made[3:])))


def test_models_without_a_line_are_named() -> None:
    made = document(cell(prompt=128), cell(prompt=256), cell(model="gpt2-xl"))
    assert "llama2-7b: 64" not in title_of(draw(made))
    assert "64 new tokens; left out: gpt2-xl" in title_of(draw(made))


def test_values_are_spread_with_first_and_last() -> None:
    assert spread([1, 2, 4, 8, 16, 32, 64], 4) == [1, 4, 16, 64]
    assert spread([1, 2, 4, 8, 16], 4) == [1, 2, 8, 16]
    assert spread([1, 8, 32], 4) == [1, 8, 32]


@pytest.mark.parametrize(
    "cells",
    [
        [],
        [cell()],
        [cell(prompt=128), cell(prompt=256, verdict="oom")],
        [cell(prompt=128), cell(prompt=256, batch=2)],
        [cell(prompt=128), cell(prompt=256, new=8)],
    ],
)
def test_without_two_prompts_of_an_arm_there_is_no_picture(
    cells: list[tuple[str, dict[str, Any]]],
) -> None:
    assert latency_vs_prompt(set_scene([document(*cells)])) is None
