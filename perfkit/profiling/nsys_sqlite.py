"""SQLite exports of Nsight Systems: the tables and columns that are there, looked up."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from perfkit.errors import UsageError, first_line
from perfkit.profiling.phases import PHASES, Range, at_times, of_launches, on_threads, range_table
from perfkit.profiling.table import Profile, event_table, kernel_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pandas as pd

_KERNELS = "CUPTI_ACTIVITY_KIND_KERNEL"
_COPIES = "CUPTI_ACTIVITY_KIND_MEMCPY"
_SETS = "CUPTI_ACTIVITY_KIND_MEMSET"
_GRAPHS = "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"
_WORK = (_KERNELS, _COPIES, _SETS, _GRAPHS)
_CALLS = ("CUPTI_ACTIVITY_KIND_RUNTIME", "CUPTI_ACTIVITY_KIND_DRIVER")
_NVTX = "NVTX_EVENTS"
_STRINGS = "StringIds"
_NAMES = ("demangledName", "shortName", "mangledName")
# CUPTI's own numbers (CUpti_ActivityMemcpyKind); exports name them in tables that changed names.
_DIRECTIONS = (
    "unknown", "HtoD", "DtoH", "HtoA", "AtoH", "AtoA", "AtoD", "DtoA", "DtoD", "HtoH", "PtoP",
    "UVM HtoD", "UVM DtoH", "UVM DtoD",
)  # fmt: skip
_GRAPH = "CUDA graph (no node data)"
_NS = 1e-9
# A global thread id holds its process's above these bits.
_THREAD_BITS = 24
_MOST_NS = 2**62
_ROWS = 1 << 13
_STEPS = 1_000_000
_LIMIT_S = 600.0


def read(path: Path, clock: Callable[[], float] = time.monotonic) -> Profile:
    """Read an export: kernels, copies, memsets, and whole graph launches that have no node data.

    A launch's phase is that of the NVTX range ``prefill`` or ``decode`` around its launch call.
    Raises UsageError that names the file and what is wrong with it, or that it takes too long.
    """
    log = path.with_name(f"{path.name}-wal")
    if log.is_file() and log.stat().st_size:
        raise UsageError(f"{path} is still being written ({log.name} holds more): wait for nsys")
    _check_size(path)
    end = clock() + _LIMIT_S
    try:
        # mode=ro: nothing is written. immutable=1: no lock is taken either.
        where = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
        with closing(sqlite3.connect(where, uri=True)) as base:
            base.text_factory = lambda raw: raw.decode("utf-8", "replace")
            base.execute("PRAGMA trusted_schema=OFF")
            base.set_progress_handler(lambda: clock() > end, _STEPS)
            _check_pages(path, base)
            return _read(_Export(path, base))
    except UsageError:
        raise
    except sqlite3.Error as error:
        words = first_line(error)
        if words == "interrupted":
            words = f"it was not read after {_LIMIT_S:.0f} s"
        raise UsageError(f"{path} is no whole SQLite export of nsys: {words}") from None
    except (ValueError, TypeError, OverflowError) as error:
        raise UsageError(f"{path} is damaged: a column holds no numbers ({error})") from None


def _check_size(path: Path) -> None:
    """Refuse a file shorter than its header says: SQLite reads a last page in part as zeros."""
    try:
        with path.open("rb") as stream:
            head = stream.read(100)
            size = stream.seek(0, os.SEEK_END)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    page, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
    page = 1 << 16 if page == 1 else page
    # The number of pages holds only where it was written with the last change.
    if head[24:28] == head[92:96] and size < page * pages:
        raise UsageError(f"{path} was cut off: {size:,} bytes of {page * pages:,}; copy it again")


def _check_pages(path: Path, base: sqlite3.Connection) -> None:
    """Refuse pages in wrong places, which would lose or double rows without a word."""
    (found,) = base.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise UsageError(f"{path} is damaged ({found.splitlines()[-1]}): export it again")


@dataclass
class _Work:
    """Rows of one table: names are indices, times ns, ``process`` in the bits of a thread's."""

    names: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    devices: np.ndarray
    streams: np.ndarray
    correlations: np.ndarray
    processes: np.ndarray


class _Export:
    """An open export, and what was found about it."""

    def __init__(self, path: Path, base: sqlite3.Connection) -> None:
        self.path = path
        self._base = base
        self.notes: list[str] = []
        self.names: dict[str, int] = {}
        # Tables alone: a view could be any program.
        found = base.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        self.columns = {name: self._columns(name) for (name,) in found if name.isidentifier()}

    def _columns(self, table: str) -> frozenset[str]:
        return frozenset(row[1] for row in self.rows(f'PRAGMA table_info("{table}")'))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return all rows of a statement of few."""
        return self._base.execute(statement).fetchall()

    def chunks(self, statement: str) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of a statement, some ten thousand at once."""
        cursor = self._base.execute(statement)
        while rows := cursor.fetchmany(_ROWS):
            yield rows

    def arrays(self, statement: str, width: int) -> list[np.ndarray]:
        """Return ``width`` columns of whole numbers."""
        parts: list[list[np.ndarray]] = [[] for _ in range(width)]
        for rows in self.chunks(statement):
            for part, column in zip(parts, zip(*rows, strict=True), strict=True):
                part.append(np.array(column, np.int64))
        return [np.concatenate(part) if part else np.empty(0, np.int64) for part in parts]

    def count(self, table: str) -> int:
        """Return the number of rows of a table, 0 where there is none."""
        if table not in self.columns:
            return 0
        return int(self.rows(f'SELECT COUNT(*) FROM "{table}"')[0][0])  # noqa: S608

    def number(self, table: str, column: str, absent: int = -1) -> str:
        """Return SQL for a number of a table; ``absent`` where column or value is missing."""
        return f'COALESCE("{column}", {absent})' if column in self.columns[table] else str(absent)

    def name(self, text: str) -> int:
        """Return the index of a name."""
        return self.names.setdefault(text, len(self.names))


def _read(export: _Export) -> Profile:
    parts = [_work(export, table, *_named(export, table)) for table in _WORK if export.count(table)]
    parts = [part for part in parts if len(part.starts)]
    if not parts:
        raise UsageError(_nothing(export))
    if not export.count(_KERNELS):
        export.notes.append("no kernel was captured, only copies, memsets or whole graphs")
    graphs = export.count(_GRAPHS)
    if graphs:
        export.notes.append(
            f"{graphs:,} launches of CUDA graphs have no node data, each is one row: profile with "
            "--cuda-graph-trace=node for their kernels"
        )
    columns = (np.concatenate(one) for one in zip(*(_fields(part) for part in parts), strict=True))
    work = _Work(*columns)
    ranges = _ranges(export)
    events = _events(export, work, ranges, zero := int(work.starts.min()))
    table = range_table(ranges, zero, _NS)
    notes = tuple(export.notes)
    return Profile("nsys", str(export.path), kernel_table(events), events, table, None, notes)


def _fields(work: _Work) -> tuple[np.ndarray, ...]:
    return (
        work.names, work.starts, work.ends, work.devices, work.streams, work.correlations,
        work.processes,
    )  # fmt: skip


def _nothing(export: _Export) -> str:
    calls = sum(export.count(table) for table in _CALLS)
    if not calls and _STRINGS not in export.columns:
        return (
            f"{export.path} is SQLite, but no export of nsys: expected a table {_KERNELS}, got "
            f"{', '.join(sorted(export.columns)[:5]) or 'no table'}"
        )
    return (
        f"{export.path} has no kernel, copy or graph: nsys traced {calls:,} CUDA calls and no work "
        "on a device; profile with --trace=cuda,nvtx while the GPU works, and let the program end"
    )


def _named(export: _Export, table: str) -> tuple[str, Callable[[Any], str]]:
    """Return the SQL of what names a row of a table, and what makes a name of it."""
    if table == _GRAPHS:
        return "0", lambda _: _GRAPH
    if table == _SETS:
        return "0", lambda _: "Memset"
    if table == _COPIES:
        return export.number(table, "copyKind", 0), _copy
    column = next((name for name in _NAMES if name in export.columns[table]), None)
    if column is None:
        raise UsageError(f"{export.path}: {table} has none of the columns {', '.join(_NAMES)}")
    return f'"{column}"', _lookup(export, table, column)


def _copy(kind: Any) -> str:
    known = type(kind) is int and 0 <= kind < len(_DIRECTIONS)
    return f"Memcpy {_DIRECTIONS[kind] if known else 'unknown'}"


def _lookup(export: _Export, table: str, column: str) -> Callable[[Any], str]:
    """Return what finds a kernel's name: a number in the table of strings, or a text itself."""
    texts: dict[Any, str] = {}
    if _STRINGS in export.columns:
        texts = {
            key: _text(value)
            for key, value in export.rows(
                f"SELECT id, value FROM {_STRINGS} WHERE id IN "  # noqa: S608
                f'(SELECT DISTINCT "{column}" FROM "{table}")'
            )
        }

    def find(key: Any) -> str:
        if type(key) is int:
            return texts.get(key) or f"kernel without a name (string {key})"
        return "kernel without a name" if key is None else _text(key)

    return find


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _work(export: _Export, table: str, key: str, called: Callable[[Any], str]) -> _Work:
    for column in ("start", "end"):
        if column not in export.columns[table]:
            raise UsageError(f"{export.path}: {table} has no column {column!r}; export it again")
    timed = "typeof(start) = 'integer' AND typeof(\"end\") = 'integer'"
    others = ("deviceId", "streamId", "correlationId", "globalPid")
    numbers = ", ".join(export.number(table, column) for column in others)
    index: dict[Any, int] = {}
    parts: list[list[np.ndarray]] = [[] for _ in range(7)]
    statement = f'SELECT {key}, start, "end", {numbers} FROM "{table}" WHERE {timed}'  # noqa: S608
    for rows in export.chunks(statement):
        keys, *columns = zip(*rows, strict=True)
        for one in set(keys) - index.keys():
            index[one] = export.name(called(one))
        parts[0].append(np.array([index[one] for one in keys], np.int64))
        for part, values in zip(parts[1:], columns, strict=True):
            part.append(np.array(values, np.int64))
    found = _Work(*(np.concatenate(part) if part else np.empty(0, np.int64) for part in parts))
    _check(export, table, found)
    return found


def _check(export: _Export, table: str, found: _Work) -> None:
    untimed = export.count(table) - len(found.starts)
    if untimed:
        export.notes.append(f"{untimed:,} rows of {table} have no start or end, and are left out")
    times = np.concatenate([found.starts, found.ends])
    if ((times > _MOST_NS) | (times < -_MOST_NS)).any():
        raise UsageError(f"{export.path} is damaged: {table} holds times over {_MOST_NS} ns")
    backwards = int((found.ends < found.starts).sum())
    if backwards:
        export.notes.append(f"{backwards:,} rows of {table} end before they start; they count as 0")
        found.ends = np.maximum(found.ends, found.starts)


def _ranges(export: _Export) -> list[Range]:
    """Return the NVTX ranges that are phases, by the process and thread that opened them."""
    if not export.count(_NVTX):
        return []
    columns = export.columns[_NVTX]
    wanted = ", ".join(f"'{phase}'" for phase in PHASES if phase)
    texts = []
    if "text" in columns:
        texts.append(f"SELECT *, text AS phase FROM {_NVTX} WHERE text IN ({wanted})")  # noqa: S608
    if "textId" in columns and _STRINGS in export.columns:
        texts.append(
            f"SELECT e.*, s.value AS phase FROM {_NVTX} e JOIN {_STRINGS} s ON s.id = e.textId "  # noqa: S608
            f"WHERE s.value IN ({wanted})"
            + (" AND COALESCE(e.text, '') = ''" if "text" in columns else "")
        )
    thread = export.number(_NVTX, "globalTid")
    found, open_ended = [], 0
    for text in texts:
        for phase, start, end, tid in export.rows(
            f'SELECT phase, start, "end", {thread} FROM ({text})'  # noqa: S608
        ):
            if type(start) is int and type(end) is int:
                found.append(Range(phase, start, end, tid))
            else:
                open_ended += 1
    if open_ended:
        export.notes.append(f"{open_ended:,} ranges of a phase never ended, and are left out")
    return found


def _events(export: _Export, work: _Work, ranges: list[Range], zero: int) -> pd.DataFrame:
    phases = np.zeros(len(work.starts), np.int8)
    if ranges:
        phases = _phases(export, work, ranges)
    devices, places = np.unique(work.devices, return_inverse=True)
    return event_table(
        (list(export.names), work.names),
        (["" if one < 0 else str(one) for one in devices], places),
        phases,
        work.streams,
        (work.starts - zero) * _NS,
        (work.ends - work.starts) * _NS,
    )


def _phases(export: _Export, work: _Work, ranges: list[Range]) -> np.ndarray:
    tables = [
        table
        for table in _CALLS
        if {"globalTid", "correlationId", "start"} <= export.columns.get(table, frozenset())
    ]
    if not tables:
        return at_times(work.starts, ranges)
    calls = " UNION ALL ".join(
        f"SELECT globalTid, correlationId, start FROM {table} WHERE correlationId IS NOT NULL"  # noqa: S608
        for table in tables
    )
    tids, correlations, starts = export.arrays(calls, 3)
    keys, threads = np.unique(tids, return_inverse=True)
    codes = on_threads(starts, threads, keys.tolist(), ranges)
    # Correlations count from one in each process.
    processes, place = np.unique(
        np.concatenate([work.processes, tids]) >> _THREAD_BITS, return_inverse=True
    )
    if (work.processes < 0).all():  # exports that do not tell the process have but one
        place = np.zeros_like(place)
    ids = np.concatenate([work.correlations, correlations]) * len(processes) + place
    count = len(work.starts)
    return of_launches(ids[:count], work.starts, ids[count:], codes, ranges)
