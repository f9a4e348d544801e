"""A sweep on a GPU: real out of memory, and memory that comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sweep.command import swept

if TYPE_CHECKING:
    from pathlib import Path

# The scores of the large cell are 131 GB in one tensor, on any GPU more than is free beside them.
MATRIX = """
device = "gpu"
[[include]]
backend = "torch-eager"
model = "llama-tiny"
precision = ["bf16", "fp32"]
attention = ["nofmha", "fmha"]
batch = 1
prompt_len = 16
new_tokens = 4

[[include]]
backend = "torch-eager"
model = "llama-tiny"
precision = "fp32"
attention = "nofmha"
batch = 4096
prompt_len = 1000
new_tokens = 4
"""


@pytest.mark.gpu
def test_a_cell_out_of_memory_costs_no_other_and_the_gpu_is_as_free_as_before(
    tmp_path: Path,
) -> None:
    said, rows = swept(tmp_path, MATRIX)
    large = rows.pop("torch-eager/llama-tiny/fp32/nofmha/b4096/p1000/n4/tp1")
    assert large["verdict"] == "oom"
    assert "asked" in large["reason"]
    assert len(rows) == 4
    assert all(float(row["ttft_s"]) > 0 for row in rows.values())
    looked = [line for line in said.splitlines() if " in use " in line]
    assert len(looked) == 4  # before and after each of the two groups
    assert all(line.endswith("as at first") for line in looked[1:])
