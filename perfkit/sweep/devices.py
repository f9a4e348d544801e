"""The GPUs that a group is measured on: leased, and as free before and after as at the start."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perfkit.machine import occupancy
from perfkit.machine.leases import leased, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_GIB = 2**30
_SLACK_BYTES = 64 * 2**20  # NVML counts in pages of 2 MiB, and contexts come and go a little
_PATIENCE_S = 10.0  # a driver gives a killed process's memory back within seconds
_LOOK_EVERY_S = 0.2


@dataclass
class Devices:
    """GPUs by UUID; none on a CPU. ``used`` and ``holders`` read one GPU, as machine.occupancy."""

    uuids: Sequence[str]
    say: Callable[[str], None]
    locks: Path = field(default_factory=place)
    used: Callable[[str], int | str] = occupancy.used_bytes
    holders: Callable[[str], list[str]] = occupancy.holders
    patience_s: float = _PATIENCE_S
    _first: dict[str, int] = field(default_factory=dict)

    @contextlib.contextmanager
    def held(self, count: int, name: str) -> Iterator[dict[str, str]]:
        """Lease ``count`` GPUs and yield the environment that leaves these visible.

        Before and after, memory in use is held against the sweep's first reading of each GPU;
        what stays in use is said with who holds it.
        """
        if not self.uuids or count == 0:
            yield {}
            return
        with leased(self.uuids, count, self.locks, self.say) as mine:
            for uuid in mine:
                self._look(uuid, f"before {name}")
            yield {"CUDA_VISIBLE_DEVICES": ",".join(mine)}
            for uuid in mine:
                self._look(uuid, f"after {name}")

    def _look(self, uuid: str, when: str) -> None:
        used = self.used(uuid)
        if isinstance(used, str):
            self.say(f"{uuid}: memory in use {when} is not known: {used}")
            return
        if uuid not in self._first:
            self._first[uuid] = used
            self.say(f"{uuid}: {_gib(used)} in use {when}, the first reading{self._who(uuid)}")
            return
        first, until = self._first[uuid], time.monotonic() + self.patience_s
        while used > first + _SLACK_BYTES and time.monotonic() < until:
            time.sleep(_LOOK_EVERY_S)
            now = self.used(uuid)
            used = now if isinstance(now, int) else used
        if used > first + _SLACK_BYTES:
            who = self._who(uuid) or ", by nobody that NVML tells of"
            self.say(f"{uuid}: {_gib(used)} in use {when}, {_gib(first)} at first{who}")
        else:
            self.say(f"{uuid}: {_gib(used)} in use {when}, as at first")

    def _who(self, uuid: str) -> str:
        found = self.holders(uuid)
        return f", held by {', '.join(found)}" if found else ""


def _gib(size: int) -> str:
    return f"{size / _GIB:.2f} GiB"
