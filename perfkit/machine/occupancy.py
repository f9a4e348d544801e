"""How much of a GPU's memory is in use, and by whom, as NVML tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.machine.identity import attempt, load_nvml

if TYPE_CHECKING:
    from collections.abc import Iterable

_GIB = 2**30


def used_bytes(uuid: str) -> int | str:
    """Return the bytes in use on a GPU by anybody, or the reason why that is not known."""
    nvml = load_nvml()
    if isinstance(nvml, str):
        return nvml
    found = attempt(
        lambda: int(nvml.nvmlDeviceGetMemoryInfo(nvml.nvmlDeviceGetHandleByUUID(uuid)).used)
    )
    return found if isinstance(found, int) else str(found)


def used_in_all(uuids: Iterable[str]) -> int | str:
    """Return the bytes in use on several GPUs together, or the first reason why one is unknown."""
    total = 0
    for uuid in uuids:
        found = used_bytes(uuid)
        if isinstance(found, str):
            return found
        total += found
    return total


def holders(uuid: str) -> list[str]:
    """Return who computes on a GPU, as in "process 812 (python3) 1.5 GiB"; [] if none is told of.

    In a container NVML may tell of nobody, or of processes by numbers that mean nothing inside.
    """
    nvml = load_nvml()
    if isinstance(nvml, str):
        return []
    found = attempt(
        lambda: nvml.nvmlDeviceGetComputeRunningProcesses(nvml.nvmlDeviceGetHandleByUUID(uuid))
    )
    return (
        [] if isinstance(found, str) else [_told(entry.pid, entry.usedGpuMemory) for entry in found]
    )


def _told(pid: int, size: int | None) -> str:
    import psutil

    name = attempt(lambda: f" ({psutil.Process(pid).name()})")
    known = name if name.startswith(" (") else ""
    return f"process {pid}{known}" + ("" if size is None else f" {size / _GIB:.1f} GiB")
