from __future__ import annotations

import math

import pytest

from perfkit.batching.theory.closed import repairman


def test_one_customer_never_waits() -> None:
    found = repairman(1, 9.0, 1.0)
    assert found.served_per_s == pytest.approx(0.1)
    assert found.wait_s == pytest.approx(0.0, abs=1e-12)


def test_two_customers_by_hand() -> None:
    """Z = D = 1: a busy period serves e, an idle one lasts a half; wait 2 / X - 2."""
    found = repairman(2, 1.0, 1.0)
    assert found.served_per_s == pytest.approx(math.e / (math.e + 0.5))
    assert found.wait_s == pytest.approx(2 * (math.e + 0.5) / math.e - 2)


def test_very_many_customers_keep_the_server_busy() -> None:
    found = repairman(5_000, 1.0, 1.0)
    assert found.utilisation == pytest.approx(1.0)
    assert found.wait_s == pytest.approx(5_000 - 2)
    assert repairman(3, 1e-3, 10.0).utilisation == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [(0, 1.0, 1.0), (2, 0.0, 1.0), (2, 1.0, math.nan)])
def test_what_cannot_be_is_refused(bad: tuple[int, float, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        repairman(*bad)
