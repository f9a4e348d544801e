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
    from collections.abc import Callable, Sequence
    from pathlib import Path

_LOOK_EVERY_S = 0.25
_TAIL_BYTES = 2000
_PR_SET_PDEATHSIG = 1  # Linux: prctl(2)
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Ended:
    """How a worker ended: its exit code, or that it was ended because it stood still."""

    code: int
    stood_still: bool = False

    @property
    def words(self) -> str:
        """As in "signal SIGKILL" or "exit code 3"."""
        if self.code >= 0:
            return f"exit code {self.code}"
        return f"signal {signal.Signals(-self.code).name}"


def run(
    made: Sequence[str],
    log: Path,
    journal: Path,
    limits_s: tuple[float, float],
    finished: Callable[[], None],
) -> Ended:
    """Start the command in a process group of its own and wait for its end.

    ``limits_s`` are the longest waits for the first line in the journal and for each further one;
    past them the whole group is killed. ``finished`` is called when lines have been added. An
    exception that comes through here, KeyboardInterrupt among them, ends the group first.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    size, limit_s = _size(journal), limits_s[0]
    with log.open("ab") as stream:
        process = subprocess.Popen(
            made,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509  (the sweep has one thread)
        )
        moved = time.monotonic()
        try:
            while process.poll() is None:
                time.sleep(_LOOK_EVERY_S)
                now = _size(journal)
                if now != size:
                    size, limit_s, moved = now, limits_s[1], time.monotonic()
                    finished()
                elif time.monotonic() - moved > limit_s:
                    _kill(process)
                    return Ended(process.returncode, stood_still=True)
        except BaseException:
            _kill(process)
            raise
    _kill(process)  # what it may have started and left behind
    return Ended(process.returncode)


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
