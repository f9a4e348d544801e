"""Processes that must not outlive what started them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

_PR_SET_PDEATHSIG = 1  # Linux: prctl(2)
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_TAIL_BYTES = 2000


def end_with_parent() -> None:
    """In a child, before its program: be killed when its parent is, however that ends.

    An orphan would go on measuring beside whatever takes over from the killed one.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its group, and wait for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def words(code: int) -> str:
    """As in "ended with signal SIGKILL"."""
    if code >= 0:
        return f"ended with exit code {code}"
    return f"ended with signal {signal.Signals(-code).name}"


def tail(log: Path) -> str:
    """Return the last line that a process printed, for a reason; empty where there is none."""
    if not log.is_file():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
        lines = stream.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:200] if lines else ""
