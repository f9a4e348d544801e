from __future__ import annotations

import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from perfkit.errors import UsageError
from perfkit.profiling import nsys_sqlite
from perfkit.profiling.nsys_sqlite import read
from tests.profiling.made import (
    CALLS,
    COPIES,
    GRAPHS,
    KERNELS,
    NVTX,
    PID,
    SETS,
    STRINGS,
    TID,
    export,
    fixture,
    nsys,
    sound,
)  # fmt: skip

NS = 1e-9
EMPTY: dict[str, Any] = {
    "CUPTI_ACTIVITY_KIND_MEMCPY": (COPIES, []),
    "CUPTI_ACTIVITY_KIND_MEMSET": (SETS, []),
}


def rows(path: Path) -> list[tuple[Any, ...]]:
    profile = read(path)
    sound(profile)
    columns = ["name", "phase", "device", "stream", "calls", "total_s"]
    return list(profile.kernels[columns].itertuples(index=False, name=None))


def test_kernels_copies_and_memsets_have_the_phase_of_their_call(tmp_path: Path) -> None:
    """Both attentions run after the decode's range; the memset's call is of another thread."""
    path = nsys(tmp_path / "n.sqlite")
    assert rows(path) == [
        ("sm90_xmma_gemm_bf16", "prefill", "0", 7, 1, pytest.approx(3_000 * NS)),
        ("flash_fwd_kernel", "decode", "0", 13, 1, pytest.approx(1_500 * NS)),
        ("flash_fwd_kernel", "decode", "0", 7, 1, pytest.approx(1_000 * NS)),
        ("Memcpy HtoD", "", "0", 7, 1, pytest.approx(100 * NS)),
        ("Memset", "", "0", 7, 1, pytest.approx(50 * NS)),
    ]
    profile = read(path)
    assert (profile.tool, profile.notes) == ("nsys", ())
    assert profile.ranges is not None
    # Text by id (decode) and in place (prefill); seconds count from the first kernel.
    assert profile.ranges.to_dict("list") == {
        "phase": ["prefill", "decode"],
        "start_s": pytest.approx([-1_000 * NS, -450 * NS]),
        "end_s": pytest.approx([-500 * NS, 0]),
    }


def test_an_empty_text_beside_an_id_is_none(tmp_path: Path) -> None:
    """Exports before 2022 declared each column NOT NULL, and wrote a default."""
    ranges = [(1_000, 1_500, 59, "", TID, 3), (1_550, 2_000, 59, "decode", TID, 3)]
    found = read(nsys(tmp_path / "n.sqlite", NVTX_EVENTS=(NVTX, ranges))).ranges
    assert found is not None
    assert found["phase"].tolist() == ["decode", "decode"]


def test_nothing_is_written_beside_an_export_or_into_it(tmp_path: Path) -> None:
    path = nsys(tmp_path / "n.sqlite")
    before = path.read_bytes()
    path.chmod(0o444)
    read(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["n.sqlite"]


def test_correlations_are_of_their_process(tmp_path: Path) -> None:
    """Two processes count from one; only the second is in a prefill when it launches number 1."""
    other = 8 << 24
    path = nsys(
        tmp_path / "n.sqlite",
        CUPTI_ACTIVITY_KIND_KERNEL=(
            KERNELS,
            [(100, 200, 0, 1, 7, 1, PID, 1, 1), (100, 150, 1, 1, 7, 1, other, 1, 1)],
        ),
        CUPTI_ACTIVITY_KIND_RUNTIME=(CALLS, [(10, 11, TID, 1, 0), (10, 11, other + 9, 1, 0)]),
        NVTX_EVENTS=(NVTX, [(5, 20, 59, "prefill", other + 9, None)]),
        **EMPTY,
    )
    assert [row[1:3] for row in rows(path)] == [("", "0"), ("prefill", "1")]


def test_columns_that_an_export_lacks_are_not_needed(tmp_path: Path) -> None:
    """No process, no device, no calls: phases are by the time itself."""
    path = export(
        tmp_path / "n.sqlite",
        StringIds=(STRINGS, [(1, "k")]),
        CUPTI_ACTIVITY_KIND_KERNEL=(("start", "end", "shortName"), [(10, 20, 1), (30, 35, 1)]),
        NVTX_EVENTS=(("start", "end", "text"), [(0, 15, "decode"), (16, 29, "warm-up")]),
    )
    assert rows(path) == [
        ("k", "decode", "", -1, 1, pytest.approx(10 * NS)),
        ("k", "", "", -1, 1, pytest.approx(5 * NS)),
    ]


def test_an_export_without_processes_joins_by_correlation(tmp_path: Path) -> None:
    path = export(
        tmp_path / "n.sqlite",
        StringIds=(STRINGS, [(1, "k")]),
        CUPTI_ACTIVITY_KIND_KERNEL=(
            ("start", "end", "correlationId", "shortName"), [(50, 60, 4, 1)],
        ),
        CUPTI_ACTIVITY_KIND_RUNTIME=(CALLS, [(10, 11, TID, 4, 0)]),
        NVTX_EVENTS=(NVTX, [(5, 20, 59, "prefill", TID, None)]),
    )  # fmt: skip
    assert rows(path) == [("k", "prefill", "", -1, 1, pytest.approx(10 * NS))]


def test_kernels_of_a_graph_have_the_phase_of_its_launch(tmp_path: Path) -> None:
    columns = (*KERNELS, "graphNodeId")
    nodes = [(at, at + 10, 0, 1, 7, 5, PID, 1, 1, at) for at in (300, 320, 340)]
    path = nsys(
        tmp_path / "n.sqlite",
        CUPTI_ACTIVITY_KIND_KERNEL=(columns, nodes),
        CUPTI_ACTIVITY_KIND_RUNTIME=(CALLS, [(110, 120, TID, 5, 0)]),
        NVTX_EVENTS=(NVTX, [(100, 200, 59, "decode", TID, None)]),
        **EMPTY,
    )
    assert rows(path) == [("sm90_xmma_gemm_bf16", "decode", "0", 7, 3, pytest.approx(30 * NS))]


def test_graph_launches_without_node_data_are_rows_of_their_own(tmp_path: Path) -> None:
    path = nsys(
        tmp_path / "n.sqlite",
        CUPTI_ACTIVITY_KIND_GRAPH_TRACE=(GRAPHS, [(10_000, 14_000, 0, 7, 12, PID, 1)]),
    )
    first = rows(path)[0]
    assert first == ("CUDA graph (no node data)", "decode", "0", 7, 1, pytest.approx(4_000 * NS))
    (note,) = read(path).notes
    assert "1 launches of CUDA graphs have no node data" in note
    assert "--cuda-graph-trace=node" in note


def test_only_copies_is_told(tmp_path: Path) -> None:
    path = export(
        tmp_path / "n.sqlite",
        StringIds=(STRINGS, []),
        CUPTI_ACTIVITY_KIND_MEMCPY=(COPIES, [(1, 3, 0, 7, 1, PID, 8, kind) for kind in (2, 8, 99)]),
    )
    assert sorted(row[0] for row in rows(path)) == ["Memcpy DtoD", "Memcpy DtoH", "Memcpy unknown"]
    assert "no kernel was captured" in read(path).notes[0]


def test_broken_utf8_and_names_that_are_missing_lose_no_kernel(tmp_path: Path) -> None:
    path = nsys(
        tmp_path / "n.sqlite",
        StringIds=(STRINGS, [(1, b"gemm\xff\xfe"), (3, "decode")]),
        CUPTI_ACTIVITY_KIND_KERNEL=(
            KERNELS,
            [
                (10, 50, 0, 1, 7, 1, PID, 1, 1),
                (60, 90, 0, 1, 7, 2, PID, 77, 1),
                (100, 120, 0, 1, 7, 3, PID, "text_itself", 1),
                (130, 140, 0, 1, 7, 3, PID, None, 1),
            ],
        ),
        **EMPTY,
    )
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("UPDATE StringIds SET value = CAST(value AS TEXT) WHERE id = 1")
    assert [row[0] for row in rows(path)] == [
        "gemm��", "kernel without a name (string 77)", "text_itself", "kernel without a name",
    ]  # fmt: skip


def test_rows_that_lack_a_time_are_told(tmp_path: Path) -> None:
    kernels = [
        (10, None, 0, 1, 7, 1, PID, 1, 1),
        (20, 15, 0, 1, 7, 1, PID, 1, 1),
        (30, 36, 0, 1, 7, 1, PID, 1, 1),
    ]
    path = nsys(
        tmp_path / "n.sqlite",
        CUPTI_ACTIVITY_KIND_KERNEL=(KERNELS, kernels),
        NVTX_EVENTS=(NVTX, [(1, None, 59, "decode", TID, None)]),
        **EMPTY,
    )
    assert rows(path) == [("sm90_xmma_gemm_bf16", "", "0", 7, 2, pytest.approx(6 * NS))]
    assert read(path).notes == (
        "1 rows of CUPTI_ACTIVITY_KIND_KERNEL have no start or end, and are left out",
        "1 rows of CUPTI_ACTIVITY_KIND_KERNEL end before they start; they count as 0",
        "1 ranges of a phase never ended, and are left out",
    )


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"t": (("a",), [(1,)])}, "is SQLite, but no export of nsys"),
        ({"StringIds": (STRINGS, [])}, "nsys traced 0 CUDA calls and no work on a device"),
        (
            {"StringIds": (STRINGS, []), "CUPTI_ACTIVITY_KIND_RUNTIME": (CALLS, [(1, 2, 3, 4, 5)])},
            "nsys traced 1 CUDA calls and no work on a device",
        ),
        (
            {"CUPTI_ACTIVITY_KIND_KERNEL": (("start", "end"), [(1, 2)])},
            "has none of the columns demangledName, shortName, mangledName",
        ),
        (
            {"CUPTI_ACTIVITY_KIND_KERNEL": (("start", "shortName"), [(1, 2)])},
            "has no column 'end'",
        ),
        (
            {
                "CUPTI_ACTIVITY_KIND_KERNEL": (
                    ("start", "end", "shortName", "deviceId"), [(1, 2, "k", "zero")],
                )
            },
            "a column holds no numbers",
        ),
        (
            {"CUPTI_ACTIVITY_KIND_KERNEL": (("start", "end", "shortName"), [(-(2**63), 2, "k")])},
            "holds times over",
        ),
    ],
)  # fmt: skip
def test_what_is_no_export_is_told(tmp_path: Path, tables: dict[str, Any], words: str) -> None:
    path = export(tmp_path / "n.sqlite", **tables)
    with pytest.raises(UsageError) as told:
        read(path)
    assert words in str(told.value)
    assert "n.sqlite" in str(told.value)


def test_a_view_is_not_run(tmp_path: Path) -> None:
    path = export(tmp_path / "n.sqlite", StringIds=(STRINGS, []))
    with closing(sqlite3.connect(path)) as base, base:
        base.execute(
            "CREATE VIEW CUPTI_ACTIVITY_KIND_KERNEL AS WITH RECURSIVE n(start) AS (SELECT 1 UNION "
            'ALL SELECT start + 1 FROM n) SELECT start, start AS "end", 1 AS shortName FROM n'
        )
    with pytest.raises(UsageError, match="no work on a device"):
        read(path)


def test_an_export_that_takes_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nsys_sqlite, "_STEPS", 1)
    ticks = count()
    with pytest.raises(UsageError, match="was not read after 600 s"):
        read(nsys(tmp_path / "n.sqlite"), clock=lambda: 100.0 * next(ticks))


def test_an_export_that_is_still_written_is_refused(tmp_path: Path) -> None:
    path = nsys(tmp_path / "n.sqlite")
    Path(f"{path}-wal").write_bytes(b"rows")
    with pytest.raises(UsageError, match="still being written"):
        read(path)


def test_an_export_that_was_cut_off_is_told(tmp_path: Path) -> None:
    whole = nsys(tmp_path / "w.sqlite").read_bytes()
    path = tmp_path / "n.sqlite"
    for size in range(16, len(whole), 997):
        path.write_bytes(whole[:size])
        with pytest.raises(UsageError, match=r"was cut off|no whole SQLite export"):
            read(path)


def test_graphs_on_an_rtx_3060() -> None:
    """Three kernels of 1440, 1344 and 1056 ns; graph launches of 1728 and 1376 ns; a copy."""
    profile = read(fixture("nsys_sqlite", "flameox_nsys2025.5.2_rtx3060.sqlite"))
    sound(profile)
    found = {row["name"]: row for row in profile.kernels.to_dict("records")}
    assert found["add_one(const float *, float *, int)"]["calls"] == 3
    assert found["add_one(const float *, float *, int)"]["total_s"] == pytest.approx(3_840 * NS)
    assert found["CUDA graph (no node data)"]["total_s"] == pytest.approx(3_104 * NS)
    assert found["Memcpy HtoD"]["total_s"] == pytest.approx(864 * NS)
    assert len(found) == 3
    assert "--cuda-graph-trace=node" in profile.notes[0]


def test_two_h100s_with_flash_and_nccl() -> None:
    """Sums by SQL over the file itself."""
    profile = read(fixture("nsys_sqlite", "nsysai_nsys2026.2.1_mfu_h100x2_flash_nccl.sqlite"))
    sound(profile)
    ran = profile.kernels[profile.kernels["class"] != "memcpy/memset"]
    by_device = ran.groupby("device")[["calls", "total_s"]].sum()
    assert by_device["calls"].to_dict() == {"0": 1793, "1": 1794}
    assert by_device["total_s"].to_dict() == pytest.approx(
        {"0": 237_473_368 * NS, "1": 251_362_038 * NS}
    )
    calls = profile.kernels.groupby("class")["calls"].sum()
    assert (calls["fmha"], calls["communication"], calls["memcpy/memset"]) == (60, 62, 904 + 242)
    copies = profile.kernels[profile.kernels["name"] == "Memcpy DtoD"]
    assert copies["total_s"].sum() == pytest.approx(5_061_490 * NS)


def test_an_export_in_which_nothing_ran() -> None:
    path = fixture("nsys_sqlite", "ltgemm_nsys2025.1.3_no_kernel_table.sqlite")
    with pytest.raises(UsageError, match="traced 3 CUDA calls and no work on a device"):
        read(path)


def test_nvtx_texts_by_id_are_found_in_a_real_export(tmp_path: Path) -> None:
    """The real file's ncclGroupStart ranges, whose texts are ids, renamed to a phase."""
    path = tmp_path / "n.sqlite"
    path.write_bytes(
        fixture("nsys_sqlite", "nsysai_nsys2026.2.1_mfu_h100x2_flash_nccl.sqlite").read_bytes()
    )
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("UPDATE StringIds SET value = 'decode' WHERE value = 'ncclGroupEnd'")
    profile = read(path)
    assert profile.ranges is not None
    assert profile.ranges["phase"].tolist() == ["decode"] * 60
    phased = profile.kernels[profile.kernels["phase"] == "decode"]
    # A group's end launches what it holds: 58 of 62, the others' calls are not in this window.
    assert set(phased["class"]) == {"communication"}


def test_a_table_that_is_damaged_is_told_in_one_line(tmp_path: Path) -> None:
    """nsys's own statements that make tables have many lines."""
    path = tmp_path / "n.sqlite"
    with closing(sqlite3.connect(path)) as base, base:
        base.execute('CREATE TABLE StringIds (id INTEGER,\n  "value" TEXT -- of names\n)')
    path.write_bytes(path.read_bytes().replace(b'"value"', b'"value '))
    with pytest.raises(UsageError, match="malformed") as told:
        read(path)
    assert "\n" not in str(told.value)
