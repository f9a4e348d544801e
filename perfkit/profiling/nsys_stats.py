"""CSV of ``nsys stats``: sums of kernels, sums of copies, or the trace of all GPU work."""

from __future__ import annotations

import math
import re
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.errors import UsageError
from perfkit.profiling.csv_text import SECONDS, number, rows, whole
from perfkit.profiling.table import Profile, finished

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

_KERNELS, _COPIES, _ALL, _TRACE = "kernels", "copies and memsets", "all GPU work", "a GPU trace"
_UNIT = re.compile(r"(.*?)\s*\((\w+)\)")
_EXPECTED = "cuda_gpu_kern_sum, cuda_gpu_mem_time_sum, cuda_gpu_sum or cuda_gpu_trace"
# A line with any of these may be a header.
_HEADS = ("Time", "Duration", "Total")
_SHARE_ERROR = 0.06  # a share is printed to 0.1 %
_ROUNDED = 1e-3  # of a time that is printed in a coarse unit


@dataclass(frozen=True)
class _Header:
    """Where a table has what; ``unit_s`` of its times, ``share`` -1 where it has none."""

    kind: str
    width: int
    name: int
    calls: int
    time: int
    unit_s: float
    share: int
    device: int
    stream: int
    category: int


_Row = tuple[str, float, float, str, int]


def read(path: Path) -> Profile:
    """Read what ``nsys stats --format csv`` printed or wrote.

    Raises UsageError that names the file and what is wrong with it.
    """
    import pandas as pd

    found = _tables(path)
    columns = ["name", "calls", "total_s", "device", "stream"]
    sums = pd.DataFrame([row for part in found.values() for row in part], columns=columns)
    notes = ["sums alone: no phases, and no times of single launches"]
    if len(found) == 1 and not found.keys() & {_ALL, _TRACE}:
        notes.append(f"{next(iter(found))} alone: shares are of their time")
    return Profile("nsys-stats", str(path), _table(sums), None, None, None, tuple(notes))


def _tables(path: Path) -> dict[str, list[_Row]]:
    """Return the rows of each table of GPU work; other tables and lines are passed over."""
    found: dict[str, list[_Row]] = {}
    shares: dict[str, list[tuple[float, float]]] = {}
    header, others = None, []
    with closing(rows(path, _HEADS)) as lines:
        for line, row in enumerate(lines, start=1):
            seen = _header(row)
            if seen is not None:
                header = seen
                if header.kind in found:
                    raise UsageError(f"{path} has {header.kind} twice: give one report at a time")
                found[header.kind], shares[header.kind] = [], []
            elif _is_header(row):
                header = None
                others.append(row[-1].strip())
            elif not any(cell.strip() for cell in row):
                # A blank line also stands between a report's title and its table.
                ended = header is not None and (found[header.kind] or shares[header.kind])
                header = None if ended else header
            elif header is not None:
                where = f"{path}, row {line}"
                if len(row) != header.width:
                    raise UsageError(
                        f"{where}: {len(row)} fields, expected {header.width}: cut off?"
                    )
                found[header.kind] += _work(row, header, where)
                shares[header.kind] += _share(row, header, where)
    _check(path, found, shares, others)
    return found


def _table(sums: pd.DataFrame) -> pd.DataFrame:
    keys = ["name", "device", "stream"]
    added = sums.groupby(keys, sort=False, as_index=False)[["calls", "total_s"]].sum()
    return finished(added.assign(phase="", calls=added["calls"].astype("int64")))


def _is_header(row: list[str]) -> bool:
    """Tell another table's header by its first column, which is one of time or of size."""
    first = row[0].strip() if row else ""
    return len(row) > 2 and first.startswith(("Time", "Total", "Start", "Count"))


def _header(row: list[str]) -> _Header | None:
    """Return where the columns of a table stand, or None for a row that is no header of one."""
    if len(row) < 4:
        return None
    places: dict[str, int] = {}
    units: dict[str, str] = {}
    for place, cell in enumerate(row):
        named = _UNIT.fullmatch(cell.strip())
        plain = named[1] if named else cell.strip()
        places.setdefault(plain, place)
        units[plain] = named[2] if named else "ns"
    trace = {"Start", "Duration", "Name"} <= places.keys() and "Strm" in places
    if trace:
        kind, time, calls, name = _TRACE, "Duration", "", "Name"
    elif {"Total Time", "Instances", "Category", "Operation"} <= places.keys():
        kind, time, calls, name = _ALL, "Total Time", "Instances", "Operation"
    elif {"Total Time", "Instances", "Name"} <= places.keys() and "Style" not in places:
        kind, time, calls, name = _KERNELS, "Total Time", "Instances", "Name"
    elif {"Total Time", "Operation"} <= places.keys() and {"Count", "Operations"} & places.keys():
        calls = "Count" if "Count" in places else "Operations"
        kind, time, name = _COPIES, "Total Time", "Operation"
    else:
        return None
    unit_s = SECONDS.get(units[time])
    if unit_s is None:
        return None
    return _Header(
        kind, len(row), places[name], places.get(calls, -1), places[time], unit_s,
        places.get("Time (%)", places.get("Time(%)", -1)), places.get("Device", -1),
        places.get("Strm", -1), places.get("Category", -1),
    )  # fmt: skip


def _share(row: list[str], header: _Header, where: str) -> list[tuple[float, float]]:
    """Return the row's percent and its time, where the table tells shares."""
    if header.share < 0:
        return []
    return [(number(row[header.share], where), number(row[header.time], where))]


def _work(row: list[str], header: _Header, where: str) -> list[_Row]:
    """Return name, calls, seconds, device and stream; nothing of a call on the host.

    cuda_api_gpu_sum has the host's calls beside the device's work.
    """
    if header.category >= 0 and row[header.category].strip() == "CUDA_API":
        return []
    calls = 1.0 if header.calls < 0 else number(row[header.calls], where)
    total = number(row[header.time], where) * header.unit_s
    if total < 0 or calls < 1 or not calls.is_integer():
        raise UsageError(f"{where}: {calls:g} calls that take {total:g} s cannot be")
    name = row[header.name].strip()
    bare = re.fullmatch(r"\[CUDA (mem\w+) ?(.*?)\]", name, re.IGNORECASE)
    if bare:
        way = re.sub(r"(\w)\w+-to-(\w)\w+", r"\1to\2", bare[2])
        name = f"{bare[1].capitalize()} {way}".strip()
    # "NVIDIA H100 PCIe (0)": the number is the device's.
    device = re.search(r"\((\d+)\)$", row[header.device].strip()) if header.device >= 0 else None
    stream = whole(row[header.stream]) if header.stream >= 0 else None
    place = device[1] if device else "", -1 if stream is None else stream
    return [(name, calls, total, *place)]


def _check(
    path: Path,
    found: dict[str, list[_Row]],
    shares: dict[str, list[tuple[float, float]]],
    others: list[str],
) -> None:
    if not any(found.values()):
        told = f"; it has a table of {others[0]!r}, which is none of GPU work" if others else ""
        empty = "has no rows" if found else "is no report of nsys stats that is read here"
        raise UsageError(f"{path} {empty}: expected CSV of {_EXPECTED}{told}")
    if len(found) > 1 and found.keys() != {_KERNELS, _COPIES}:
        raise UsageError(
            f"{path} has {' and '.join(sorted(found))}, which hold the same work: give one report"
        )
    for kind, parts in shares.items():
        _check_whole(f"{path}: {kind}", parts)


def _check_whole(what: str, parts: Sequence[tuple[float, float]]) -> None:
    """Refuse a table that lacks rows: each row's time and share tell how much all rows take."""
    if not parts:
        return
    percent, total = (sum(one) for one in zip(*parts, strict=True))
    sure = [(share, time) for share, time in parts if share > _SHARE_ERROR]
    least = max(100 * time / (share + _SHARE_ERROR) for share, time in parts)
    most = min((100 * time / (share - _SHARE_ERROR) for share, time in sure), default=math.inf)
    off = abs(percent - 100) > 0.1 + _SHARE_ERROR * len(parts)
    if off or not least * (1 - _ROUNDED) <= total <= most * (1 + _ROUNDED):
        raise UsageError(
            f"{what}: its rows add up to {percent:.1f} %, and to {total:g} where their shares say "
            f"{least:g} to {most:g}: rows are missing, make the report again"
        )
