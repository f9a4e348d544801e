"""Clocks of one round: events on a GPU, the host's clock right where the host does the work."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from perfkit.metrics import Trace

if TYPE_CHECKING:
    from collections.abc import Callable


class Round(NamedTuple):
    """Seconds of a round since its submission, and its token times.

    ``host_s`` is the host's seconds where an engine in a process of its own took them; None where
    whoever times the call takes them.
    """

    seconds: float
    trace: Trace
    host_s: float | None = None


class RoundClock(Protocol):
    """Times one round at a time: submit, a stamp a token, finish."""

    def submit(self) -> None:
        """Mark the submission."""
        ...

    def stamp(self) -> None:
        """Mark a token, without waiting for it."""
        ...

    def finish(self) -> Round:
        """Wait for the device; return what the round took."""
        ...


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

    def finish(self) -> Round:
        """Return seconds since submission, and the token times."""
        total = self._now() - self._start
        return Round(total, Trace(tuple(t - self._start for t in self._tokens)))


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

    def finish(self) -> Round:
        """Record the end, wait, and read: seconds from submission."""
        end = self._events[self._used]
        end.record()
        end.synchronize()
        start = self._events[0]
        stamps = self._events[1 : self._used]
        times = [start.elapsed_time(event) / 1e3 for event in stamps]
        return Round(start.elapsed_time(end) / 1e3, Trace(tuple(times)))


def round_clock(device: str, tokens: int) -> RoundClock:
    """Return events on a GPU, the host's clock on a CPU."""
    return EventClock(tokens) if device == "cuda" else HostClock()
