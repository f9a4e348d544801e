"""One worker: a pytest process that measures a group's cells, watched through its journal."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

_LOOK_EVERY_S = 0.25
_TAIL_BYTES = 2000
_PR_SET_PDEATHSIG = 1  # Linux: prctl(2)
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Ended:
    """How a worker ended: its exit code and last words, or that it stood still or was lost."""

    code: int
    stood_still: bool = False
    said: str = ""
    lost: str = ""

    @property
    def words(self) -> str:
        """As in "its process ended with signal SIGKILL"."""
        if self.lost:
            return self.lost
        if self.code >= 0:
            return f"its process ended with exit code {self.code}"
        return f"its process ended with signal {signal.Signals(-self.code).name}"


@dataclass(frozen=True)
class Limits:
    """The longest waits for a worker's first finished cell and for each further one, in seconds."""

    first_s: float
    next_s: float


def run(
    made: Sequence[str], log: Path, journal: Path, limits: Limits, environment: Mapping[str, str]
) -> Generator[None, None, Ended]:
    """Start the command in a process group of its own and watch it to its end.

    Yields whenever lines have been added to the journal; past the limits the whole group is
    killed. It is killed too when the generator is closed, and by every exception that comes through
    here, KeyboardInterrupt among them. ``environment`` is the whole of its environment.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    size, limit_s = _size(journal), limits.first_s
    with log.open("ab") as stream:
        process = subprocess.Popen(
            made,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509  (the sweep has one thread)
        )
        moved = time.monotonic()
        try:
            while process.poll() is None:
                time.sleep(_LOOK_EVERY_S)
                now = _size(journal)
                if now != size:
                    size, limit_s, moved = now, limits.next_s, time.monotonic()
                    yield
                elif time.monotonic() - moved > limit_s:
                    _kill(process)
                    return Ended(process.returncode, stood_still=True, said=tail(log))
        except BaseException:
            _kill(process)
            raise
    _kill(process)  # what it may have started and left behind
    return Ended(process.returncode, said=tail(log))


def advance(running: Generator[None, None, Ended]) -> Ended | None:
    """Go on until the journal has grown (None) or the worker has ended."""
    try:
        next(running)
    except StopIteration as stop:
        ended: Ended = stop.value
        return ended
    return None


def tail(log: Path) -> str:
    """Return the last line that a worker printed, for a reason; empty where there is none."""
    if not log.is_file():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
        lines = stream.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:200] if lines else ""


def _end_with_parent() -> None:
    """In the worker, before its program: be killed when the sweep is, however it ends.

    An orphan would go on measuring beside the sweep that takes over from the killed one.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
