from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from perfkit.profiling_commands.parse import stem
from tests.here import perfkit
from tests.profiling.made import NCU_HEAD, fixture, kernel, ncu_row, nsys, trace

if TYPE_CHECKING:
    from pathlib import Path


def test_classes_kernels_and_phases_are_printed_and_written(tmp_path: Path) -> None:
    nsys(tmp_path / "run.sqlite")
    done = perfkit(tmp_path, "parse", "run.sqlite")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    # Class, calls, ms, share, and of that prefill and decode: 3000 of 5650 ns are the GEMM's.
    assert ["gemm", "1", "0.003", "53.1", "0.003", "0.000"] in lines
    assert ["fmha", "2", "0.003", "44.2", "0.000", "0.003"] in lines
    assert ["all", "5", "0.006", "100.0", "0.003", "0.003"] in lines
    row = ["sm90_xmma_gemm_bf16", "gemm", "prefill", "0", "7", "1", "0.003", "3.00", "53.1"]
    assert row in lines
    made = ["profiles/run_kernels.csv", "plots/timeline.png"]
    assert done.stdout.splitlines()[-2:] == made
    assert all((tmp_path / name).is_file() for name in made)
    table = pd.read_csv(tmp_path / "profiles/run_kernels.csv")
    assert list(table.columns) == [
        "name", "class", "phase", "device", "stream", "calls", "total_s", "mean_s", "share",
    ]  # fmt: skip
    assert table["calls"].sum() == 5
    assert table["share"].sum() == pytest.approx(1)


def test_ncus_figures_have_a_table_and_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text(
        NCU_HEAD
        + ncu_row(0, "flash", "Duration", "us", "3")
        + ncu_row(0, "flash", "L2 Hit Rate", "%", "12.25")
    )
    done = perfkit(tmp_path, "parse", "n.csv", "--csv", "out/mine.csv")
    assert done.returncode == 0, done.stderr
    found = [line.split() for line in done.stdout.splitlines() if line.startswith("flash")]
    assert found[1] == ["flash", "0", "3.00", *("–" * 6), "12.2"]
    assert "note: ncu runs each kernel alone" in done.stdout
    assert done.stdout.splitlines()[-2:] == ["out/mine.csv", "out/mine_metrics.csv"]
    metrics = pd.read_csv(tmp_path / "out/mine_metrics.csv")
    assert metrics["l2_hit_pct"].tolist() == [12.25]


def test_only_the_longest_are_printed_and_all_are_written(tmp_path: Path) -> None:
    trace(tmp_path / "t.json", [kernel(f"k{at}", at, at + 1, at) for at in range(30)])
    done = perfkit(tmp_path, "parse", "t.json", "--top", "2")
    assert "kernel: 2 of 30 rows" in done.stdout
    named = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("k")]
    assert named == ["kernel:", "k29", "k28"]
    assert len(pd.read_csv(tmp_path / "profiles/t_kernels.csv")) == 30


def test_names_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    """Neither escapes nor rich's own markup."""
    trace(tmp_path / "t.json", [kernel("\x1b[31m[bold]gemm[/bold]", 1, 1, 1)])
    done = perfkit(tmp_path, "parse", "t.json")
    assert "?[31m[bold]gemm[/bold]" in done.stdout
    assert "\x1b" not in done.stdout


def test_what_is_no_profile_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n")
    done = perfkit(tmp_path, "parse", "x.csv")
    assert done.returncode == 2
    assert done.stderr.startswith("perfkit: x.csv is no profile that is read here: expected")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "profiles").exists()


def test_a_file_is_named_after_its_profile(tmp_path: Path) -> None:
    assert stem(tmp_path / "rank-3.pt.trace.json.gz") == "rank-3"
    assert stem(tmp_path / "a.b.sqlite") == "a.b"


def test_a_real_trace_on_the_command_line(tmp_path: Path) -> None:
    real = fixture("torch_trace", "tracelens_h100_Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz")
    done = perfkit(tmp_path, "parse", str(real))
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["fmha", "34", "3.855", "8.4"] in lines
    assert ["all", "1,707", "45.647", "100.0"] in lines


def test_a_profile_is_never_written_over(tmp_path: Path) -> None:
    text = NCU_HEAD + ncu_row(0, "flash", "Duration", "us", "3")
    source = tmp_path / "p_metrics.csv"
    source.write_text(text)
    (tmp_path / "sub").mkdir()
    for asked in ("p_kernels.csv", "p.csv", "sub/../p_metrics.csv"):
        done = perfkit(tmp_path, "parse", "p_metrics.csv", "--csv", asked)
        assert (done.returncode, "is the profile itself" in done.stderr) == (2, True), asked
    assert source.read_text() == text
