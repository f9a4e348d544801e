"""Whether other processes took the CPU away: what canaries at both ends of a session can miss."""

from __future__ import annotations

from pathlib import Path

SCHEDSTAT = Path("/proc/self/schedstat")


def cpu_wait_s() -> float | str:
    """Return how long this process's main thread, ready to run, has waited for a CPU so far, in s.

    Or the reason why the kernel does not tell (Linux: Documentation/scheduler/sched-stats).
    """
    try:
        _, waited_ns, _ = SCHEDSTAT.read_text(encoding="ascii").split()
        return int(waited_ns) / 1e9
    except (OSError, ValueError) as error:
        return f"{SCHEDSTAT} cannot be read ({type(error).__name__})"
