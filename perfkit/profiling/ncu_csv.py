"""CSV of Nsight Compute: ``ncu --csv`` with the pages details (and metrics alone) and raw."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perfkit.errors import UsageError
from perfkit.profiling.csv_text import SECONDS, number, rows, whole
from perfkit.profiling.table import Profile, finished

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import pandas as pd

_PCT, _COUNT, _TIME = "%", "", "s"
_PEAK, _ACTIVE = "avg.pct_of_peak_sustained_elapsed", "avg.pct_of_peak_sustained_active"
# A column, what it is in, and the names that ncu has had for it, the first found counts.
_METRICS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("duration_s", _TIME, ("gpu__time_duration.sum", "Duration", "gpu__time_duration.avg")),
    ("sm_throughput_pct", _PCT, (f"sm__throughput.{_PEAK}", "Compute (SM) Throughput", "SOL SM")),
    (
        "memory_throughput_pct", _PCT,
        (f"gpu__compute_memory_throughput.{_PEAK}", "Memory Throughput", "SOL Memory"),
    ),
    (
        "dram_throughput_pct", _PCT,
        (f"gpu__dram_throughput.{_PEAK}", f"dram__throughput.{_PEAK}", "DRAM Throughput"),
    ),
    (
        "tensor_pipe_pct", _PCT,
        (
            f"sm__pipe_tensor_cycles_active.{_ACTIVE}",
            f"sm__inst_executed_pipe_tensor.{_ACTIVE}",
            f"sm__pipe_tensor_op_hmma_cycles_active.{_ACTIVE}",
        ),
    ),
    ("achieved_occupancy_pct", _PCT, (f"sm__warps_active.{_ACTIVE}", "Achieved Occupancy")),
    ("registers", _COUNT, ("launch__registers_per_thread", "Registers Per Thread")),
    ("l2_hit_pct", _PCT, ("lts__t_sector_hit_rate.pct", "L2 Hit Rate")),
)  # fmt: skip
METRICS = tuple(column for column, _, _ in _METRICS)
_COLUMN_OF = {name: column for column, _, names in _METRICS for name in names}
_UNIT_OF = {column: unit for column, unit, _ in _METRICS}
_FIRST = {name: place for _, _, names in _METRICS for place, name in enumerate(names)}
_LONG = ("Metric Name", "Metric Value")
_ABSENT = {"", "n/a", "nan", "-nan", "(!) n/a", "inf"}
_NOTE = "ncu runs each kernel alone, at clocks it sets or leaves: its times are not the program's"


@dataclass
class _Launch:
    """One profiled launch; ``ranks`` tell which of several names gave a figure."""

    head: dict[str, str]
    figures: dict[str, float] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)


def read(path: Path) -> Profile:
    """Read launches and their figures; a figure that the page does not have is NaN.

    ``metrics`` has a row a launch: id, name, device, stream, block, grid, and METRICS. Raises
    UsageError that names the file and what is wrong with it.
    """
    launches: dict[tuple[str, str], _Launch] = {}
    # Closed at once, not when the collector comes by: an error keeps frames alive.
    with closing(rows(path, ("Kernel Name",))) as lines:
        numbered = enumerate(lines, start=1)
        header = _found_header(path, numbered)
        fill = _fill_long if set(_LONG) <= set(header) else _fill_raw
        fill(path, header, numbered, launches)
    if not launches:
        raise UsageError(f"{path} has no launch below its header: nothing was profiled")
    metrics = _metrics(launches.values())
    lost = int(metrics["duration_s"].isna().sum())
    notes = [_NOTE]
    if lost:
        notes.append(
            f"{lost:,} launches have no duration, so no time and no share: collect "
            "gpu__time_duration.sum, or the section SpeedOfLight"
        )
    return Profile("ncu", str(path), _kernels(metrics), None, None, metrics, tuple(notes))


def _found_header(path: Path, numbered: Iterator[tuple[int, list[str]]]) -> list[str]:
    header = next((row for _, row in numbered if _is_header(row)), None)
    if header is None:
        raise UsageError(
            f"{path} is no CSV of ncu: no row has ID and Kernel Name; write it by ncu --import "
            "FILE.ncu-rep --csv --page raw"
        )
    header = [cell.strip() for cell in header]
    if "Invocations" in header:
        raise UsageError(f"{path} is a summary (--print-summary): give the page details or raw")
    return header


def _is_header(row: list[str]) -> bool:
    cells = {cell.strip() for cell in row}
    return "Kernel Name" in cells and (row[0].strip() == "ID" or "Invocations" in cells)


def _head(row: list[str], header: list[str]) -> dict[str, str]:
    return dict(zip(header, row, strict=False))


def _key(head: dict[str, str]) -> tuple[str, str]:
    return head.get("Process ID", ""), head["ID"]


def _fill_long(
    path: Path, header: list[str], numbered: Iterator[tuple[int, list[str]]],
    launches: dict[tuple[str, str], _Launch],
) -> None:  # fmt: skip
    """Read a row a metric. Rows of rules have no metric; rows of metrics may end before rules."""
    needed = header.index("Metric Value") + 1
    for line, row in numbered:
        if not row or not row[0].strip():  # an empty line, or a row of units
            continue
        where = f"{path}, row {line}"
        _check(row, needed, len(header), where)
        head = _head(row, header)
        launch = launches.setdefault(_key(head), _Launch(head))
        name = head["Metric Name"]
        if name in _COLUMN_OF:
            _put(launch, name, head.get("Metric Unit", ""), head["Metric Value"], where)


def _fill_raw(
    path: Path, header: list[str], numbered: Iterator[tuple[int, list[str]]],
    launches: dict[tuple[str, str], _Launch],
) -> None:  # fmt: skip
    """Read a row a launch, below a row of units."""
    units: dict[str, str] = {}
    for line, row in numbered:
        if not row:
            continue
        where = f"{path}, row {line}"
        _check(row, len(header), len(header), where)
        head = _head(row, header)
        if not head["ID"].strip():
            units = head
            continue
        if _key(head) in launches:
            raise UsageError(f"{where}: launch {head['ID']} is there twice: give one report")
        launch = launches[_key(head)] = _Launch(head)
        for name in header:
            if name in _COLUMN_OF:
                _put(launch, name, units.get(name, ""), head[name], where)


def _check(row: list[str], least: int, most: int, where: str) -> None:
    unit = not row[0].strip()
    if not least <= len(row) <= most or (whole(row[0]) is None and not unit):
        raise UsageError(
            f"{where}: {len(row)} fields beginning with {row[0][:20]!r}, expected a launch's "
            f"{least}: was the file cut off, or a program's output mixed in (ncu --log-file)?"
        )


def _put(launch: _Launch, name: str, unit: str, text: str, where: str) -> None:
    """Keep a figure, in seconds, percent or as a count; another unit is another figure."""
    column = _COLUMN_OF[name]
    if text.strip().lower() in _ABSENT or _FIRST[name] >= launch.ranks.get(column, 99):
        return
    scale = SECONDS.get(unit) if _UNIT_OF[column] == _TIME else 1.0
    if scale is None or (_UNIT_OF[column] == _PCT and unit != _PCT):
        return
    value = number(text, where)
    if value < 0:
        raise UsageError(f"{where}: {name} is {value:g}, which cannot be")
    launch.figures[column] = value * scale
    launch.ranks[column] = _FIRST[name]


def _metrics(launches: Iterable[_Launch]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "id": int(launch.head["ID"]),
                "name": launch.head["Kernel Name"],
                "device": launch.head.get("Device", "").strip(),
                "stream": -1 if stream is None else stream,
                "block": launch.head.get("Block Size", ""),
                "grid": launch.head.get("Grid Size", ""),
                **{column: launch.figures.get(column, math.nan) for column in METRICS},
            }
            for launch in launches
            for stream in [whole(launch.head.get("Stream", ""))]
        ]
    )


def _kernels(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the kernel table; a total of which a part is not known is not known either."""
    groups = metrics.groupby(["name", "device", "stream"], sort=False)["duration_s"]
    sums = groups.agg(calls="size", total_s=lambda part: part.sum(skipna=False))
    return finished(sums.reset_index().assign(phase=""))
