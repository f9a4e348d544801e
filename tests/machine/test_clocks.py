from __future__ import annotations

from perfkit.machine.clocks import HostClock, Round
from perfkit.metrics import Trace


def test_the_host_clock_stamps_relative_to_submission() -> None:
    times = iter([100.0, 100.5, 100.75, 101.0])
    clock = HostClock(now=lambda: next(times))
    clock.submit()
    clock.stamp()
    clock.stamp()
    assert clock.finish() == Round(1.0, Trace((0.5, 0.75)))
