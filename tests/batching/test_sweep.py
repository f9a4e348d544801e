from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest

from perfkit.batching import sweep
from perfkit.batching.policies import Dynamic, OneByOne, Static
from perfkit.batching.sweep import Grid
from perfkit.errors import UsageError

TAU = np.array([0.0, *(0.012 + 0.0008 * b for b in range(1, 9))])
GRID = Grid((8,), (0.0, 0.02), (0.3, 0.99), requests=2_000, seeds=3, slo_s=0.05)


def test_a_grid_is_every_policy_at_every_load() -> None:
    assert GRID.policies() == (OneByOne(), Static(8), Dynamic(8, 0.0), Dynamic(8, 0.02))
    assert sweep.size(GRID) == 8


def test_every_point_is_a_row_of_the_table_with_theory_where_there_is_one() -> None:
    rows = [sweep.row(found, GRID, "a table", per_s) for found, per_s in sweep.points(GRID, TAU)]
    read = list(csv.DictReader(io.StringIO(sweep.table(rows))))
    assert len(read) == 8
    assert tuple(read[0]) == sweep.COLUMNS
    by_name = {(row["policy"], row["delay_us"], row["rho"][:4]): row for row in read}
    greedy = by_name["dynamic", "0.0", "0.3"]
    assert abs(float(greedy["theory_err"])) < 0.1
    assert greedy["stable"] == "True"
    assert by_name["dynamic", "0.0", "0.99"]["stable"] == "False"
    assert by_name["dynamic", "20000.0", "0.3"]["theory_wait"] == ""
    assert by_name["static", "", "0.3"]["mean_batch"] == "8.0"
    assert all(float(row["little_err"]) < 1e-9 for row in read)
    assert all(float(row["goodput"]) <= float(row["throughput"]) for row in read)


def test_the_middle_batch_is_what_half_of_them_have_at_most() -> None:
    # Sizes 1, 1, 2, 4: two of four have at most 1.
    assert sweep.middle_batch(np.array([0, 2, 1, 0, 1])) == 1
    assert sweep.middle_batch(np.array([0, 1, 2, 0, 1])) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_batches": ()}, "max_batches is empty"),
        ({"loads": (0.5, -1.0)}, "load -1.0"),
        ({"loads": (float("nan"),)}, "load nan"),
        ({"delays_s": ()}, "delays_s is empty"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    fields: dict[str, Any] = {"max_batches": (8,), "delays_s": (0.0,), "loads": (0.5,)}
    with pytest.raises(UsageError, match=words):
        Grid(**{**fields, **changes})
