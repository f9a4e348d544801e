from __future__ import annotations

from typing import Any

import pytest

from perfkit.reporting import effects
from perfkit.reporting.chart_rows import effect_rows
from perfkit.reporting.pooled import rows
from tests.reporting.documents import cell, document
from tests.reporting.test_pooled import run


def test_a_cell_stands_at_its_quotient_with_its_interval() -> None:
    made = rows([run(140.0, "a"), run(150.0, "b"), run(145.0, "c")])
    (row,) = effect_rows(made)
    change = made[0].effect
    assert change is not None
    assert change.interval is not None
    assert row["times"] == pytest.approx(1.45)
    assert (row["low"], row["high"]) == tuple(1 + end for end in change.interval)
    assert (row["runs"], row["cell"]) == (3, "torch-eager/llama2-7b/bf16/fmha/b8/p512/n64")
    figure = effects.figure(made)
    assert figure is not None
    line = figure.axes[0].lines[1]
    assert list(line.get_xdata()) == [row["low"], row["high"]]


def test_a_cell_of_two_machines_has_a_name_for_each() -> None:
    made = rows([run(140.0), run(150.0, "b", key="h100")])
    assert effects.names(effects.shown(made)) == [
        "torch-eager/llama2-7b/bf16/fmha/b8/p512/n64, H100 abc123",
        "torch-eager/llama2-7b/bf16/fmha/b8/p512/n64, H200 abc123",
    ]


def test_the_largest_are_drawn_and_without_any_there_is_no_picture() -> None:
    cells: list[Any] = [
        cell(attention=attention, batch=batch, rate=rate)
        for batch in range(1, 41)
        for attention, rate in (("nofmha", 100.0), ("fmha", 100.0 + batch))
    ]
    made = effects.shown(rows([document(*cells)]))
    assert len(made) == effects.MOST
    assert made[0].effect is not None
    assert made[0].effect.value == pytest.approx(0.4)
    assert effects.figure(rows([document(cell())])) is None
