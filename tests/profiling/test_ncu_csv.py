from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from perfkit.errors import UsageError
from perfkit.profiling.ncu_csv import METRICS, read
from tests.profiling.made import NCU_HEAD, fixture, ncu_row, sound

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.profiling.table import Profile

RAW = (
    "==PROF== Connected to process 5\n"
    '"ID","Process ID","Kernel Name","Stream","Block Size","Grid Size","Device",'
    '"gpu__time_duration.sum","sm__throughput.avg.pct_of_peak_sustained_elapsed",'
    '"launch__registers_per_thread","dram__bytes.sum"\n'
    '"","","","","","","","us","%","register/thread","Mbyte"\n'
    '"0","5","gemm<int, 4>","7","(128, 1, 1)","(2, 1, 1)","0","1,250.5","81.25","168","1,000.5"\n'
    '"1","5","gemm<int, 4>","7","(128, 1, 1)","(2, 1, 1)","0","749.5","80","168","3"\n'
    '"2","5","_rms_norm","7","(32, 1, 1)","(9, 1, 1)","0","500","1.5","n/a","3"\n'
    "==PROF== Disconnected from process 5\n"
)
DETAILS = (
    'the program says "hello"\n"and leaves a quote open\n'
    + NCU_HEAD
    + ncu_row(0, "k<1, 2>", "Duration", "us", "1,010.98")
    + ncu_row(0, "k<1, 2>", "Memory Throughput", "%", "24.67", "GPU Speed Of Light Throughput")
    + ncu_row(0, "k<1, 2>", "Memory Throughput", "Gbyte/s", "433.35", "Memory Workload Analysis")
    + ncu_row(0, "k<1, 2>", "Compute (SM) Throughput", "%", "8.84")
    + ncu_row(0, "k<1, 2>", "Achieved Occupancy", "%", "8.14")
    + ncu_row(0, "k<1, 2>", "Registers Per Thread", "register/thread", "1,24").replace(
        "1,24", "124"
    )
    + ncu_row(0, "k<1, 2>", "L2 Hit Rate", "%", "11.68")
    + ncu_row(0, "k<1, 2>", "", "", "").replace('"",""\n', '"","SOLBottleneck","OPT"\n')
    + "==WARNING== about the rest\n"
    + ncu_row(1, "k<1, 2>", "Duration", "msecond", "2")
)


def made(folder: Path, text: str) -> Profile:
    path = folder / "n.csv"
    path.write_text(text)
    profile = read(path)
    sound(profile)
    return profile


def test_the_raw_page_has_a_row_of_units(tmp_path: Path) -> None:
    profile = made(tmp_path, RAW)
    assert profile.metrics is not None
    assert profile.metrics["duration_s"].tolist() == pytest.approx([1.2505e-3, 7.495e-4, 5e-4])
    assert profile.metrics["sm_throughput_pct"].tolist() == [81.25, 80, 1.5]
    assert profile.metrics["registers"].tolist()[:2] == [168, 168]
    assert profile.metrics["grid"].tolist() == ["(2, 1, 1)", "(2, 1, 1)", "(9, 1, 1)"]
    assert profile.metrics.loc[2, ["registers", "l2_hit_pct"]].isna().all()
    columns = ["name", "class", "device", "stream", "calls", "total_s", "share"]
    assert list(profile.kernels[columns].itertuples(index=False, name=None)) == [
        ("gemm<int, 4>", "gemm", "0", 7, 2, pytest.approx(2e-3), pytest.approx(0.8)),
        ("_rms_norm", "norm", "0", 7, 1, pytest.approx(5e-4), pytest.approx(0.2)),
    ]


def test_the_page_of_details_has_logs_rules_and_one_name_twice(tmp_path: Path) -> None:
    profile = made(tmp_path, DETAILS)
    assert profile.metrics is not None
    first, second = profile.metrics.to_dict("records")
    assert {name: first[name] for name in METRICS if name != "tensor_pipe_pct"} == pytest.approx(
        {
            "duration_s": 1010.98e-6,
            "sm_throughput_pct": 8.84,
            "memory_throughput_pct": 24.67,
            "dram_throughput_pct": float("nan"),
            "achieved_occupancy_pct": 8.14,
            "registers": 124,
            "l2_hit_pct": 11.68,
        },
        nan_ok=True,
    )
    assert (first["name"], first["block"], first["stream"]) == ("k<1, 2>", "(128, 1, 1)", 7)
    assert second["duration_s"] == pytest.approx(2e-3)


@pytest.mark.parametrize(
    ("unit", "seconds"),
    [("nsecond", 4e-9), ("ns", 4e-9), ("usecond", 4e-6), ("us", 4e-6), ("ms", 4e-3), ("s", 4.0)],
)
def test_each_unit_of_time(tmp_path: Path, unit: str, seconds: float) -> None:
    row = ncu_row(0, "k", "gpu__time_duration.sum", unit, "4")
    assert made(tmp_path, NCU_HEAD + row).kernels["total_s"].tolist() == pytest.approx([seconds])


def test_a_launch_without_a_duration_makes_no_number_up(tmp_path: Path) -> None:
    text = (
        NCU_HEAD
        + ncu_row(0, "k", "Duration", "us", "3")
        + ncu_row(1, "k", "Registers Per Thread", "", "16")
        + ncu_row(2, "other", "Duration", "us", "2")
        + ncu_row(3, "cycles", "Duration", "cycle", "2")
    )
    profile = made(tmp_path, text)
    found = {row["name"]: row for row in profile.kernels.to_dict("records")}
    assert found["other"]["share"] == 1.0
    assert found["k"]["calls"] == 2
    assert found["k"]["total_s"] != found["k"]["total_s"]  # NaN: one of the two is not known
    assert found["cycles"]["share"] != found["cycles"]["share"]
    assert "2 launches have no duration" in profile.notes[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("==PROF== Connected\n", "no row has ID and Kernel Name"),
        (NCU_HEAD, "no launch below its header"),
        (NCU_HEAD.replace('"ID",', '"Invocations",'), "is a summary (--print-summary)"),
        (NCU_HEAD + ncu_row(0, "k", "Duration", "us", "4,76"), "'4,76' is no number"),
        (NCU_HEAD + ncu_row(0, "k", "Duration", "us", "-4"), "Duration is -4, which cannot be"),
        (NCU_HEAD + "hello from the program\n", "a program's output mixed in"),
        (RAW[: RAW.index('","168","3"')], "was it cut off?"),
        (RAW[: RAW.index(',"168","3"')], "was the file cut off"),
        (RAW.replace('"1","5"', '"0","5"'), "launch 0 is there twice"),
    ],
)
def test_what_is_no_page_is_told(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError) as told:
        made(tmp_path, text)
    assert words in str(told.value)
    assert "n.csv" in str(told.value)


def test_flash_attention_on_a_blackwell() -> None:
    profile = read(fixture("ncu_csv", "dsocr_k0013_details.csv"))
    sound(profile)
    assert profile.metrics is not None
    (row,) = profile.metrics.to_dict("records")
    assert row["duration_s"] == pytest.approx(10.98e-6)
    assert (row["sm_throughput_pct"], row["memory_throughput_pct"]) == (8.84, 24.67)
    assert (row["dram_throughput_pct"], row["achieved_occupancy_pct"]) == (24.67, 8.14)
    assert (row["l2_hit_pct"], row["grid"]) == (11.68, "(1, 8, 10)")
    assert profile.kernels["class"].tolist() == ["fmha"]
    short = read(fixture("ncu_csv", "dsocr_k0013_metrics.csv")).metrics
    assert short is not None
    assert short["duration_s"].tolist() == pytest.approx([10.98e-6])
    assert short["achieved_occupancy_pct"].isna().all()


def test_the_owners_own_parse_of_a_b200_agrees() -> None:
    metrics = read(fixture("ncu_csv", "fame_b200_decode_ncu.csv")).metrics
    assert metrics is not None
    theirs = json.loads(fixture("ncu_csv", "fame_b200_decode_ncu.derived.json").read_text())
    launches = [one for part in theirs.values() for one in part["launches"]]
    assert len(launches) == len(metrics) == 6
    for one in launches:
        mine = metrics[metrics["id"] == int(one["launch_id"])].iloc[0]
        assert mine["name"] == one["kernel"]
        assert mine["duration_s"] == pytest.approx(one["duration_ns"] * 1e-9)
        assert mine["sm_throughput_pct"] == one["pct_peak_compute"]
        assert mine["memory_throughput_pct"] == one["pct_peak_bw"]
