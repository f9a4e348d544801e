from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.errors import UsageError
from perfkit.profiling.nsys_stats import read
from tests.profiling.made import STATS, STATS_HEAD, fixture, sound

if TYPE_CHECKING:
    from pathlib import Path

US, NS = 1e-6, 1e-9
COPIES = (
    "Time (%),Total Time (ns),Count,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Operation\n"
    "100.0,500,5,100.0,100.0,90,110,1.0,[CUDA memcpy Host-to-Device]\n"
)


def rows(folder: Path, text: str | bytes) -> list[tuple[Any, ...]]:
    path = folder / "s.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    profile = read(path)
    sound(profile)
    columns = ["name", "device", "stream", "calls", "total_s"]
    return list(profile.kernels[columns].itertuples(index=False, name=None))


def test_names_with_commas_are_one_field(tmp_path: Path) -> None:
    assert rows(tmp_path, STATS) == [
        ("void gemm<int, float>(T1, T2)", "", -1, 2, pytest.approx(3000 * NS)),
        ("_rms_norm", "", -1, 1, pytest.approx(1000 * NS)),
    ]


def test_the_log_around_and_other_reports_are_passed_over(tmp_path: Path) -> None:
    text = (
        'Generating SQLite file x.sqlite from "x.nsys-rep"\n'
        "Processing [x.sqlite] with [/opt/nsys/reports/cuda_api_sum.py]...\n\n"
        " ** CUDA API Summary (cuda_api_sum):\n\n"
        "Time (%),Total Time (ns),Num Calls,Avg (ns),Name\n"
        "100.0,77,7,11.0,cudaLaunchKernel\n\n"
        "Processing [x.sqlite] with [/opt/nsys/reports/cuda_gpu_kern_sum.py]...\n\n"
        f"{STATS}\n"
        "Processing [x.sqlite] with [/opt/nsys/reports/cuda_gpu_mem_time_sum.py]...\n\n"
        f"{COPIES}\n"
        "Processing [x.sqlite] with [/opt/nsys/reports/cuda_gpu_mem_size_sum.py]...\n\n"
        "Total (MB),Count,Avg (MB),Med (MB),Min (MB),Max (MB),StdDev (MB),Operation\n"
        "1.0,5,0.2,0.2,0.2,0.2,0.0,[CUDA memcpy Host-to-Device]\n"
    )
    assert [(row[0], row[3]) for row in rows(tmp_path, text)] == [
        ("void gemm<int, float>(T1, T2)", 2),
        ("_rms_norm", 1),
        ("Memcpy HtoD", 5),
    ]


@pytest.mark.parametrize(
    ("head", "row", "expected"),
    [
        # 2021: no space before the percent, few units.
        (
            "Time(%),Total Time (ns),Instances,Average,Minimum,Maximum,Name",
            "100.0,5000,4,1250.0,1,2,k", ("k", "", -1, 4, 5 * US),
        ),
        # --timeunit usec, and thousands separators.
        (
            '"Time (%)","Total Time (us)","Instances","Avg (us)","Name"',
            '"100.0","1,234.5","1,000","1.2","k"', ("k", "", -1, 1000, 1234.5 * US),
        ),
        (
            "Time (%),Total Time (ms),Instances,Avg (ms),Category,Operation",
            "100.0,2.5,1,2.5,CUDA_KERNEL,k", ("k", "", -1, 1, 2500 * US),
        ),
        (
            "Start (ns),Duration (ns),CorrId,GrdX,Device,Ctx,Strm,Name",
            "10,700,4,1,NVIDIA H100 PCIe (1),1,13,k", ("k", "1", 13, 1, 0.7 * US),
        ),
    ],
)  # fmt: skip
def test_headers_of_other_versions_and_reports(
    tmp_path: Path, head: str, row: str, expected: tuple[Any, ...]
) -> None:
    (found,) = rows(tmp_path, f"{head}\n{row}\n")
    assert found[:4] == expected[:4]
    assert found[4] == pytest.approx(expected[4])


def test_calls_of_the_host_are_no_work_of_the_device(tmp_path: Path) -> None:
    text = (
        "Time (%),Total Time (ns),Instances,Avg (ns),Category,Operation\n"
        "90.0,900,3,300.0,CUDA_API,cudaMalloc\n"
        "10.0,100,1,100.0,CUDA_KERNEL,k\n"
    )
    assert [row[:4] for row in rows(tmp_path, text)] == [("k", "", -1, 1)]


def test_a_table_ends_at_a_blank_line(tmp_path: Path) -> None:
    text = (
        "Start (ns),Duration (ns),CorrId,Device,Strm,Name\n\n"
        "10,700,4,H100 (0),7,k\n\nGenerated: yes\n"
    )
    assert [row[0] for row in rows(tmp_path, text)] == ["k"]


def test_a_file_of_powershell_is_read(tmp_path: Path) -> None:
    assert len(rows(tmp_path, STATS.encode("utf-16"))) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (STATS_HEAD, "has no rows"),
        ("a,b\n1,2\n", "is no report of nsys stats that is read here"),
        (
            "Time (%),Total Time (ns),Num Calls,Avg (ns),Name\n100.0,7,7,1.0,cudaMalloc\n",
            "expected CSV of cuda_gpu_kern_sum",
        ),
        (STATS + "\n" + STATS, "has kernels twice: give one report at a time"),
        (STATS.replace("3000", "3.000,5"), "9 fields, expected 9"),
        (STATS.replace("3000", "3e"), "'3e' is no number"),
        (STATS.replace("3000", "1e999"), "'1e999' is no number"),
        (STATS.replace(",2,1500.0", ",0,1500.0"), "0 calls that take 3e-06 s cannot be"),
        (STATS[: STATS.index("25.0")], "kernels: its rows add up to 75.0 %, and to 3000 where"),
        (STATS[: STATS.index(", float")], "was it cut off?"),
        (STATS[:-20], "fields, expected 9: cut off?"),
    ],
)
def test_what_is_no_report_is_told(tmp_path: Path, text: str, words: str) -> None:
    if words.startswith("9 fields"):
        words = "10 fields, expected 9"
    with pytest.raises(UsageError) as told:
        rows(tmp_path, text)
    assert words in str(told.value)
    assert "s.csv" in str(told.value)


def test_reports_of_the_same_work_are_not_added_up(tmp_path: Path) -> None:
    both = (
        f"{STATS}\nTime (%),Total Time (ns),Instances,Category,Operation\n100.0,9,1,CUDA_KERNEL,k\n"
    )
    with pytest.raises(UsageError, match="hold the same work"):
        rows(tmp_path, both)


def test_the_decode_of_a_real_model() -> None:
    """Sums of the columns themselves."""
    path = fixture("nsys_stats", "dsocr_decode_cuda_gpu_kern_sum.csv")
    with path.open(newline="") as stream:
        real = list(csv.DictReader(stream))
    profile = read(path)
    sound(profile)
    assert profile.kernels["calls"].sum() == sum(int(row["Instances"]) for row in real) == 78_016
    assert profile.kernels["total_s"].sum() == pytest.approx(179_072_697 * NS)
    first = profile.kernels.iloc[0]
    assert (first["calls"], first["total_s"]) == (16_448, pytest.approx(61_602_133 * NS))
    assert first["share"] == pytest.approx(0.344, abs=5e-4)  # nsys's own 34.4 %
    assert len(profile.kernels) == len(real) == 46


def test_one_small_row_that_is_missing_is_seen(tmp_path: Path) -> None:
    # 1,000 us in all: 60.0, 38.2 and 1.8 %. Without the last 98.2 % are there, within what two
    # rounded shares may be off by; but 600 us are 60 % of 1,000, not of 982.
    head = "Time (%),Total Time (ns),Instances,Avg (ns),Name\n"
    full = head + "60.0,600000,1,1,a\n38.2,382000,1,1,b\n1.8,18000,1,1,c\n"
    assert len(rows(tmp_path, full)) == 3
    for name in "abc":
        less = "".join(line for line in full.splitlines(True) if not line.endswith(f"{name}\n"))
        with pytest.raises(UsageError, match="rows are missing"):
            rows(tmp_path, less)
