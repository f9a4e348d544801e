from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest

from perfkit.batching import arrivals, lengths, seeds
from perfkit.batching.lengths import NEW_TOKENS, PROMPT_TOKENS
from perfkit.batching.theory import bursts, queues

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.batching.arrivals import Floats

bursty = partial(arrivals.mmpp2, relative_rates=(1.6, 0.2), switch_per_s=(0.05, 0.05))
GENERATORS: dict[str, Callable[[float, int, int], Floats]] = {
    "deterministic": arrivals.deterministic,
    "poisson": arrivals.poisson,
    "gamma": partial(arrivals.gamma, cv=3.0),
    "mmpp2": bursty,
}


def gaps_of(times: Floats) -> Floats:
    return np.diff(times, prepend=0.0)


def mm1_wait_s(times: Floats, service_per_s: float) -> float:
    """Mean wait behind one exponential server, by Lindley's recursion in closed form."""
    service = np.random.Generator(np.random.PCG64(99)).exponential(1 / service_per_s, len(times))
    free = np.cumsum(service) - service
    return float(np.mean(np.maximum.accumulate(times - free) - (times - free)))


def test_deterministic_times_by_hand() -> None:
    assert arrivals.deterministic(4.0, 3, seed=7).tolist() == [0.25, 0.5, 0.75]


@pytest.mark.parametrize("name", GENERATORS)
def test_times_are_float64_in_order_and_the_same_for_the_same_seed(name: str) -> None:
    times = GENERATORS[name](2.0, 1000, 5)
    assert times.dtype == np.float64
    assert times.shape == (1000,)
    assert times[0] > 0
    assert np.all(np.diff(times) >= 0)
    assert np.array_equal(times, GENERATORS[name](2.0, 1000, 5))
    # The first requests do not depend on how many follow.
    assert np.array_equal(times[:10], GENERATORS[name](2.0, 10, 5))


@pytest.mark.parametrize("name", ["poisson", "gamma", "mmpp2"])
def test_another_seed_is_another_sample(name: str) -> None:
    assert not np.array_equal(GENERATORS[name](2.0, 10, 5), GENERATORS[name](2.0, 10, 6))


@pytest.mark.parametrize("name", ["deterministic", "poisson", "gamma"])
def test_another_rate_is_the_same_sample_scaled(name: str) -> None:
    slow, fast = GENERATORS[name](2.0, 100, 5), GENERATORS[name](8.0, 100, 5)
    assert fast == pytest.approx(slow / 4, rel=1e-14)


@pytest.mark.parametrize(("name", "within"), [("poisson", 0.01), ("gamma", 0.03), ("mmpp2", 0.05)])
def test_the_mean_rate_is_what_was_asked_for(name: str, within: float) -> None:
    times = GENERATORS[name](5.0, 200_000, 1)
    assert len(times) / times[-1] == pytest.approx(5.0, rel=within)


@pytest.mark.parametrize("cv", [0.2, 1.0, 3.0])
def test_gamma_gaps_have_the_cv_asked_for(cv: float) -> None:
    gaps = gaps_of(arrivals.gamma(5.0, 200_000, 1, cv=cv))
    assert np.std(gaps) / np.mean(gaps) == pytest.approx(cv, rel=0.02)


def test_gamma_of_cv_1_is_poisson_and_of_cv_0_deterministic_time_by_time() -> None:
    assert np.array_equal(arrivals.gamma(3.0, 500, 2, cv=1.0), arrivals.poisson(3.0, 500, 2))
    assert np.array_equal(arrivals.gamma(3.0, 9, 2, cv=0.0), arrivals.deterministic(3.0, 9))


def test_poisson_counts_have_variance_equal_to_their_mean() -> None:
    counts = np.bincount(arrivals.poisson(10.0, 200_000, 1).astype(int))[:-1]
    assert np.mean(counts) == pytest.approx(10.0, rel=0.01)
    assert np.var(counts) == pytest.approx(10.0, rel=0.05)


def test_two_phases_of_one_rate_are_poisson_time_by_time() -> None:
    same = arrivals.mmpp2(3.0, 500, 2, relative_rates=(1.0, 1.0), switch_per_s=(0.3, 2.0))
    assert same == pytest.approx(arrivals.poisson(3.0, 500, 2), rel=1e-12)


def test_two_phases_come_at_their_own_rates() -> None:
    # On a third of the time at three times the mean rate, else silent: gaps within a burst are
    # exponential of mean 1/6 s, and one gap in about 60 holds a silence of 20 s on average.
    times = arrivals.mmpp2(2.0, 100_000, 1, relative_rates=(1.0, 0.0), switch_per_s=(0.1, 0.05))
    gaps = gaps_of(times)
    assert np.median(gaps) == pytest.approx(math.log(2) / 6, rel=0.03)
    assert np.mean(gaps > 2.0) == pytest.approx(math.exp(-0.1) / 61, rel=0.08)


@pytest.mark.parametrize("cv", [0.5, 2.0])
def test_a_simulated_server_waits_as_theory_says_of_gamma_arrivals(cv: float) -> None:
    simulated = mm1_wait_s(arrivals.gamma(0.6, 400_000, 3, cv=cv), 1.0)
    assert simulated == pytest.approx(bursts.gamma_m1(0.6, cv, 1.0).wait_s, rel=0.03)


def test_a_simulated_server_waits_as_theory_says_of_two_phases() -> None:
    expected = bursts.mmpp2_m1((1.6, 0.2), (0.05, 0.05), 1.25)
    simulated = mm1_wait_s(bursty(0.9, 1_000_000, 3), 1.25)
    assert simulated == pytest.approx(expected.wait_s, rel=0.04)


def test_a_simulated_server_waits_as_theory_says_of_poisson() -> None:
    simulated = mm1_wait_s(arrivals.poisson(0.6, 400_000, 3), 1.0)
    assert simulated == pytest.approx(queues.mm1(0.6, 1.0).wait_s, rel=0.02)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("name", GENERATORS)
def test_bad_rates_and_counts_are_named(name: str, bad: float) -> None:
    with pytest.raises(ValueError, match=f"rate_per_s must be finite and over 0, got {bad!r}"):
        GENERATORS[name](bad, 10, 1)
    with pytest.raises(ValueError, match="n must be a whole number, 1 or more, got 0"):
        GENERATORS[name](1.0, 0, 1)


def test_bad_shapes_and_seeds_are_named() -> None:
    with pytest.raises(ValueError, match="cv must be finite and 0 or more, got nan"):
        arrivals.gamma(1.0, 10, 1, cv=math.nan)
    with pytest.raises(ValueError, match=r"switch_per_s\[1\] must be finite and over 0, got 0"):
        arrivals.mmpp2(1.0, 10, 1, relative_rates=(1.0, 1.0), switch_per_s=(1.0, 0))
    with pytest.raises(ValueError, match=r"relative_rates\[0\] must be finite and 0 or more"):
        arrivals.mmpp2(1.0, 10, 1, relative_rates=(-1.0, 1.0), switch_per_s=(1.0, 1.0))
    with pytest.raises(ValueError, match="mean_of_relative_rates must be finite and over 0"):
        arrivals.mmpp2(1.0, 10, 1, relative_rates=(0.0, 0.0), switch_per_s=(1.0, 1.0))
    with pytest.raises(ValueError, match="seed must be 0 or more, got -1"):
        arrivals.poisson(1.0, 10, -1)


def test_streams_of_one_seed_are_independent() -> None:
    draws = [seeds.stream(1, of).random() for of in range(4)]
    assert len(set(draws)) == 4
    assert seeds.stream(1, 2).random() == draws[2]


def test_fixed_lengths_are_whole_tokens() -> None:
    tokens = lengths.fixed(128, 3)
    assert tokens.dtype == np.int64
    assert tokens.tolist() == [128, 128, 128]
    for bad in (0, -1, 1.5, math.nan):
        with pytest.raises(ValueError, match="tokens must be a whole number, 1 or more"):
            lengths.fixed(bad, 3)  # type: ignore[arg-type]


def test_lognormal_lengths_have_the_mean_and_cv_asked_for() -> None:
    tokens = lengths.lognormal(1155.0, 0.96, 200_000, 1, of=PROMPT_TOKENS)
    assert tokens.dtype == np.int64
    assert np.mean(tokens) == pytest.approx(1155, rel=0.01)
    assert np.std(tokens) / np.mean(tokens) == pytest.approx(0.96, rel=0.02)


def test_lengths_are_at_least_one_token_and_fixed_at_cv_0() -> None:
    assert lengths.lognormal(2.0, 5.0, 10_000, 1, of=NEW_TOKENS).min() == 1
    assert set(lengths.lognormal(20.4, 0.0, 10, 1, of=NEW_TOKENS).tolist()) == {20}


def test_prompts_and_answers_of_one_seed_are_independent() -> None:
    prompt = lengths.lognormal(100.0, 1.0, 10_000, 1, of=PROMPT_TOKENS)
    new = lengths.lognormal(100.0, 1.0, 10_000, 1, of=NEW_TOKENS)
    assert abs(np.corrcoef(prompt, new)[0, 1]) < 0.05


@pytest.mark.parametrize("bad", [0.5, -1.0, math.nan, math.inf])
def test_bad_means_of_lengths_are_named(bad: float) -> None:
    with pytest.raises(ValueError, match="mean must be finite and 1 or more"):
        lengths.lognormal(bad, 1.0, 10, 1, of=NEW_TOKENS)
    with pytest.raises(ValueError, match="cv must be finite and 0 or more"):
        lengths.lognormal(10.0, -1.0, 10, 1, of=NEW_TOKENS)
