"""Clocks: what time a round took on the device, and on the host beside it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perfkit.metrics import Trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.backends.engine import RoundClock


class HostClock:
    """The host's clock, right where the host does the work."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        """Use ``now``, in seconds."""
        self._now = now
        self._start = 0.0
        self._tokens: list[float] = []

    def submit(self) -> None:
        """Mark the submission."""
        self._tokens = []
        self._start = self._now()

    def stamp(self) -> None:
        """Mark a token."""
        self._tokens.append(self._now())

    def finish(self) -> tuple[float, Trace]:
        """Return seconds since submission, and the token times."""
        total = self._now() - self._start
        return total, Trace(tuple(t - self._start for t in self._tokens))


class EventClock:
    """CUDA events on the current stream: device time, and no waiting between tokens."""

    def __init__(self, tokens: int) -> None:
        """Make the events of one round beforehand; they are used again each round."""
        import torch

        self._cuda = torch.cuda
        self._events: list[Any] = [torch.cuda.Event(enable_timing=True) for _ in range(tokens + 2)]
        self._used = 0

    def submit(self) -> None:
        """Record the start; the device is idle, since each round ends by waiting for it."""
        self._used = 1
        self._events[0].record()

    def stamp(self) -> None:
        """Record a token."""
        self._events[self._used].record()
        self._used += 1

    def finish(self) -> tuple[float, Trace]:
        """Record the end, wait, and read: seconds from submission."""
        end = self._events[self._used]
        end.record()
        end.synchronize()
        start = self._events[0]
        stamps = self._events[1 : self._used]
        times = [start.elapsed_time(event) / 1e3 for event in stamps]
        return start.elapsed_time(end) / 1e3, Trace(tuple(times))


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
        seconds, trace = self._clock.finish()
        self.host_s.append(self.now() - self._host_start)
        self._host_start = None
        self.device_s.append(seconds)
        self.traces.append(trace)
        self._value += seconds
        return self._value


def round_clock(device: str, tokens: int) -> RoundClock:
    """Return events on a GPU, the host's clock on a CPU."""
    return EventClock(tokens) if device == "cuda" else HostClock()
