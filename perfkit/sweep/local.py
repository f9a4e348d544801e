"""The transport of one host: one job at a time, straight into the sweep's journal."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perfkit.errors import UsageError
from perfkit.machine.identity import Gpu, gpu_absence, gpus, identify
from perfkit.machine.requirements import missing_gpus
from perfkit.results import store
from perfkit.suite import command
from perfkit.sweep import worker
from perfkit.sweep.devices import Devices
from perfkit.sweep.transport import Event, Host, Job

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from perfkit.plan import PlannedCell
    from perfkit.results.store import Document
    from perfkit.suite import Measuring

_GIB = 2**30


def host(device: str) -> Host:
    """Look at this machine; ``device`` is "cpu" or "gpu"."""
    if device == "gpu":
        found = gpus()
        memory = found[0].memory_bytes if found else None
        return Host(identify("cuda").key, memory, "; ".join(_told(gpu) for gpu in found))
    import psutil

    return Host(identify("cpu").key, int(psutil.virtual_memory().total), "no GPU is used")


def _told(gpu: Gpu) -> str:
    size = "" if gpu.memory_bytes is None else f", {gpu.memory_bytes / _GIB:.0f} GiB"
    return f"{gpu.uuid} ({gpu.name}{size})"


@dataclass
class Local:
    """Measures on this host's visible GPUs, leased group by group, or on its CPU."""

    what: Measuring
    journal: Path
    limits: worker.Limits
    say: Callable[[str], None]
    make: Callable[..., list[str]] = command
    devices: Devices = field(init=False)
    _queue: deque[Job] = field(default_factory=deque)
    _gpus: tuple[Gpu, ...] = field(init=False)
    _at_work: bool = False

    def __post_init__(self) -> None:
        """Find the GPUs, if they are what is measured."""
        self._gpus = gpus() if self.what.device == "gpu" else ()
        self.devices = Devices([gpu.uuid for gpu in self._gpus], self.say)

    def host(self) -> Host:
        """Look at this machine; see Transport."""
        return host(self.what.device)

    def refuses(self, cell: PlannedCell) -> str | None:
        """Hold a cell against the GPUs; see Transport."""
        if self.what.device == "cpu":
            return None
        return missing_gpus(self._gpus, gpu_absence(), n=cell.case.tp, min_mem_gib=cell.min_mem_gib)

    def submit(self, job: Job) -> None:
        """Queue a job; what is left of one that died under way goes first; see Transport."""
        if self._at_work:
            self._queue.appendleft(job)
        else:
            self._queue.append(job)

    def events(self) -> Generator[Event, None, None]:
        """Run one job after the other; see Transport."""
        self._at_work = True
        while self._queue:
            job = self._queue.popleft()
            with self.devices.held(job.gpus, job.name) as environment:
                made = self.make(self.what, job.ids, output=None, journal=self.journal, resume=True)
                running = worker.run(
                    made, job.log, self.journal, self.limits, os.environ | environment
                )
                with contextlib.closing(running):
                    while (ended := worker.advance(running)) is None:
                        yield Event(job)
            yield Event(job, ended=ended)

    def assembled(self, ids: Sequence[str]) -> Document:
        """Let pytest put all cells into one file; see Transport."""
        partial = self.journal.with_name(".matrix_results.json")
        made = self.make(self.what, ids, output=partial, journal=self.journal, resume=True)
        return assembled(made, partial)


def assembled(made: Sequence[str], partial: Path) -> Document:
    """Run a command that writes ``partial``; return what it wrote, and remove the file."""
    partial.unlink(missing_ok=True)
    done = subprocess.run(made, capture_output=True, text=True, check=False)
    if not partial.is_file():
        raise UsageError(
            f"the results could not be written: pytest ended with {done.returncode}: "
            f"{(done.stdout + done.stderr).strip()[-300:]}"
        )
    document = store.read(partial)
    partial.unlink()
    return document
