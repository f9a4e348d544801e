"""Traces of PyTorch's profiler (Chrome's JSON), of any size, plain or gzipped."""

from __future__ import annotations

import math
import re
from array import array
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from perfkit.errors import UsageError
from perfkit.profiling.json_stream import items
from perfkit.profiling.phases import PHASES, Range, at_times, of_launches, on_threads, range_table
from perfkit.profiling.table import Profile, event_table, kernel_table

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

    import pandas as pd

# "Memcpy HtoD (Pinned -> Device)": other tools do not tell the kind of memory.
_COPY = re.compile(r"(Memcpy \wto\w|Memset) \(.*\)")
_KERNEL, _CALL, _OPERATOR, _RANGE, _DEVICE_RANGE = range(5)
# By an event's category in lower case: those of Kineto today, and of torch 1.8 to 1.10.
_KINDS = {
    "kernel": _KERNEL,
    "gpu_memcpy": _KERNEL,
    "memcpy": _KERNEL,
    "gpu_memset": _KERNEL,
    "memset": _KERNEL,
    "cuda_runtime": _CALL,
    "cuda_driver": _CALL,
    "runtime": _CALL,
    "cpu_op": _OPERATOR,
    "operator": _OPERATOR,
    "user_annotation": _RANGE,
    "gpu_user_annotation": _DEVICE_RANGE,
}
# torch.autograd.profiler before Kineto, and today's without it, tell a kind by the "process" alone.
_PROCESSES = {"CPU functions": _OPERATOR, "CUDA functions": _KERNEL}
_PLAIN = (int, str)
_MOST = 30_000_000
_US = 1e-6


def read(path: Path) -> Profile:
    """Read a trace: its kernels, copies and memsets, or operators where nothing ran on a device.

    A launch's phase is that of the host's range ``prefill`` or ``decode`` around its launch call.
    Operators count by self time. Raises UsageError that names the file and what is wrong with it.
    """
    found = _Found(path)
    with closing(items(path, "traceEvents")) as events_read:
        for event in events_read:
            found.add(event)
    if len(found.kernels):
        events, ranges, notes = _of_device(found)
    elif len(found.operators):
        events, ranges, notes = _of_host(found)
    else:
        raise UsageError(
            f"{path} has no kernel and no operator among its {found.read:,} events: profile with "
            "activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA] while the model runs"
        )
    table = range_table(ranges, found.zero, _US)
    return Profile("torch", str(path), kernel_table(events), events, table, None, tuple(notes))


class _Distinct(dict[Any, int]):
    """Values by the order in which they came."""

    def __missing__(self, value: Hashable) -> int:
        self[value] = len(self)
        return self[value]


class _Columns:
    """Name, start, duration and a place (of a device: device and stream; else thread) of events."""

    def __init__(self) -> None:
        self._names, self._places = array("q"), array("q")
        self._starts, self._lengths, self._ids = array("d"), array("d"), array("q")

    def __len__(self) -> int:
        return len(self._names)

    def add(self, name: int, place: int, start: float, length: float, correlation: int) -> None:
        self._names.append(name)
        self._places.append(place)
        self._starts.append(start)
        self._lengths.append(length)
        self._ids.append(correlation)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return names, places, starts, lengths and correlations."""
        return (
            np.asarray(self._names), np.asarray(self._places), np.asarray(self._starts),
            np.asarray(self._lengths), np.asarray(self._ids),
        )  # fmt: skip


class _Found:
    """What a trace's events tell, kept in numbers: a trace of 1 GB is a few dozen MB here."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.read = 0
        self.backwards = 0
        self.names, self.places, self.threads = _Distinct(), _Distinct(), _Distinct()
        self.kernels, self.calls, self.operators = _Columns(), _Columns(), _Columns()
        self.ranges: list[Range] = []
        self.device_ranges: list[Range] = []
        self.graph_kernels = 0

    @property
    def zero(self) -> float:
        """When the first of what is told began, us: what seconds are counted from."""
        columns = self.kernels if len(self.kernels) else self.operators
        return float(columns.arrays()[2].min())

    def add(self, event: Any) -> None:
        """Keep what an event tells."""
        self.read += 1
        if type(event) is not dict:
            raise self._wrong(f"is {str(event)[:40]!r}, expected an object")
        if event.get("ph") != "X":
            return
        kind = _kind(event)
        if kind is None:
            return
        start, length = self._number(event, "ts"), self._number(event, "dur")
        if length < 0:
            self.backwards += 1
            length = 0.0
        name = _name(event)
        args = event.get("args")
        args = args if type(args) is dict else {}
        if kind == _KERNEL:
            place = self.places[_device(event, args)]
            self.kernels.add(self.names[name], place, start, length, _id(args))
            self.graph_kernels += "graph node id" in args
        elif kind == _CALL:
            self.calls.add(0, self._thread(event), start, length, _id(args))
        elif name in PHASES and name:
            ranges = self.device_ranges if kind == _DEVICE_RANGE else self.ranges
            thread = event.get("pid"), event.get("tid")
            ranges.append(Range(name, start, start + length, thread))
        elif kind == _OPERATOR and not name.startswith("ProfilerStep#"):
            self.operators.add(self.names[name], self._thread(event), start, length, 0)
        if self.read > _MOST:
            self._check_size()

    def _thread(self, event: dict[str, Any]) -> int:
        pid, tid = event.get("pid"), event.get("tid")
        if type(pid) not in _PLAIN or type(tid) not in _PLAIN:
            raise self._wrong(f"has pid {pid!r} and tid {tid!r}, expected numbers or names")
        return self.threads[pid, tid]

    def _number(self, event: dict[str, Any], key: str) -> float:
        value: Any = event.get(key)
        if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > 1e18:
            raise self._wrong(f"has {key} {str(value)[:40]!r}, expected microseconds")
        return float(value)

    def _check_size(self) -> None:
        if len(self.kernels) + len(self.calls) + len(self.operators) > _MOST:
            raise UsageError(f"{self._path} has more than {_MOST:,} events: profile fewer steps")

    def _wrong(self, words: str) -> UsageError:
        return UsageError(f"{self._path} is no trace of PyTorch: event {self.read:,} {words}")

    def notes(self) -> list[str]:
        """Say what was mended."""
        if not self.backwards:
            return []
        return [f"{self.backwards:,} events end before they begin; they count as 0 s"]


def _kind(event: dict[str, Any]) -> int | None:
    category = event.get("cat")
    if type(category) is str:
        return _KINDS.get(category) if category in _KINDS else _KINDS.get(category.lower())
    process = event.get("pid")
    return _PROCESSES.get(process) if type(process) is str else None


def _name(event: dict[str, Any]) -> str:
    name = event.get("name")
    name = name if type(name) is str else str(name)
    # JSON can hold halves of surrogate pairs, which no file can be written with.
    if name.startswith("Mem") and (copied := _COPY.fullmatch(name)):
        return str(copied[1])
    return name if name.isascii() else name.encode("utf-8", "replace").decode("utf-8")


def _id(args: dict[str, Any]) -> int:
    found = args.get("correlation", -1)
    return found if type(found) is int and abs(found) < 2**62 else -1


def _device(event: dict[str, Any], args: dict[str, Any]) -> tuple[str, int]:
    """Return device and stream; before Kineto a thread of "CUDA functions" was a device."""
    if event.get("pid") == "CUDA functions":
        return str(event.get("tid")), -1
    device, stream = args.get("device", event.get("pid")), args.get("stream", event.get("tid"))
    return str(device), _whole(stream)


def _whole(value: Any) -> int:
    """Return a number, or that of "stream 7" or "7"; -1 where there is none."""
    if type(value) is str:
        text = value.removeprefix("stream ")
        return int(text) if text.isdecimal() and len(text) < 18 else -1
    return value if type(value) is int and abs(value) < 2**62 else -1


def _of_device(found: _Found) -> tuple[pd.DataFrame, list[Range], list[str]]:
    names, places, starts, lengths, ids = found.kernels.arrays()
    _, threads, times, _, call_ids = found.calls.arrays()
    notes = found.notes()
    ranges = found.ranges
    if ranges:
        codes = on_threads(times, threads, list(found.threads), ranges)
        known = call_ids >= 0
        phases = of_launches(ids, starts, call_ids[known], codes[known], ranges)
    else:
        ranges = found.device_ranges
        phases = at_times(starts, ranges)
        if ranges:
            notes.append("no range of the host: phases are those of the device's own ranges")
    if found.graph_kernels:
        notes.append(f"{found.graph_kernels:,} kernels ran in CUDA graphs")
    devices = _Distinct()
    of_place = np.array([devices[device] for device, _ in found.places], np.int64)
    streams = np.array([stream for _, stream in found.places], np.int64)
    events = event_table(
        (list(found.names), names), (list(devices), of_place[places]), phases, streams[places],
        (starts - found.zero) * _US, lengths * _US,
    )  # fmt: skip
    return events, ranges, notes


def _of_host(found: _Found) -> tuple[pd.DataFrame, list[Range], list[str]]:
    names, threads, starts, lengths, _ = found.operators.arrays()
    keys = list(found.threads)
    phases = on_threads(starts, threads, keys, found.ranges)
    numbers = np.array([_whole(tid) for _, tid in keys], np.int64)
    events = event_table(
        (list(found.names), names), (["cpu"], np.zeros(len(names), np.int8)), phases,
        numbers[threads], (starts - found.zero) * _US,
        self_times(threads, starts, lengths) * _US,
    )  # fmt: skip
    told = "nothing ran on a device: operators by self time on the CPU, a thread as a stream"
    return events, found.ranges, [told, *found.notes()]


def self_times(threads: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return each operator's time less that of the operators it called on its thread."""
    ends: np.ndarray = starts + lengths
    own: list[float] = lengths.tolist()
    order = np.lexsort((-lengths, starts, threads))
    running: list[tuple[int, float]] = []
    last = -1
    for index, thread, start, end in zip(
        order.tolist(), threads[order].tolist(), starts[order].tolist(), ends[order].tolist(),
        strict=True,
    ):  # fmt: skip
        if thread != last:
            running, last = [], thread
        while running and running[-1][1] <= start:
            running.pop()
        if running:
            caller, until = running[-1]
            own[caller] -= min(end, until) - start
        running.append((index, end))
    return np.maximum(own, 0.0)
