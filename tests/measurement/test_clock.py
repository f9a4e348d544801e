from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perfkit.machine.clocks import Round
from perfkit.measurement.clock import DeviceClock
from perfkit.metrics import Trace

if TYPE_CHECKING:
    from collections.abc import Iterator


class FakeDevice:
    """A round clock whose rounds last what they are told to, whatever the host's clock says."""

    def __init__(self, rounds: list[tuple[float, tuple[float, ...]]]) -> None:
        self._rounds: Iterator[tuple[float, tuple[float, ...]]] = iter(rounds)

    def submit(self) -> None: ...

    def stamp(self) -> None: ...

    def finish(self) -> Round:
        seconds, tokens = next(self._rounds)
        return Round(seconds, Trace(tokens))


def test_pytest_benchmark_sees_device_time_alone() -> None:
    host = iter([10.0, 12.0, 20.0, 25.0])
    clock = DeviceClock(now=lambda: next(host))
    clock.bind(FakeDevice([(1.5, (0.5, 1.4)), (1.25, (0.5, 1.2))]))
    durations = []
    for _ in range(2):
        start = clock()
        durations.append(clock() - start)
    assert durations == [1.5, 1.25]
    assert clock.device_s == [1.5, 1.25]
    assert clock.host_s == [2.0, 5.0]
    assert [trace.ttft_s for trace in clock.traces] == [0.5, 0.5]


def test_binding_forgets_the_last_cell() -> None:
    clock = DeviceClock(now=lambda: 0.0)
    clock.bind(FakeDevice([(1.0, (1.0,))]))
    clock()
    clock()
    clock.bind(FakeDevice([]))
    assert clock.traces == []


def test_an_unbound_clock_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="no cell was bound"):
        DeviceClock()()
