"""``perfkit sweep`` as a person types it, with real cells."""

from __future__ import annotations

import json
import resource
from typing import TYPE_CHECKING

import pytest

from tests.sweep.command import swept

if TYPE_CHECKING:
    from pathlib import Path

MATRIX = """
device = "cpu"
[[include]]
backend = "torch-eager"
model = "llama-tiny"
precision = "fp32"
attention = ["nofmha", "fmha"]
batch = 1
prompt_len = 8
new_tokens = 2

# Its scores alone take 19 GiB.
[[include]]
backend = "torch-eager"
model = "llama-tiny"
precision = "fp32"
attention = "nofmha"
batch = 640
prompt_len = 1000
new_tokens = 2
"""
GIB = 2**30


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (20 * GIB, 20 * GIB))


@pytest.mark.slow
@pytest.mark.usefixtures("no_ceilings")
def test_real_cells_are_measured_and_one_out_of_memory_costs_no_other(tmp_path: Path) -> None:
    _, rows = swept(tmp_path, MATRIX, _limited)
    large = rows.pop("torch-eager/llama-tiny/fp32/nofmha/b640/p1000/n2/tp1")
    assert large["verdict"] == "oom"
    assert "asked" in large["reason"]
    assert len(rows) == 2
    assert all(float(row["ttft_s"]) > 0 for row in rows.values())
    text = (tmp_path / "data" / "matrix_results.json").read_text(encoding="utf-8")
    document = json.loads(text)
    assert len(document["benchmarks"]) == 2
    assert len(document["perfkit"]["cells"]) == 3
