from __future__ import annotations

import math
from functools import partial

import pytest

from perfkit.batching.theory import bulk, bursts, fleets, losses, queues
from perfkit.batching.theory.values import UnstableError


def test_a_random_split_is_one_replica_at_its_share_of_the_rate() -> None:
    service = bulk.linear_service_s(0.01, 0.05, 8)
    replica = partial(bulk.greedy, service_s=service)
    assert fleets.random_split(200.0, 10, replica) == bulk.greedy(20.0, service)


def test_round_robin_over_one_is_mm1_and_over_many_is_regular() -> None:
    assert fleets.round_robin(0.8, 1, 1.0).wait_s == pytest.approx(queues.mm1(0.8, 1.0).wait_s)
    regular = bursts.gamma_m1(0.8, 0.0, 1.0).wait_s
    assert fleets.round_robin(0.8e6, 10**6, 1.0).wait_s == pytest.approx(regular, rel=1e-5)


def test_two_choices_by_hand() -> None:
    # 1 + 1/4 + 1/64 + 1/16384 + 1/2^30 + ... of rho = 1/2.
    queue = fleets.power_of_d(0.5, 2, 1.0)
    assert queue.latency_s == pytest.approx(1 + 0.25 + 2**-6 + 2**-14 + 2**-30, rel=1e-12)
    assert queue.wait_s == pytest.approx(queue.latency_s - 1)
    assert queue.queue_length == pytest.approx(0.5 * queue.wait_s)
    assert queue.p_wait == 0.25


def test_one_choice_is_random_and_more_choices_wait_less() -> None:
    waits = [fleets.power_of_d(0.9, d, 2.0).wait_s for d in (1, 2, 3, 10)]
    assert waits[0] == pytest.approx(queues.mm1(1.8, 2.0).wait_s)
    assert waits == sorted(waits, reverse=True)


def test_a_queue_of_one_by_hand() -> None:
    # K = 2 at rho = 1: a third of the time each of 0, 1 and 2.
    queue = losses.mm1_limit(1.0, 1.0, 1)
    assert (queue.loss, queue.p_idle, queue.queue_length) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert queue.served_per_s == pytest.approx(2 / 3)
    assert (queue.wait_s, queue.latency_s, queue.p_wait) == pytest.approx((0.5, 1.5, 0.5))


def test_no_queue_at_all_is_erlangs_loss() -> None:
    for queue in (losses.mm1_limit(3.0, 1.0, 0), losses.mm1_timeout(3.0, 1.0, 0.0)):
        assert queue.loss == pytest.approx(0.75)
        assert queue.wait_s == 0.0
        assert queue.p_wait == 0.0


@pytest.mark.parametrize("load", [0.3, 0.9])
def test_limits_that_are_never_reached_change_nothing(load: float) -> None:
    free = queues.mm1(load, 1.0)
    for queue in (losses.mm1_limit(load, 1.0, 2000), losses.mm1_timeout(load, 1.0, 2000.0)):
        assert queue.wait_s == pytest.approx(free.wait_s)
        assert queue.queue_length == pytest.approx(free.queue_length)
        assert queue.loss == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("rate", [0.2, 0.999999, 1.0, 1.001, 1.02, 3.0])
@pytest.mark.parametrize("limit", [0, 3, 800])
def test_the_server_does_what_is_not_lost(rate: float, limit: int) -> None:
    for queue in (losses.mm1_limit(rate, 1.0, limit), losses.mm1_timeout(rate, 1.0, float(limit))):
        assert queue.utilisation == pytest.approx(rate * (1 - queue.loss), rel=1e-12)
        assert queue.served_per_s == pytest.approx(rate * (1 - queue.loss), rel=1e-12)
        assert queue.p_idle == pytest.approx(1 - queue.utilisation, abs=1e-12)
    limited = losses.mm1_limit(rate, 1.0, limit)
    assert limited.queue_length == pytest.approx(limited.served_per_s * limited.wait_s)


def test_overload_loses_what_is_over_the_servers_rate_after_nearly_the_whole_timeout() -> None:
    queue = losses.mm1_timeout(3.0, 1.0, 1000.0)
    assert queue.loss == pytest.approx(2 / 3)
    # The work ahead falls short of T by an exponential time of rate lambda - mu = 2.
    assert queue.wait_s == pytest.approx(1000.0 - 0.5, rel=1e-9)


def test_the_timeout_is_smooth_where_the_rates_are_equal() -> None:
    # a = 0: P0 = 1 / (1 + T + 1), loss = P0, waits uniform on (0, T) but for those of P0.
    equal = losses.mm1_timeout(1.0, 1.0, 4.0)
    assert (equal.loss, equal.p_idle) == pytest.approx((1 / 6, 1 / 6))
    assert equal.wait_s == pytest.approx(8 / 5)
    for near in (0.9974, 0.9976, 1.0026):  # around where the series takes over
        found = losses.mm1_timeout(near, 1.0, 4.0)
        assert found.wait_s == pytest.approx(1.6, rel=0.005)
    below, above = (losses.mm1_timeout(x, 1.0, 4.0).wait_s for x in (0.99750001, 0.99749999))
    assert below == pytest.approx(above, rel=1e-7)


def test_bad_numbers_are_named() -> None:
    with pytest.raises(ValueError, match="max_queue must be a whole number, 0 or more, got -1"):
        losses.mm1_limit(1.0, 1.0, -1)
    with pytest.raises(ValueError, match="timeout_s must be finite and 0 or more, got nan"):
        losses.mm1_timeout(1.0, 1.0, math.nan)
    with pytest.raises(ValueError, match="rate_per_s must be finite and over 0, got -2"):
        losses.mm1_timeout(-2, 1.0, 1.0)
    with pytest.raises(ValueError, match="replicas must be a whole number, 1 or more, got 0"):
        fleets.random_split(1.0, 0, partial(queues.mm1, service_per_s=2.0))
    with pytest.raises(ValueError, match="replicas"):
        fleets.round_robin(1.0, 0, 1.0)
    with pytest.raises(ValueError, match="choices"):
        fleets.power_of_d(0.5, 0, 1.0)
    with pytest.raises(ValueError, match="utilisation must be finite and over 0, got nan"):
        fleets.power_of_d(math.nan, 2, 1.0)


def test_fleets_from_saturation_on_are_refused() -> None:
    with pytest.raises(UnstableError, match=r"rate 2\.0/s .* saturation 2\.0/s"):
        fleets.power_of_d(1.0, 2, 2.0)
    with pytest.raises(UnstableError, match=r"rate 1\.0/s .* saturation 1\.0/s"):
        fleets.round_robin(4.0, 4, 1.0)
    with pytest.raises(UnstableError):
        fleets.random_split(4.0, 4, partial(queues.mm1, service_per_s=1.0))
