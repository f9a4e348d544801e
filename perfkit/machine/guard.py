"""A watching process: when its standard input ends, it kills whatever bears a mark.

Started as a file, by any Python 3, without perfkit: ``python guard.py MARK FOLDER``. perfkit holds
the other end of that input, so this works however perfkit ends, also by SIGKILL.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

_LOOKS, _PAUSE_S = 20, 0.1


def marked(mark: str) -> list[int]:
    """Return the processes, this one apart, whose environment began with ``mark`` in it."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parts = (place / "environ").read_bytes().split(b"\0")
        except OSError:  # another user's, or gone
            continue
        if mark.encode() in parts and int(place.name) != os.getpid():
            found.append(int(place.name))
    return found


def kill(mark: str) -> None:
    """Kill them all, and what they began meanwhile."""
    for _ in range(3):
        for pid in marked(mark):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue


def main(mark: str, folder: str) -> None:
    """Wait for the end of the input; then kill, and remove the folder."""
    while sys.stdin.buffer.read(1):
        pass
    # A process that is just beginning shows no environment for a moment: look again.
    for _ in range(_LOOKS):
        kill(mark)
        time.sleep(_PAUSE_S)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
