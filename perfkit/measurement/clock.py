"""The timer of a session: what time rounds took on the device, and on the host beside it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.machine.clocks import RoundClock
    from perfkit.metrics import Trace


@dataclass
class DeviceClock:
    """A timer for pytest-benchmark whose value advances by measured device time alone.

    ``pedantic`` reads its timer twice a round: the first reading submits, the second finishes the
    round and adds what the round clock measured. The host's seconds of the same rounds are kept
    beside it. Between cells nothing is bound and reading it is an error.
    """

    now: Callable[[], float] = time.perf_counter
    traces: list[Trace] = field(default_factory=list)
    host_s: list[float] = field(default_factory=list)
    device_s: list[float] = field(default_factory=list)
    _clock: RoundClock | None = None
    _value: float = 0.0
    _host_start: float | None = None

    def __post_init__(self) -> None:
        """Give the name that pytest-benchmark writes into its JSON."""
        self.__name__ = "device_clock"

    def bind(self, clock: RoundClock) -> None:
        """Start a cell: forget the last one's rounds."""
        self._clock, self._host_start = clock, None
        self.traces, self.host_s, self.device_s = [], [], []

    def stamp(self) -> None:
        """Mark a token of the round in progress; pass this to ``Engine.generate``."""
        if self._clock is None:
            raise RuntimeError("the device clock was stamped while no cell was bound")
        self._clock.stamp()

    def __call__(self) -> float:
        """Return device seconds so far; see the class."""
        if self._clock is None:
            raise RuntimeError("the device clock was read while no cell was bound")
        if self._host_start is None:
            self._host_start = self.now()
            self._clock.submit()
            return self._value
        seconds, trace, told_s = self._clock.finish()
        self.host_s.append(self.now() - self._host_start if told_s is None else told_s)
        self._host_start = None
        self.device_s.append(seconds)
        self.traces.append(trace)
        self._value += seconds
        return self._value
