from __future__ import annotations

from perfkit.measurement.steady import warm_up


def test_warm_up_ends_when_two_rounds_agree() -> None:
    seconds = [9.0, 2.0, 1.0, 0.99, 5.0]
    warmup = warm_up(lambda k: seconds[k], cap=5)
    assert warmup.seconds == (9.0, 2.0, 1.0, 0.99)
    assert warmup.steady


def test_a_capped_warm_up_says_so() -> None:
    warmup = warm_up(lambda k: float(2**k), cap=3)
    assert not warmup.steady
    assert warmup.to_json()["rounds"] == 3
