"""Where groups of cells are measured: what the sweep hands over, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from perfkit.plan import PlannedCell
    from perfkit.results.store import Document
    from perfkit.sweep.worker import Ended, Limits


@dataclass(frozen=True)
class Job:
    """Cells for one process, in their order, and how many GPUs it needs."""

    name: str
    ids: tuple[str, ...]
    gpus: int
    log: Path


@dataclass(frozen=True)
class Event:
    """Something came of a job: lines for the journal, or its end."""

    job: Job
    lines: tuple[bytes, ...] = ()
    ended: Ended | None = None


@dataclass(frozen=True)
class Host:
    """What cells are measured on, as the sweep sees it.

    ``memory_bytes`` is of one device, None where it is not known; ``about`` says what there is.
    """

    machine_key: str
    memory_bytes: int | None
    about: str = ""


class Transport(Protocol):
    """Runs jobs somewhere, every one in a process of its own, and never retries by itself."""

    limits: Limits

    def host(self) -> Host:
        """Look at where cells will be measured. Raises UsageError where that cannot be."""
        ...

    def refuses(self, cell: PlannedCell) -> str | None:
        """Return why no machine in reach can take this cell, or None."""
        ...

    def submit(self, job: Job) -> None:
        """Queue a job."""
        ...

    def events(self) -> Generator[Event, None, None]:
        """Run what is queued, also what is queued meanwhile, and tell what comes of it.

        Lines that are in the sweep's journal already are not told. Closing the iterator ends what
        still runs.
        """
        ...

    def assembled(self, ids: Sequence[str]) -> Document:
        """Return the journal's cells as one pytest-benchmark document.

        Raises UsageError with what was said where it cannot be made.
        """
        ...
