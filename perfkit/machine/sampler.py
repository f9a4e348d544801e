"""The sampling process: `python -m perfkit.machine.sampler`, one JSON object a line, 20 a second.

A process of its own, because a thread would wait for the interpreter lock of what it watches.
The first line is a header with the reason for each reading that this machine does not give.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfkit.machine.identity import (
    NVML_CLOCK_MEM,
    NVML_CLOCK_SM,
    NVML_TEMPERATURE_GPU,
    attempt,
    load_nvml,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

INTERVAL_S = 0.05
DEVICE_READINGS = (
    "used_bytes",
    "sm_clock_mhz",
    "mem_clock_mhz",
    "power_w",
    "temperature_c",
    "throttle_bits",
)


def main(arguments: list[str] | None = None) -> int:
    """Sample until SIGTERM or until the parent is gone; stamps are time.monotonic() seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--uuid", action="append", default=[], help="a GPU; repeatable")
    parser.add_argument("--remove", action="store_true", help="the file, if the parent dies")
    options = parser.parse_args(arguments)
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopped.append(number))
    readings, absent = _readings(options.uuid, options.pid)
    first, why = take(readings)
    with options.file.open("w", buffering=1, encoding="utf-8") as file:
        file.write(json.dumps({"absent": absent | why}) + "\n")
        file.write(json.dumps(first) + "\n")
        due = time.monotonic()
        while not stopped and os.getppid() == options.parent:
            due = max(due + INTERVAL_S, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
            file.write(json.dumps(take(readings)[0]) + "\n")
    if options.remove and not stopped:  # nobody is left to read the samples or to remove them
        options.file.unlink(missing_ok=True)
    return 0


def take(readings: Mapping[str, Callable[[], Any]]) -> tuple[dict[str, Any], dict[str, str]]:
    """Take one sample: the readings that came with their stamp `t` in s, and why others did not."""
    sample: dict[str, Any] = {"t": time.monotonic()}
    absent: dict[str, str] = {}
    for name, read in readings.items():
        value = attempt(read)
        if isinstance(value, str):
            absent[name] = value
        else:
            sample[name] = value
    return sample, absent


def _readings(
    uuids: Sequence[str], pid: int
) -> tuple[dict[str, Callable[[], Any]], dict[str, str]]:
    """Return how to read what can be read, and the reason for everything else."""
    readings: dict[str, Callable[[], Any]] = {}
    absent: dict[str, str] = {}
    try:
        import psutil

        process = psutil.Process(pid)
        readings["rss_bytes"] = lambda: int(process.memory_info().rss)
    except Exception as error:  # no psutil, or the process is gone already
        absent["rss_bytes"] = f"{type(error).__name__}: {error}"
    device = _device_readings(uuids) if uuids else "device_is_cpu"
    if isinstance(device, str):
        absent |= dict.fromkeys(DEVICE_READINGS, device)
    else:
        readings |= device
    return readings, absent


def _device_readings(uuids: Sequence[str]) -> dict[str, Callable[[], Any]] | str:
    """Return how to read the GPUs: each reading is a list, in their order."""
    nvml = load_nvml()
    if isinstance(nvml, str):
        return nvml
    handles = []
    for uuid in uuids:
        handle = attempt(functools.partial(nvml.nvmlDeviceGetHandleByUUID, uuid))
        if isinstance(handle, str):
            return f"NVML finds no GPU {uuid} ({handle})"
        handles.append(handle)

    def clocks(kind: int) -> list[int]:
        return [int(nvml.nvmlDeviceGetClockInfo(one, kind)) for one in handles]

    def temperatures() -> list[int]:
        return [int(nvml.nvmlDeviceGetTemperature(one, NVML_TEMPERATURE_GPU)) for one in handles]

    return {
        "used_bytes": lambda: [used_bytes(nvml, one) for one in handles],
        "sm_clock_mhz": lambda: clocks(NVML_CLOCK_SM),
        "mem_clock_mhz": lambda: clocks(NVML_CLOCK_MEM),
        "power_w": lambda: [nvml.nvmlDeviceGetPowerUsage(one) / 1000 for one in handles],
        "temperature_c": temperatures,
        "throttle_bits": lambda: [throttle_bits(nvml, one) for one in handles],
    }


def used_bytes(nvml: Any, handle: Any) -> int:
    """Return the device's used memory in bytes; version 2 leaves the driver's own share out."""
    version = getattr(nvml, "nvmlMemory_v2", None)
    if version is not None:
        second = attempt(lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle, version=version).used))
        if isinstance(second, int):
            return second
    return int(nvml.nvmlDeviceGetMemoryInfo(handle).used)


def throttle_bits(nvml: Any, handle: Any) -> int:
    """Return the clock event reasons in force, by the new name of the call or by the old."""
    try:
        return int(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
    except Exception:  # an older driver knows only the older name
        return int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))


if __name__ == "__main__":
    sys.exit(main())
