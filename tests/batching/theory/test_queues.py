from __future__ import annotations

import math

import numpy as np
import pytest

from perfkit.batching.theory import bursts, queues
from perfkit.batching.theory.values import Queue, UnstableError

LOADS = (1e-6, 0.3, 0.9, 0.9999)


def assert_little(queue: Queue, rate: float) -> None:
    assert queue.served_per_s == pytest.approx(rate, rel=1e-12)
    assert queue.queue_length == pytest.approx(rate * queue.wait_s, rel=1e-9, abs=1e-15)


def test_mm1_at_half_load_by_hand() -> None:
    queue = queues.mm1(0.5, 1.0)
    assert (queue.wait_s, queue.latency_s, queue.queue_length) == pytest.approx((1.0, 2.0, 0.5))
    assert (queue.utilisation, queue.p_wait, queue.p_idle) == pytest.approx((0.5, 0.5, 0.5))
    # 0.5 exp(-0.5 t) = 0.1 at t = 2 ln 5; exp(-0.5 t) = 0.1 at 2 ln 10.
    assert queues.mm1_wait_quantile_s(0.5, 1.0, 0.9) == pytest.approx(2 * math.log(5))
    assert queues.mm1_latency_quantile_s(0.5, 1.0, 0.9) == pytest.approx(2 * math.log(10))


def test_half_the_requests_of_mm1_do_not_wait_at_half_load() -> None:
    assert queues.mm1_wait_quantile_s(0.5, 1.0, 0.5) == 0.0
    assert queues.mm1_latency_quantile_s(0.5, 1.0, 0.0) == 0.0


@pytest.mark.parametrize("load", LOADS)
def test_a_fixed_service_time_halves_the_wait(load: float) -> None:
    assert queues.md1(load, 1.0).wait_s == pytest.approx(queues.mm1(load, 1.0).wait_s / 2)


@pytest.mark.parametrize("load", LOADS)
def test_mdc_with_one_server_is_md1(load: float) -> None:
    many, one = queues.mdc(load, 1.0, 1), queues.md1(load, 1.0)
    assert many.wait_s == pytest.approx(one.wait_s, rel=1e-10, abs=1e-15)
    assert many.p_wait == pytest.approx(load, rel=1e-10)
    assert many.p_idle == pytest.approx(1 - load, rel=1e-10)


@pytest.mark.parametrize("servers", [1, 3, 200])
def test_mmc_idles_with_the_textbook_probability(servers: int) -> None:
    load = 0.8 * servers
    terms = [math.exp(k * math.log(load) - math.lgamma(k + 1)) for k in range(servers)]
    last = math.exp(servers * math.log(load) - math.lgamma(servers + 1)) / 0.2
    queue = queues.mmc(load, 1.0, servers)
    assert queue.p_idle == pytest.approx(1 / (sum(terms) + last))
    assert queue.p_wait == pytest.approx(last / (sum(terms) + last))
    assert_little(queue, load)


def test_two_servers_by_hand() -> None:
    # a = 1: C = (1/2 / (1/2)) / (1 + 1 + 1) = 1/3, wait = C / (2 - 1).
    queue = queues.mmc(1.0, 1.0, 2)
    assert (queue.p_wait, queue.wait_s, queue.p_idle) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    # 1/3 exp(-t) = 0.1
    assert queues.mmc_wait_quantile_s(1.0, 1.0, 2, 0.9) == pytest.approx(math.log(10 / 3))
    assert queues.mmc_wait_quantile_s(1.0, 1.0, 2, 0.6) == 0.0


def test_more_servers_of_the_same_total_speed_wait_less() -> None:
    waits = [queues.mmc(0.9, 1 / c, c).wait_s for c in (1, 2, 4, 8, 64)]
    assert waits == sorted(waits, reverse=True)
    waits = [queues.mdc(0.9, float(c), c).wait_s for c in (1, 2, 4, 8, 64)]
    assert waits == sorted(waits, reverse=True)


@pytest.mark.parametrize("servers", [1, 2, 5])
def test_the_mean_wait_is_the_area_over_the_cdf(servers: int) -> None:
    rate = 0.7 * servers
    at = np.linspace(0, 25, 501)
    rest = np.array([1 - queues.mdc_wait_cdf(rate, 1.0, servers, float(x)) for x in at])
    area = float(np.trapezoid(rest, at))
    assert area == pytest.approx(queues.mdc(rate, 1.0, servers).wait_s, rel=2e-3)


def test_the_cdf_of_md1_is_erlangs_series_where_that_is_accurate() -> None:
    rate, x = 0.8, 3.3
    series = 0.2 * sum(
        (-rate * (x - k)) ** k * math.exp(rate * (x - k)) / math.factorial(k) for k in range(4)
    )
    assert queues.mdc_wait_cdf(rate, 1.0, 1, x) == pytest.approx(series, rel=1e-12)


def test_the_cdf_stays_a_probability_far_out_where_erlangs_series_cancels() -> None:
    found = [queues.mdc_wait_cdf(0.99, 1.0, 1, x) for x in (0.0, 50.0, 200.0, 1000.0, 5000.0)]
    assert found[0] == pytest.approx(0.01)
    assert found == sorted(found)
    # The tail of M/D/1 falls by r a service, r exp(0.99 / r - 0.99) = 1: r = 0.98013287.
    falls = (1 - found[2]) / (1 - found[1])
    assert falls == pytest.approx(0.98013287**150, rel=1e-5)
    assert found[-1] <= 1.0


def test_a_quantile_of_mdc_is_the_inverse_of_its_cdf() -> None:
    p99 = queues.mdc_wait_quantile_s(3.2, 0.5, 4, 0.99)
    assert queues.mdc_wait_cdf(3.2, 0.5, 4, p99) == pytest.approx(0.99, abs=1e-9)
    assert queues.mdc_wait_quantile_s(3.2, 0.5, 4, 0.2) == 0.0


@pytest.mark.parametrize("load", LOADS)
def test_gamma_gaps_of_cv_1_are_mm1(load: float) -> None:
    queue, expected = bursts.gamma_m1(load, 1.0, 1.0), queues.mm1(load, 1.0)
    assert queue.wait_s == pytest.approx(expected.wait_s, rel=1e-9)
    assert_little(queue, load)
    for q in (0.0, 0.5, 0.99):
        found = bursts.gamma_m1_wait_quantile_s(load, 1.0, 1.0, q)
        assert found == pytest.approx(queues.mm1_wait_quantile_s(load, 1.0, q), rel=1e-9)


def test_regular_arrivals_wait_less_and_bursts_more() -> None:
    waits = [bursts.gamma_m1(0.8, cv, 1.0).wait_s for cv in (0.0, 0.01, 0.5, 1.0, 2.0, 13.0)]
    assert waits == sorted(waits)
    assert waits[0] == pytest.approx(waits[1], rel=1e-3)


def test_sigma_of_regular_arrivals_solves_its_equation_also_where_it_is_tiny() -> None:
    sigma = bursts.gamma_m1_sigma(0.8, 0.0, 1.0)
    assert sigma == pytest.approx(math.exp(-(1 - sigma) / 0.8))
    assert bursts.gamma_m1_sigma(0.01, 0.0, 1.0) == pytest.approx(math.exp(-100), rel=1e-9)


def test_mmpp_of_equal_rates_is_mm1() -> None:
    queue, expected = bursts.mmpp2_m1((0.9, 0.9), (0.3, 0.01), 1.0), queues.mm1(0.9, 1.0)
    assert queue.wait_s == pytest.approx(expected.wait_s, rel=1e-10)
    assert queue.p_wait == pytest.approx(0.9, rel=1e-10)


def test_mmpp_that_switches_fast_is_mm1_of_its_mean_rate() -> None:
    queue = bursts.mmpp2_m1((1.2, 0.2), (1e6, 1e6), 1.0)
    assert queue.wait_s == pytest.approx(queues.mm1(0.7, 1.0).wait_s, rel=1e-5)


def test_mmpp_that_hardly_switches_is_a_mix_of_two_mm1() -> None:
    queue = bursts.mmpp2_m1((0.8, 0.2), (1e-7, 1e-7), 1.0)
    inside = (0.8 / 0.2 + 0.2 / 0.8) / 2
    assert queue.latency_s == pytest.approx(inside / 0.5, rel=1e-4)
    # Arrivals see the busy phase more often: (0.8 * 0.8 + 0.2 * 0.2) / (0.8 + 0.2).
    assert queue.p_wait == pytest.approx(0.68, rel=1e-4)


def test_mmpp_may_be_off_half_the_time_and_over_the_servers_rate_in_the_other() -> None:
    queue = bursts.mmpp2_m1((1.6, 0.0), (0.1, 0.1), 1.0)
    assert queue.utilisation == pytest.approx(0.8)
    assert queue.p_idle == pytest.approx(0.2, rel=1e-9)
    assert queue.wait_s > queues.mm1(0.8, 1.0).wait_s


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_bad_rates_are_named(bad: float) -> None:
    for call in (
        lambda: queues.mm1(bad, 1.0),
        lambda: queues.mm1_latency_quantile_s(bad, 1.0, 0.5),
        lambda: queues.mmc_wait_quantile_s(bad, 1.0, 2, 0.5),
        lambda: queues.md1(bad, 1.0),
        lambda: queues.mdc(bad, 1.0, 2),
        lambda: bursts.gamma_m1(bad, 1.0, 1.0),
    ):
        with pytest.raises(ValueError, match=f"rate_per_s must be finite and over 0, got {bad!r}"):
            call()
    with pytest.raises(ValueError, match="service"):
        queues.md1(0.5, bad)


@pytest.mark.parametrize("bad", [0, -1, 1.5, math.nan, math.inf])
def test_bad_numbers_of_servers_are_named(bad: float) -> None:
    with pytest.raises(ValueError, match="servers must be a whole number, 1 or more"):
        queues.mmc(0.5, 1.0, bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [-0.1, 1.0, math.nan])
def test_bad_quantiles_are_named(bad: float) -> None:
    with pytest.raises(ValueError, match="q must be at least 0 and below 1"):
        queues.mm1_wait_quantile_s(0.5, 1.0, bad)


def test_bad_waits_cvs_and_phases_are_named() -> None:
    with pytest.raises(ValueError, match="wait_s must be finite and 0 or more, got -1"):
        queues.mdc_wait_cdf(0.5, 1.0, 1, -1)
    with pytest.raises(ValueError, match="cv must be finite and 0 or more, got nan"):
        bursts.gamma_m1(0.5, math.nan, 1.0)
    with pytest.raises(ValueError, match=r"rates_per_s\[1\] must be finite and 0 or more, got -1"):
        bursts.mmpp2_m1((1.0, -1), (1.0, 1.0), 2.0)
    with pytest.raises(ValueError, match=r"switch_per_s\[0\] must be finite and over 0, got 0"):
        bursts.mmpp2_m1((1.0, 1.0), (0, 1.0), 2.0)
    with pytest.raises(ValueError, match="mean_rate_per_s must be finite and over 0"):
        bursts.mmpp2_m1((0.0, 0.0), (1.0, 1.0), 2.0)


@pytest.mark.parametrize("rate", [2.0, 2.5])
def test_rates_from_saturation_on_are_refused_and_both_are_named(rate: float) -> None:
    for call in (
        lambda: queues.mm1(rate, 2.0),
        lambda: queues.mmc(rate, 1.0, 2),
        lambda: queues.md1(rate, 0.5),
        lambda: queues.mdc(rate, 1.0, 2),
        lambda: queues.mdc_wait_cdf(rate, 1.0, 2, 1.0),
        lambda: bursts.gamma_m1(rate, 0.5, 2.0),
        lambda: bursts.mmpp2_m1((2 * rate, 0.0), (1.0, 1.0), 2.0),
    ):
        with pytest.raises(UnstableError, match=rf"rate {rate}/s .* saturation 2.0/s"):
            call()
