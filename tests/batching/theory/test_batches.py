"""Bulk service, continuous batching and the formation of batches."""

from __future__ import annotations

import math
import warnings

import pytest

from perfkit.batching.theory import bulk, formation, iteration, queues
from perfkit.batching.theory.values import Queue, UnstableError

SERVICE = bulk.linear_service_s(0.01, 0.05, 8)


def test_linear_times_and_their_saturation_by_hand() -> None:
    assert bulk.linear_service_s(0.5, 1.0, 3) == (1.5, 2.0, 2.5)
    assert bulk.saturation_per_s((1.5, 2.0, 2.5)) == pytest.approx(3 / 2.5)


def test_the_best_batch_may_be_a_smaller_one_which_greedy_does_not_choose() -> None:
    times = (1.0, 1.0, 4.0)
    assert bulk.saturation_per_s(times) == 2.0
    with pytest.raises(UnstableError, match=r"rate 1\.0/s .* saturation 0\.75/s"):
        bulk.greedy(1.0, times)


@pytest.mark.parametrize("load", [1e-6, 0.3, 0.9, 0.9999])
def test_batches_of_one_are_no_batches(load: float) -> None:
    mm1, md1 = queues.mm1(load, 1.0), queues.md1(load, 1.0)
    for found, expected in (
        (bulk.mm_bulk(load, 1.0, 1), mm1),
        (bulk.greedy(load, (1.0,)), md1),
        (iteration.continuous(load, 0.25, 0.75, 1, 1.0), md1),
    ):
        assert found.wait_s == pytest.approx(expected.wait_s, rel=1e-9, abs=1e-12)
        assert found.p_idle == pytest.approx(1 - load, rel=1e-9)
        assert found.mean_batch == pytest.approx(1.0, rel=1e-9)


def served_per_s(queue: Queue, service_s: float) -> float:
    assert queue.mean_batch is not None
    return queue.mean_batch * queue.utilisation / service_s


@pytest.mark.parametrize("max_batch", [1, 4, 200])
@pytest.mark.parametrize("load", [0.01, 0.6, 0.999])
def test_what_comes_is_served(max_batch: int, load: float) -> None:
    rate = load * max_batch
    for queue in (bulk.greedy(rate, (1.0,) * max_batch), bulk.mm_bulk(rate, 1.0, max_batch)):
        assert served_per_s(queue, 1.0) == pytest.approx(rate, rel=1e-10)
        assert queue.queue_length == pytest.approx(rate * queue.wait_s, rel=1e-10)


def test_a_lone_request_never_waits_for_company() -> None:
    queue = bulk.greedy(1e-9, SERVICE)
    assert queue.latency_s == pytest.approx(0.06, rel=1e-6)
    assert queue.mean_batch == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("rate", [0.5, 20.0, 60.0, 85.0])
def test_without_a_maximum_inoues_formula_is_exact_and_his_bound_holds(rate: float) -> None:
    queue = bulk.uncapped(rate, 0.01, 0.05)
    assert queue.mean_batch is not None
    exact = bulk.inoue_latency_s(rate, 0.01, 0.05, queue.mean_batch)
    assert queue.latency_s == pytest.approx(exact, rel=1e-11)
    assert queue.latency_s <= bulk.inoue_bound_s(rate, 0.01, 0.05) * (1 + 1e-9)


def test_inoues_bound_is_near_at_low_and_at_high_rates() -> None:
    for rate in (0.5, 60.0, 85.0):
        latency = bulk.uncapped(rate, 0.01, 0.05).latency_s
        assert bulk.inoue_bound_s(rate, 0.01, 0.05) == pytest.approx(latency, rel=2e-4)


def test_inoues_bound_is_refused_where_a_maximum_binds() -> None:
    free = bulk.inoue_bound_s(60.0, 0.01, 0.05)
    assert bulk.inoue_bound_s(60.0, 0.01, 0.05, max_batch=64) == free
    assert bulk.greedy(50.0, SERVICE).latency_s > bulk.inoue_bound_s(50.0, 0.01, 0.05)
    for rate in (20.0, 50.0, 70.0):  # the last is over the saturation of batches of 8
        with pytest.raises(ValueError, match=r"without a maximum; 8 binds at rate .* use greedy"):
            bulk.inoue_bound_s(rate, 0.01, 0.05, max_batch=8)


def test_a_maximum_that_is_never_reached_changes_nothing() -> None:
    large = bulk.greedy(20.0, bulk.linear_service_s(0.01, 0.05, 4000))
    assert large.latency_s == pytest.approx(bulk.uncapped(20.0, 0.01, 0.05).latency_s, rel=1e-12)


def test_larger_maxima_wait_less_where_batching_is_cheap() -> None:
    waits = [bulk.greedy(50.0, bulk.linear_service_s(0.01, 0.05, b)).wait_s for b in (6, 8, 16, 64)]
    assert waits == sorted(waits, reverse=True)


@pytest.mark.parametrize("max_batch", [2, 8, 64])
@pytest.mark.parametrize("load", [0.3, 0.9, 0.999])
def test_baileys_roots_agree_with_the_chain(max_batch: int, load: float) -> None:
    # Before a clocked service there are as many as in M/D/c at any time, with c = b.
    rate = load * max_batch
    clocked, chain = bulk.bailey(rate, 1.0, max_batch), queues.mdc(rate, 1.0, max_batch)
    assert clocked.queue_length + rate / 2 == pytest.approx(chain.queue_length + rate, rel=1e-10)
    assert clocked.wait_s == pytest.approx(chain.wait_s + 0.5, rel=1e-10)


@pytest.mark.parametrize("rate", [1.0, 50.0, 61.0])
def test_continuous_batching_of_one_token_is_greedy_batching(rate: float) -> None:
    one, other = iteration.continuous(rate, 0.01, 0.05, 8, 1.0), bulk.greedy(rate, SERVICE)
    assert one.latency_s == pytest.approx(other.latency_s, rel=1e-11)
    assert one.wait_s == pytest.approx(other.wait_s, rel=1e-11)
    assert one.utilisation == pytest.approx(other.utilisation, rel=1e-11)


def test_one_slot_is_mg1_with_geometric_service() -> None:
    # S = 0.02 Geometric(1/20): E[S] = 0.4, E[S^2] = 0.02^2 (2 - p) / p^2; Pollaczek-Khinchine.
    rate, p = 1.25, 1 / 20
    wait = rate * 0.02**2 * (2 - p) / p**2 / (2 * (1 - rate * 0.4))
    queue = iteration.continuous(rate, 0.005, 0.015, 1, 20.0)
    assert queue.wait_s == pytest.approx(wait, rel=1e-10)
    assert queue.latency_s == pytest.approx(wait + 0.4, rel=1e-10)


def test_a_request_is_in_service_for_its_tokens_iterations() -> None:
    queue = iteration.continuous(15.0, 0.001, 0.02, 16, 20.0)
    assert queue.itl_s is not None
    assert queue.latency_s == pytest.approx(queue.wait_s + 20 * queue.itl_s, rel=1e-10)


def test_saturation_of_slots_by_hand() -> None:
    # 16 slots of 20 tokens, 36 ms an iteration: 16 / (20 * 0.036).
    assert iteration.saturation_per_s(0.001, 0.02, 16, 20.0) == pytest.approx(16 / 0.72)
    with pytest.raises(UnstableError, match=r"rate 23\.0/s .* saturation 22\.22"):
        iteration.continuous(23.0, 0.001, 0.02, 16, 20.0)


def test_many_slots_stay_exact_near_saturation() -> None:
    rate = 0.9999 * iteration.saturation_per_s(0.0001, 0.02, 256, 200.0)
    queue = iteration.continuous(rate, 0.0001, 0.02, 256, 200.0)
    assert queue.mean_batch is not None
    busy = queue.mean_batch / 200 * queue.utilisation / (0.0001 * queue.mean_batch + 0.02)
    assert busy == pytest.approx(rate, rel=1e-10)


def test_batches_of_two_form_as_by_hand() -> None:
    # The second comes within T with probability 1 - exp(-1); else the first waits T for nothing.
    formed = formation.size_or_delay(10.0, 2, 0.1)
    full = 1 - math.exp(-1)
    assert formed.fraction_full == pytest.approx(full)
    assert formed.size_probability == pytest.approx((1 - full, full))
    assert formed.mean_batch == pytest.approx(1 + full)
    # E[min(gap, T)] = full / 10, waited by the first alone.
    assert formed.wait_s == pytest.approx(full / 10 / (1 + full))


def test_no_delay_sends_each_alone_and_endless_delay_only_full_batches() -> None:
    alone = formation.size_or_delay(10.0, 4, 0.0)
    assert (alone.mean_batch, alone.wait_s, alone.fraction_full) == (1.0, 0.0, 0.0)
    full = formation.size_or_delay(10.0, 4, math.inf)
    assert full.size_probability == (0.0, 0.0, 0.0, 1.0)
    assert full.wait_s == pytest.approx((3 + 2 + 1) * 0.1 / 4)
    one = formation.size_or_delay(10.0, 1, 0.5)
    assert (one.mean_batch, one.wait_s, one.fraction_full) == (1.0, 0.0, 1.0)


def test_sizes_sum_to_one_and_to_the_mean() -> None:
    formed = formation.size_or_delay(100.0, 32, 0.2)
    assert sum(formed.size_probability) == pytest.approx(1.0, abs=1e-14)
    mean = sum(k * p for k, p in enumerate(formed.size_probability, start=1))
    assert mean == pytest.approx(formed.mean_batch, rel=1e-12)


def test_regular_arrivals_fill_batches_and_a_service_may_take_all_of_their_time() -> None:
    queue, waits = formation.full_batches(0.1, 3, 0.3)
    assert waits == pytest.approx((0.2, 0.1, 0.0))
    assert queue.wait_s == pytest.approx(0.1)
    assert queue.utilisation == pytest.approx(1.0)
    with pytest.raises(UnstableError):
        formation.full_batches(0.1, 3, 0.31)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_bad_numbers_are_named(bad: float) -> None:
    with pytest.raises(ValueError, match="rate_per_s"):
        bulk.greedy(bad, SERVICE)
    with pytest.raises(ValueError, match="service_s of a batch of 2 must be"):
        bulk.greedy(1.0, (0.1, bad))
    with pytest.raises(ValueError, match="alpha_s"):
        bulk.uncapped(1.0, bad, 0.1)
    with pytest.raises(ValueError, match="tau0_s"):
        iteration.continuous(1.0, 0.1, bad, 4, 2.0)
    with pytest.raises(ValueError, match="mean_tokens"):
        iteration.continuous(1.0, 0.001, 0.001, 4, bad)
    with pytest.raises(ValueError, match="period_s"):
        bulk.bailey(1.0, bad, 4)
    with pytest.raises(ValueError, match="service_per_s"):
        bulk.mm_bulk(1.0, bad, 4)
    with pytest.raises(ValueError, match="gap_s"):
        formation.full_batches(bad, 4, 1.0)


def test_bad_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="max_batch must be a whole number, 1 or more, got 0"):
        bulk.linear_service_s(0.1, 0.1, 0)
    with pytest.raises(ValueError, match="a time for each batch from 1 on"):
        bulk.greedy(1.0, ())
    with pytest.raises(ValueError, match=r"mean_tokens must be 1 or more, got 0\.5"):
        iteration.continuous(1.0, 0.1, 0.1, 4, 0.5)
    with pytest.raises(ValueError, match="delay_s must be finite and 0 or more, got -1"):
        formation.size_or_delay(1.0, 4, -1)
    with pytest.raises(ValueError, match="max_batch"):
        formation.size_or_delay(1.0, 0, 1.0)


def test_too_many_states_are_refused_not_tried() -> None:
    with pytest.raises(ValueError, match=r"more than 5000 states .* simulate"):
        bulk.greedy(5990.0, (1.0,) * 6000)
    with pytest.raises(ValueError, match="too near saturation"):
        bulk.uncapped(99.99, 0.01, 0.05)


@pytest.mark.parametrize("rate", [2.0, 3.0])
def test_rates_from_saturation_on_are_refused_and_both_are_named(rate: float) -> None:
    for call in (
        lambda: bulk.mm_bulk(rate, 0.5, 4),
        lambda: bulk.greedy(rate, (1.0, 1.0)),
        lambda: bulk.bailey(rate, 2.0, 4),
        lambda: bulk.uncapped(rate, 0.5, 1.0),
        lambda: bulk.inoue_bound_s(rate, 0.5, 1.0),
        lambda: iteration.continuous(rate, 0.0, 0.5, 2, 2.0),
    ):
        with pytest.raises(UnstableError, match=rf"rate {rate}/s .* saturation 2.0/s"):
            call()


def test_no_model_warns_at_tiny_loads() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bulk.greedy(1e-12, SERVICE)
        queues.mdc(1e-12, 1.0, 4)
        iteration.continuous(1e-12, 0.001, 0.02, 16, 20.0)
