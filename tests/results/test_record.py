from __future__ import annotations

from perfkit.results.record import doubt


def test_host_and_device_within_two_percent_are_one_clock() -> None:
    ok = doubt(throttled=(), host_s=1.019, device_s=1.0, spread=0.01)
    assert ok == ("ok", None)
    verdict, reason = doubt(throttled=(), host_s=1.021, device_s=1.0, spread=0.01)
    assert verdict == "clock_mismatch"
    assert reason is not None
    assert "host 1.0210 s against device 1.0000 s" in reason


def test_throttling_outranks_the_rest() -> None:
    verdict, reason = doubt(throttled=("hw_thermal",), host_s=2.0, device_s=1.0, spread=0.9)
    assert (verdict, "hw_thermal" in str(reason)) == ("throttled", True)


def test_rounds_that_vary_are_unstable() -> None:
    assert doubt(throttled=(), host_s=1.0, device_s=1.0, spread=0.11)[0] == "unstable"
    assert doubt(throttled=(), host_s=1.0, device_s=1.0, spread=None)[0] == "ok"
