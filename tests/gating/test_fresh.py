from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perfkit.errors import UsageError
from perfkit.gating.fresh import fresh_run
from perfkit.suite import Measuring, command

if TYPE_CHECKING:
    from pathlib import Path

CELLS = [f"torch-eager/llama-tiny/fp32/{kind}/b2/p16/n8/tp1" for kind in ("nofmha", "fmha")]


def measuring(matrix: str = "smoke") -> Measuring:
    return Measuring((matrix,), None, "cpu", None, rounds=1, max_warmup=1, seed=0, for_gate=True)


@pytest.mark.thorough
def test_a_fresh_run_has_canaries_at_both_ends_and_its_cells(tmp_path: Path) -> None:
    found = fresh_run(measuring(), CELLS, tmp_path / "new" / "run.json", seed=3)["perfkit"]
    assert set(found["cells"]) == set(CELLS)
    assert [set(reading) for reading in found["canaries"]] == [{"gemm", "copy", "host"}] * 2
    assert found["ceilings"] is None
    session = found["session"]
    assert (session["seed"], session["rounds"], session["matrices"]) == (3, 1, ["smoke"])


def test_a_run_that_leaves_no_file_says_what_pytest_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"(?s)a run ended with 4 and no result file.*nowhere"):
        fresh_run(measuring("nowhere"), CELLS, tmp_path / "run.json", seed=0)


def test_another_checkout_runs_its_own_suite(tmp_path: Path) -> None:
    made = command(
        measuring(), CELLS, output=None, journal=None, resume=False, root=tmp_path / "other"
    )
    assert made[made.index("--rootdir") + 1] == str(tmp_path / "other")
    assert made[-1].startswith(str(tmp_path / "other" / "benchmarks" / "test_generation.py::"))
