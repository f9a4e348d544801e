"""GPUs of one host shared among processes: a lock file for each UUID, held while one measures.

The system lets go of a lock when its holder ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_RETRY_S = 0.5


def place() -> Path:
    """Return the folder of the lock files, the same for every user of this host."""
    return Path(tempfile.gettempdir()) / "perfkit-gpu-leases"


@contextlib.contextmanager
def leased(
    uuids: Sequence[str], count: int, where: Path, waiting: Callable[[str], None]
) -> Iterator[tuple[str, ...]]:
    """Hold ``count`` of these GPUs, the first free ones; wait until there are so many.

    None is held while others are waited for, so that two who want two each never block one
    another. ``waiting`` is told once who holds what. Raises ValueError for more than there are.
    """
    if count > len(uuids):
        raise ValueError(f"{count} GPUs asked for, {len(uuids)} to choose from")
    _make(where)
    told = False
    while True:
        with contextlib.ExitStack() as held:
            mine, others = _take(uuids, count, where, held)
            if len(mine) == count:
                yield mine
                return
        if not told:
            waiting(f"waiting for {count} of {len(uuids)} GPUs: {', '.join(others)}")
            told = True
        time.sleep(_RETRY_S)


def _take(
    uuids: Sequence[str], count: int, where: Path, held: contextlib.ExitStack
) -> tuple[tuple[str, ...], list[str]]:
    mine: list[str] = []
    others: list[str] = []
    for uuid in uuids:
        if len(mine) == count:
            break
        lock = held.enter_context(_open(where / f"{uuid}.lock"))
        if (owner := claimed(lock)) is not None:
            others.append(f"{uuid} is held by {owner}")
        else:
            mine.append(uuid)
    return tuple(mine), others


def claimed(lock: TextIO) -> str | None:
    """Lock an open file for this process and write its name there; else return who holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        return lock.read().strip() or "another process"
    lock.truncate(0)
    lock.write(f"process {os.getpid()}")
    lock.flush()
    return None


def _make(where: Path) -> None:
    if not where.is_dir():
        where.mkdir(parents=True, exist_ok=True)
        where.chmod(0o1777)  # others of this host lease here too


def _open(path: Path) -> TextIO:
    """Open a lock file that any user may have made; a link is refused."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CREAT, 0o666)
        with contextlib.suppress(PermissionError):
            os.fchmod(handle, 0o666)
    return os.fdopen(handle, "r+", encoding="utf-8")
