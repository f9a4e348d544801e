"""Small profiles, written as each tool writes them."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.profiling.table import Profile

HOST = {"pid": 100, "tid": 100}
PID = 7 << 24
TID = PID + 9


def fixture(*parts: str) -> Path:
    """Return a real file of somebody else's; skip where the folder is not there."""
    folder = os.environ.get("PERFKIT_FIXTURES")
    path = Path(folder or "", *parts)
    if folder is None or not path.is_file():
        pytest.skip("PERFKIT_FIXTURES is not set, or lacks the file")
    return path


def sound(profile: Profile) -> None:
    """Hold what is true of every profile: no launch lost, shares that add up to one."""
    kernels = profile.kernels
    assert (kernels["calls"] >= 1).all()
    assert kernels["total_s"].is_monotonic_decreasing or kernels["total_s"].isna().any()
    if kernels["total_s"].sum() > 0:
        assert kernels["share"].sum() == pytest.approx(1, abs=1e-9)
    if profile.events is not None:
        assert kernels["calls"].sum() == len(profile.events)
        assert kernels["total_s"].sum() == pytest.approx(profile.events["duration_s"].sum())
        assert profile.events["start_s"].is_monotonic_increasing
    if profile.metrics is not None:
        assert kernels["calls"].sum() == len(profile.metrics)


def event(cat: str, name: str, ts: float, dur: float, **more: Any) -> dict[str, Any]:
    """Return a complete event of a trace, on the host's main thread unless told otherwise."""
    return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, **HOST, **more}


def kernel(
    name: str, ts: float, dur: float, correlation: int, stream: int = 7, **args: Any
) -> dict[str, Any]:
    """Return a kernel of device 0."""
    told = {"device": 0, "stream": stream, "correlation": correlation, **args}
    return event("kernel", name, ts, dur, pid=0, tid=stream, args=told)


def launch(ts: float, correlation: int, **more: Any) -> dict[str, Any]:
    """Return the call on the host that launched something."""
    told = {"correlation": correlation}
    return event("cuda_runtime", "cudaLaunchKernel", ts, 1, args=told, **more)


def trace(path: Path, events: Sequence[Any], **more: Any) -> Path:
    """Write a trace as Kineto does, gzipped where its name says so."""
    data = json.dumps({"schemaVersion": 1, **more, "traceEvents": events, "traceName": "t"})
    packed = gzip.compress(data.encode()) if path.suffix == ".gz" else data.encode()
    path.write_bytes(packed)
    return path


# Columns as 2021.1 had them; later versions have more, in other places.
KERNELS = (
    "start", "end", "deviceId", "contextId", "streamId", "correlationId", "globalPid",
    "demangledName", "shortName",
)  # fmt: skip
CALLS = ("start", "end", "globalTid", "correlationId", "nameId")
COPIES = (
    "start", "end", "deviceId", "streamId", "correlationId", "globalPid", "bytes", "copyKind",
)  # fmt: skip
SETS = ("start", "end", "deviceId", "streamId", "correlationId", "globalPid", "bytes")
NVTX = ("start", "end", "eventType", "text", "globalTid", "textId")
STRINGS = ("id", "value")
GRAPHS = ("start", "end", "deviceId", "streamId", "correlationId", "globalPid", "graphId")
Rows = tuple[tuple[str, ...], list[tuple[Any, ...]]]


def export(path: Path, **tables: Rows) -> Path:
    """Write a SQLite file of tables, each given by its columns and rows."""
    with closing(sqlite3.connect(path)) as base, base:
        for table, (columns, rows) in tables.items():
            named = ", ".join(f'"{name}"' for name in columns)
            base.execute(f"CREATE TABLE {table} ({named})")
            marks = ", ".join("?" * len(columns))
            base.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608
    return path


def nsys(path: Path, **more: Rows) -> Path:
    """Write an export: a GEMM in prefill, twice an attention in decode, a copy, a memset."""
    tables: dict[str, Rows] = {
        "StringIds": (
            STRINGS,
            [(1, "sm90_xmma_gemm_bf16"), (2, "flash_fwd_kernel"), (3, "decode")],
        ),
        "CUPTI_ACTIVITY_KIND_KERNEL": (
            KERNELS,
            [
                (2_000, 5_000, 0, 1, 7, 11, PID, 1, 1),
                (6_000, 7_000, 0, 1, 7, 12, PID, 2, 2),
                (8_000, 9_500, 0, 1, 13, 13, PID, 2, 2),
            ],
        ),
        "CUPTI_ACTIVITY_KIND_MEMCPY": (COPIES, [(9_600, 9_700, 0, 7, 14, PID, 64, 1)]),
        "CUPTI_ACTIVITY_KIND_MEMSET": (SETS, [(9_800, 9_850, 0, 7, 15, PID, 64)]),
        "CUPTI_ACTIVITY_KIND_RUNTIME": (
            CALLS,
            [
                (1_100, 1_200, TID, 11, 0),
                (1_600, 1_700, TID, 12, 0),
                (1_800, 1_850, TID, 13, 0),
                (2_100, 2_150, TID, 14, 0),
                (1_150, 1_160, TID + 1, 15, 0),
            ],
        ),
        "NVTX_EVENTS": (
            NVTX,
            [(1_000, 1_500, 59, "prefill", TID, None), (1_550, 2_000, 59, None, TID, 3)],
        ),
        **more,
    }
    return export(path, **tables)


NCU_HEAD = (
    '"ID","Process ID","Process Name","Host Name","Kernel Name","Context","Stream","Block Size",'
    '"Grid Size","Device","CC","Section Name","Metric Name","Metric Unit","Metric Value",'
    '"Rule Name","Rule Type","Rule Description"\n'
)


def ncu_row(
    launch_id: int, name: str, metric: str, unit: str, value: str, section: str = "S"
) -> str:
    """Return a row of ncu's page of details."""
    cells = (
        str(launch_id), "5", "python", "h", name, "1", "7", "(128, 1, 1)", "(1, 8, 10)", "0", "9.0",
        section, metric, unit, value, "",
    )  # fmt: skip
    return ",".join(f'"{cell}"' for cell in cells) + "\n"


STATS_HEAD = (
    "Time (%),Total Time (ns),Instances,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Name\n"
)
STATS = (
    f'{STATS_HEAD}75.0,3000,2,1500.0,1500.0,1000,2000,1.0,"void gemm<int, float>(T1, T2)"\n'
    "25.0,1000,1,1000.0,1000.0,1000,1000,0.0,_rms_norm\n"
)
