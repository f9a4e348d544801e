"""Every cell has a row, whatever became of it."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.reporting.frame import COLUMNS, rows, write_csv
from tests.reporting.documents import cell, document, large, small

if TYPE_CHECKING:
    from pathlib import Path


def test_a_row_holds_what_the_cell_holds() -> None:
    (row,) = rows(document(cell(batch=8, prompt=512, rate=123.5)))
    assert row["cell"] == "torch-eager/llama2-7b/bf16/fmha/b8/p512/n64/tp1"
    assert (row["batch"], row["prompt_len"], row["verdict"]) == (8, 512, "ok")
    assert row["output_tokens_per_s"] == 123.5
    assert row["energy_j_per_token"] is None
    assert row["itl_p50_s"] < row["itl_p99_s"]
    assert (row["agreement"], row["relative_l2"]) == ("agrees", 3.1e-3)
    assert (row["attention_prefill"], row["attention_decode"]) == ("flash", "flash")
    assert (row["machine_key"], row["commit_id"], row["seed"]) == ("h200", "abc123", 7)
    assert row["forecast_total_bytes"] > 12 * 2**30


def test_every_row_has_every_column() -> None:
    for row in rows(large()):
        assert set(COLUMNS) == set(row)


@pytest.mark.parametrize(
    "bare",
    [{}, {"perfkit": None}, {"perfkit": {"cells": {"x": {}}}},
     {"commit_info": None, "perfkit": {"cells": {"x": {"quantiles": None, "metrics": None}}}}],
)  # fmt: skip
def test_missing_keys_are_null(bare: dict[str, object]) -> None:
    for row in rows(bare):
        assert row.pop("cell") == "x"
        assert set(row.values()) == {None}


@pytest.mark.parametrize("made", [large(), small(), document()])
def test_the_csv_has_every_cell(made: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "new" / "cells.csv"
    write_csv(made, path)
    with path.open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["cell"] for row in read] == list(made["perfkit"]["cells"])
    assert [p.name for p in path.parent.iterdir()] == ["cells.csv"]


def test_bytes_stay_integers_and_null_is_empty(tmp_path: Path) -> None:
    write_csv(document(cell(), cell(batch=32, verdict="oom")), tmp_path / "c.csv")
    with (tmp_path / "c.csv").open(newline="") as file:
        timed, oom = csv.DictReader(file)
    assert timed["peak_allocated_bytes"] == str(13 * 2**30)
    assert oom["peak_allocated_bytes"] == ""
    assert (oom["verdict"], oom["reason"]) == ("oom", "oom: made up for a test")
