"""Ends the process when a device call does not come back: a stuck kernel cannot be interrupted."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

EXIT_CODE = 70


@contextlib.contextmanager
def watchdog(limit_s: float, what: str) -> Iterator[None]:
    """Within the block, after ``limit_s`` seconds, say what is stuck and exit with code 70.

    Neither an exception nor a signal reaches a thread that waits for the device, so the process
    ends at once; what was measured before is in the journal.
    """

    def give_up() -> None:
        os.write(2, f"\nperfkit: no answer for {limit_s:g} s, ending: {what}\n".encode())
        os._exit(EXIT_CODE)

    timer = threading.Timer(limit_s, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
