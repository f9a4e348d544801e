from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from perfkit.errors import UsageError
from perfkit.reporting import compare as report
from tests.reporting.documents import cell


def document(*cells: tuple[str, dict[str, Any]], key: str | None = "gpu-a") -> dict[str, Any]:
    return {"perfkit": {"schema": 1, "machine": {"key": key}, "cells": dict(cells)}}


def rows(a: dict[str, Any], b: dict[str, Any]) -> dict[str, report.Row]:
    return {row.figure: row for row in report.compare(a, b)}


SLOW, FAST = cell(rate=100.0), cell(rate=150.0)


def test_on_one_machine_every_figure_has_its_ratio() -> None:
    found = rows(document(SLOW), document(FAST))
    assert found["output_tokens_per_s"].ratio == pytest.approx(1.5)
    assert found["output_tokens_per_s"].note == ""


def test_across_machines_only_dimensionless_figures_have_one_and_are_marked() -> None:
    name, body = cell(rate=100.0)
    body["metrics"] |= {"mfu": 0.5, "mbu": 0.2}
    found = rows(document((name, body)), document((name, body), key="gpu-b"))
    assert (found["mfu"].ratio, found["mfu"].note) == (1.0, "across machines")
    assert (found["ttft_s"].ratio, found["ttft_s"].note) == (None, "another machine")


def test_machines_without_a_key_are_not_taken_for_one() -> None:
    found = rows(document(SLOW, key=None), document(FAST, key=None))
    assert found["ttft_s"].ratio is None


@pytest.mark.parametrize(
    ("other", "note"),
    [
        (cell(verdict="unstable"), "B is unstable"),
        (cell(status="unchecked"), "B's outputs were not shown to agree"),
    ],
)
def test_what_was_timed_badly_or_computes_something_else_has_no_ratio(
    other: tuple[str, dict[str, Any]], note: str
) -> None:
    found = rows(document(SLOW), document(other))["output_tokens_per_s"]
    assert (found.ratio, found.note) == (None, note)


def test_files_without_a_common_cell_are_refused_with_what_they_have() -> None:
    with pytest.raises(UsageError, match="no cell in common: A has torch-eager/llama2-7b"):
        report.compare(document(SLOW), document(cell(batch=1)))


def test_generation_and_attention_are_no_pair() -> None:
    with pytest.raises(UsageError, match="one file holds generation"):
        report.compare(document(SLOW), {"perfkit_attention": {"cells": {}}})


def test_attention_files_compare_too() -> None:
    def attention(seconds: float, key: str) -> dict[str, Any]:
        body = {"verdict": "ok", "median_s": seconds, "share_of_ceiling": 0.9}
        return {"perfkit_attention": {"machine": {"key": key}, "cells": {"flex/x/cold": body}}}

    found = rows(attention(1e-3, "a"), attention(2e-3, "b"))
    assert (found["median_s"].ratio, found["share_of_ceiling"].ratio) == (None, 1.0)
    assert rows(attention(1e-3, "a"), attention(2e-3, "a"))["median_s"].ratio == 2.0


def test_the_table_names_a_cell_once_and_cells_of_one_file_are_told() -> None:
    a, b = document(SLOW, cell(batch=1)), document(FAST, cell(batch=32))
    console = Console(width=160, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(report.table(report.compare(a, b), "perfkit"))
    assert capture.get().count("torch-eager/llama2-7b/bf16/fmha/b8/p512/n64") == 1
    left, right = report.only_in(a, b)
    assert ("/b1/" in left[0], "/b32/" in right[0]) == (True, True)
