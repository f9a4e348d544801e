"""One worker: a pytest process that measures a group's cells, watched through its journal."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.machine.processes import end_with_parent, kill, tail, words

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

_LOOK_EVERY_S = 0.25


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
        return f"its process {words(self.code)}"


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
            preexec_fn=end_with_parent,  # noqa: PLW1509  (the sweep has one thread)
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
                    kill(process)
                    return Ended(process.returncode, stood_still=True, said=tail(log))
        except BaseException:
            kill(process)
            raise
    kill(process)  # what it may have started and left behind
    return Ended(process.returncode, said=tail(log))


def advance(running: Generator[None, None, Ended]) -> Ended | None:
    """Go on until the journal has grown (None) or the worker has ended."""
    try:
        next(running)
    except StopIteration as stop:
        ended: Ended = stop.value
        return ended
    return None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
