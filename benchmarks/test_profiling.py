"""How fast profiles are read: an SQLite export of 100 MB, and a trace of PyTorch of 100 MB."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from perfkit.profiling import nsys_sqlite, torch_trace

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

pytestmark = [pytest.mark.cpu, pytest.mark.slow]
_SIZE = 100_000_000
_LAUNCHES = 900_000
_STEPS = 200
_PID = 7 << 24
_NAMES = 80


def _export(path: Path) -> None:
    """Write kernels with all columns of 2025, their calls, and a range of decode for each step."""
    kernel = (
        "start, end, deviceId, contextId, greenContextId, streamId, correlationId, globalPid, "
        "demangledName, shortName, mangledName, launchType, cacheConfig, registersPerThread, "
        "gridX, gridY, gridZ, blockX, blockY, blockZ, staticSharedMemory, dynamicSharedMemory, "
        "localMemoryPerThread, localMemoryTotal, gridId, sharedMemoryExecuted, graphNodeId"
    )
    columns = ", ".join(f'"{name}" INTEGER' for name in kernel.split(", "))
    marks = ", ".join("?" * len(kernel.split(", ")))
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT)")
        names = [(at, f"void kernel_{at}<float, {at}>(T1, T2)") for at in range(_NAMES)]
        base.executemany("INSERT INTO StringIds VALUES (?, ?)", names)
        base.execute(f"CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL ({columns})")
        base.executemany(
            f"INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES ({marks})",  # noqa: S608
            (
                (
                    10**10 + 4000 * at, 10**10 + 4000 * at + 3000 + at % 7, at % 2, 1, None, 7, at,
                    _PID, at % _NAMES, at % _NAMES, at % _NAMES, 1, 1, 168, 4096, 8, 1, 128, 1, 1,
                    1024, 230_000, 0, 150_000_000, at, 233_472, None,
                )
                for at in range(_LAUNCHES)
            ),
        )  # fmt: skip
        base.execute(
            'CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INTEGER, "end" INTEGER, '
            "eventClass INTEGER, globalTid INTEGER, correlationId INTEGER, nameId INTEGER, "
            "returnValue INTEGER)"
        )
        base.executemany(
            "INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (10**10 + 4000 * at, 10**10 + 4000 * at + 2000, 0, _PID + 9, at, 5, 0)
                for at in range(_LAUNCHES)
            ),
        )
        base.execute(
            'CREATE TABLE NVTX_EVENTS (start INTEGER, "end" INTEGER, eventType INTEGER, text TEXT, '
            "globalTid INTEGER, textId INTEGER)"
        )
        step = 4000 * _LAUNCHES // _STEPS
        base.executemany(
            "INSERT INTO NVTX_EVENTS VALUES (?, ?, 59, ?, ?, NULL)",
            (
                (
                    10**10 + step * at,
                    10**10 + step * (at + 1),
                    "decode" if at else "prefill",
                    _PID + 9,
                )
                for at in range(_STEPS)
            ),
        )


def test_an_export_of_100_mb(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """The target is 5 s; nine hundred thousand kernels, each with its phase."""
    path = tmp_path / "export.sqlite"
    _export(path)
    size = path.stat().st_size
    assert size > _SIZE
    profile = benchmark.pedantic(nsys_sqlite.read, args=(path,), rounds=3)
    benchmark.extra_info["bytes"] = size
    calls = profile.kernels.groupby("phase")["calls"].sum().to_dict()
    assert calls == {"prefill": _LAUNCHES // _STEPS, "decode": _LAUNCHES - _LAUNCHES // _STEPS}


def test_a_trace_of_100_mb(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Launches, operators and kernels in equal parts, as Kineto writes them."""
    path = tmp_path / "trace.json"
    host = {"pid": 9, "tid": 9}
    events = [
        one
        for at in range(1000)
        for one in (
            {"ph": "X", "cat": "cpu_op", "name": "aten::mm", "ts": at, "dur": 0.5, **host,
             "args": {"External id": at, "Input Dims": [[4096, 4096], [4096, 4096]]}},
            {"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "ts": at, "dur": 0.25,
             **host, "args": {"External id": at, "cbid": 211, "correlation": at}},
            {"ph": "X", "cat": "kernel", "name": f"gemm_{at % _NAMES}", "ts": at + 0.5, "dur": 2.5,
             "pid": 0, "tid": 7, "args": {"device": 0, "stream": 7, "correlation": at,
             "grid": [30, 4, 1], "block": [384, 1, 1], "registers per thread": 168}},
        )
    ]  # fmt: skip
    block = json.dumps(events)[1:-1]
    times = _SIZE // len(block) + 1
    path.write_text('{"traceEvents": [' + ",\n".join([block] * times) + "]}")
    profile = benchmark.pedantic(torch_trace.read, args=(path,), rounds=3)
    benchmark.extra_info["bytes"] = path.stat().st_size
    assert profile.kernels["calls"].sum() == 1000 * times
