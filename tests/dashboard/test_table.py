from __future__ import annotations

import pandas as pd
import pytest

from perfkit.dashboard import table
from perfkit.dashboard.slim import slim
from tests.dashboard.files import run
from tests.reporting.documents import cell, document


def frame() -> pd.DataFrame:
    runs = (("a", run(day=1)), ("b", run(day=2, rate=110.0, commit="def456")))
    return table.cells_frame((label, slim(one, "perfkit")) for label, one in runs)


def test_a_row_a_cell_in_units_that_people_read() -> None:
    made = frame()
    assert tuple(made.columns) == table.COLUMNS
    assert len(made) == 8
    row = made.iloc[1]
    whole = run(day=1)["perfkit"]["cells"][row["cell"]]["metrics"]
    assert row["output tok/s"] == 100.0
    assert row["TTFT ms"] == pytest.approx(1e3 * whole["ttft_s"])
    assert row["MFU %"] == pytest.approx(100 * whole["mfu"])
    assert row["peak allocated GiB"] == 13.0
    assert (row["machine"], row["driver"], row["commit"]) == ("GPU A", "580.1", "abc123")
    assert row["date"] == pd.Timestamp("2026-11-01T10:00:00Z")
    assert row["arm"] == "torch-eager fmha bf16"


def test_an_empty_table_has_all_columns() -> None:
    made = table.cells_frame([])
    assert tuple(made.columns) == table.COLUMNS
    assert table.chosen(made, ["x"], [], []).empty
    assert table.groups(table.latest(made)) == {}


def test_what_a_file_does_not_say_is_unknown_and_changed_files_are_told() -> None:
    bare = slim({"perfkit": {"schema": 1, "cells": dict([cell()])}}, "perfkit")
    row = table.cells_frame([("x", bare)]).iloc[0]
    assert {row[name] for name in table.ENVIRONMENT} == {table.UNKNOWN}
    assert pd.isna(row["date"])
    dirty = {"commit_info": {"id": "0123456789ab", "dirty": True}}
    assert table.commit_of(dirty) == "01234567, changed"


def test_none_picked_means_all() -> None:
    made = frame()
    assert len(table.chosen(made, [], [], [])) == 8
    assert set(table.chosen(made, [], [], ["def456"])["file"]) == {"b"}
    assert table.chosen(made, ["gpu-b"], [], []).empty
    assert len(table.chosen(made, ["gpu-a"], ["llama2-7b"], ["abc123", "def456"])) == 8


def test_latest_is_the_newest_run_of_each_cell_on_each_machine() -> None:
    newest = table.latest(frame())
    assert len(newest) == 4
    assert set(newest["file"]) == {"b"}


def test_machines_of_one_name_are_told_apart_in_groups() -> None:
    one, other = (
        document(cell(batch=8), cell(batch=1), machine={"key": key, "name": "GPU"})
        for key in ("gpu-1", "gpu-2")
    )
    made = table.cells_frame([("a", slim(one, "perfkit")), ("b", slim(other, "perfkit"))])
    assert {name: len(rows) for name, rows in table.groups(made).items()} == {
        "llama2-7b, prompt 512, 64 new tokens, GPU": 2,
        "llama2-7b, prompt 512, 64 new tokens, GPU (gpu-2)": 2,
    }
