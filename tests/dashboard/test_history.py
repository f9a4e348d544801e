from __future__ import annotations

from perfkit.dashboard.history import runs_of
from perfkit.dashboard.slim import slim
from perfkit.dashboard.table import cells_frame
from tests.dashboard.files import run

CELL = "torch-eager/llama2-7b/bf16/fmha/b8/p512/n64/tp1"


def test_runs_are_in_time_and_each_change_stands_at_the_first_run_that_has_it() -> None:
    runs = (
        run(day=3, rate=120.0, commit="def456", driver="590.2"),
        run(day=1),
        run(day=2, rate=110.0, commit="def456"),
        run(day=4, rate=121.0, commit="def456", driver="590.2"),
    )
    made = runs_of(cells_frame((str(i), slim(one, "perfkit")) for i, one in enumerate(runs)), CELL)
    assert list(made["file"]) == ["1", "2", "0", "3"]
    assert list(made["run"]) == [1, 2, 3, 4]
    assert list(made["output tok/s"]) == [100.0, 110.0, 120.0, 121.0]
    assert list(made["changed"]) == ["", "", "driver 580.1 → 590.2", ""]
    assert list(made["code_changed"]) == ["", "commit abc123 → def456", "", ""]


def test_a_cell_that_is_not_there_has_no_runs() -> None:
    assert runs_of(cells_frame([("a", slim(run(), "perfkit"))]), "none").empty
