from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from perfkit.batching import capacity as room
from perfkit.batching.capacity import Need, capacity, least
from perfkit.errors import UsageError

TAU = np.array([0.0, *(0.012 + 0.0008 * b for b in range(1, 33))])


def quick(rate: float, p99: float, **changes: Any) -> Need:
    return Need(rate, p99, **{"requests": 4_000, "seeds": 3, **changes})


@pytest.mark.parametrize("answer", range(1, 12))
def test_bisection_finds_the_least(answer: int) -> None:
    asked: list[int] = []

    def enough(k: int) -> bool:
        asked.append(k)
        return k >= answer

    assert least(enough, 1, 16) == answer
    assert len(asked) <= 5


def test_the_answer_meets_the_need_and_one_replica_less_does_not() -> None:
    need = quick(2_000.0, 0.08)
    found = capacity(need, TAU, (8, 32), (0.0, 0.01))
    assert found.p99.mean + found.p99.half <= 0.08
    assert found.margin == pytest.approx(1 - (found.p99.mean + found.p99.half) / 0.08)
    fewer = room._Choice(need, TAU, found.max_batch, found.delay_s).answer(found.replicas - 1)
    assert fewer.p99.mean + fewer.p99.half > 0.08


def test_more_load_or_less_patience_needs_no_fewer_replicas() -> None:
    few, more, strict = (
        capacity(need, TAU, (16,), (0.0,)).replicas
        for need in (quick(1_000.0, 0.1), quick(4_000.0, 0.1), quick(1_000.0, 0.035))
    )
    assert few <= strict
    assert few < more


def test_a_limit_under_one_service_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match=r"p99 of 0.01 s .* one request alone takes 0.0128 s"):
        capacity(quick(10.0, 0.01), TAU, (8,), (0.0,))


def test_a_delay_longer_than_the_limit_cannot_be_had() -> None:
    with pytest.raises(UsageError, match="cannot be had"):
        capacity(quick(10.0, 0.05), TAU, (8,), (0.5,))


SLOW = np.array([0.0, *(0.1 + 0.01 * b for b in range(1, 9))])


def test_more_replicas_than_fill_their_batches_are_worse_with_a_delay() -> None:
    """At 10, 11, 12, 14 and 20 of them p99 is 0.47, 0.43, 0.45, 0.50 and 0.64 s."""
    need = quick(430.0, 0.45, requests=50_000, seeds=2)
    found = capacity(need, SLOW, (8,), (1.0,))
    assert found.replicas == 11
    with pytest.raises(UsageError, match=r"the lowest found is 0\.4\d* s, with 11 replicas"):
        capacity(quick(430.0, 0.4), SLOW, (8,), (1.0,))


@pytest.mark.parametrize("delay", [0.0, 0.05])
def test_a_run_lasts_many_services_whatever_the_rate(delay: float) -> None:
    """Else requests end before queues form: 4,000 at 5,000/s come in eight services of 0.1 s."""
    choice = room._Choice(quick(5_000.0, 9.0), np.array([0.0, 0.1]), 1, delay)
    assert choice.requests == pytest.approx(5_000 * 60 * (0.1 + delay), abs=1)
    assert room._Choice(quick(5.0, 9.0), np.array([0.0, 0.1]), 1, delay).requests == 4_000


def test_what_is_too_long_to_simulate_is_refused_with_its_size() -> None:
    for rate, delay in ((1e6, 0.0), (1e12, 0.0), (1.0, math.inf)):
        with pytest.raises(UsageError, match=r"need \S+ replicas or more and \S+ requests until"):
            capacity(quick(rate, 9.0), np.array([0.0, 5.0, 6.0]), (1, 2), (delay,))


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_a_need_that_cannot_be_is_refused(bad: float) -> None:
    with pytest.raises(UsageError, match="rate_per_s"):
        Need(bad, 0.1)
    with pytest.raises(UsageError, match="rate_per_s"):
        Need(1e-9, 0.1)
    with pytest.raises(UsageError, match="p99_s"):
        Need(1.0, bad)
