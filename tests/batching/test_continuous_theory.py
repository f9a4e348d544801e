"""Continuous batching against what is known exactly, and what must be monotone."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from perfkit.batching.continuous import Requests, StepTime, TrtLlm, VllmLike, simulate

_SEATS = VllmLike(max_num_seqs=8, token_budget=10_000, kv_blocks=10**6)


class _Chain(NamedTuple):
    """An iteration-level server: Poisson arrivals, geometric lengths of mean 1/p, one step τ(n)."""

    rate: float
    alpha: float
    tau0: float
    seats: int
    p: float


# The rows cont_* of reference.json beside this file, and w as found there.
_ROWS = {
    "cont_c16_l1.8_p20": (_Chain(1.8, 0.001, 0.02, 16, 0.05), 0.44127719300023216),
    "cont_c16_l20.0_p20": (_Chain(20.0, 0.001, 0.02, 16, 0.05), 0.9243598567135265),
    "cont_c8_l50.0_p1": (_Chain(50.0, 0.01, 0.05, 8, 1.0), 0.1734176836062008),
}


def _exact_stay(chain: _Chain, size: int) -> float:
    """Return the mean time in the system of the chain, states above ``size`` left out.

    N requests at a step's start; n = min(N, seats) run for τ(n), each ends with probability p;
    Poisson(rate · τ) arrive. An empty server waits for the next arrival. L by the time integral
    over a cycle, w by Little's law.
    """
    from scipy import stats

    waiting = np.arange(1, size + 1)
    running = np.minimum(waiting, chain.seats)
    tau = chain.alpha * running + chain.tau0
    arrived = np.arange(size + 1)
    moves = np.zeros((size, size))
    empties = np.zeros(size)
    for row, (total, n, t) in enumerate(zip(waiting, running, tau, strict=True)):
        come = stats.poisson.pmf(arrived, chain.rate * t)
        end = stats.binom.pmf(np.arange(n + 1), n, chain.p)
        law = np.convolve(come, end[::-1])  # place k: total - n + k remain
        law = np.concatenate([np.zeros(total - n), law])[: size + 1]
        empties[row] = law[0]
        moves[row] = law[1:]
        moves[row, 0] += law[0]
        moves[row] /= moves[row].sum()
    balance = moves.T - np.eye(size)
    balance[-1] = 1.0
    share = np.linalg.solve(balance, np.eye(size)[-1])
    area = float(share @ (waiting * tau + chain.rate * tau**2 / 2))
    cycle = float(share @ tau + share @ empties / chain.rate)
    return area / cycle / chain.rate


def _drawn(chain: _Chain, count: int, seed: int) -> Requests:
    rng = np.random.default_rng(seed)
    return Requests(
        np.cumsum(rng.exponential(1 / chain.rate, count)),
        np.ones(count, dtype=np.int64),
        rng.geometric(chain.p, count),
    )


def _mean_and_half_width(values: list[float]) -> tuple[float, float]:
    from scipy import stats

    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return float(np.mean(values)), float(stats.t.ppf(0.975, len(values) - 1)) * spread


@pytest.mark.parametrize("name", _ROWS)
def test_mean_stay_is_that_of_the_exact_chain(name: str) -> None:
    chain, known = _ROWS[name]
    exact = _exact_stay(chain, 400)
    assert exact == pytest.approx(known, rel=1e-9)
    policy = replace(_SEATS, max_num_seqs=chain.seats)
    step_time = StepTime(chain.tau0, 0.0, chain.alpha)
    count, dropped = 100_000, 5_000
    means = []
    for seed in range(10):
        requests = _drawn(chain, count, seed)
        run = simulate(requests, policy, step_time)
        means.append(float(np.mean((run.finish_s - requests.arrival_s)[dropped:])))
        assert run.little_error < 1e-9
    mean, half_width = _mean_and_half_width(means)
    assert abs(mean - exact) <= max(0.005 * exact, 3 * half_width)


def test_rows_are_those_of_the_reference() -> None:
    path = Path(__file__).with_name("reference.json")
    rows = {row["id"]: row for row in json.loads(path.read_text())["configs"]}
    for name, (chain, known) in _ROWS.items():
        given = rows[name]["params"]
        assert tuple(chain) == tuple(given[key] for key in ("lam", "alpha", "tau0", "c", "p"))
        assert rows[name]["values"]["w"] == known


def test_one_new_token_is_greedy_batching_with_delay_0() -> None:
    # max(free, head's arrival) starts a batch of all that have come, up to eight.
    rng = np.random.default_rng(3)
    count = 20_000
    arrival = np.cumsum(rng.exponential(1 / 50, count))
    ones = np.ones(count, dtype=np.int64)
    run = simulate(Requests(arrival, ones, ones), _SEATS, StepTime(0.05, 0.0, 0.01))
    finish = np.empty(count)
    free, at = 0.0, 0
    while at < count:
        start = max(free, arrival[at])
        last = min(at + 8, int(np.searchsorted(arrival, start, side="right")))
        free = start + (0.05 + 0.01 * (last - at))
        finish[at:last] = free
        at = last
    assert run.finish_s.tolist() == pytest.approx(finish.tolist(), rel=1e-12)


def _load(rate: float) -> Requests:
    rng = np.random.default_rng(7)
    count = 2_000
    return Requests(
        np.cumsum(rng.exponential(1.0, count)) / rate,
        rng.integers(50, 400, count),
        rng.integers(10, 200, count),
    )


_LINEAR = StepTime(0.01, 2e-5, 1e-4, 1e-8)


def _mean_stay(requests: Requests, policy: VllmLike | TrtLlm, step_time: StepTime) -> float:
    return float(np.mean(simulate(requests, policy, step_time).finish_s - requests.arrival_s))


def test_the_same_requests_closer_together_stay_longer() -> None:
    policy = VllmLike(64, 2048, 2_000)
    stays = [_mean_stay(_load(rate), policy, _LINEAR) for rate in (2.0, 8.0, 16.0, 32.0)]
    assert stays == sorted(stays)


def test_slower_steps_in_proportion_scale_the_whole_run() -> None:
    # Times are exact in powers of two: twice as slow, arrivals twice as far apart.
    rng = np.random.default_rng(1)
    ticks = np.cumsum(rng.integers(0, 20, 500))
    sizes = rng.integers(1, 40, 500), rng.integers(1, 40, 500)
    policy = VllmLike(16, 64, 8)
    fast = simulate(Requests(ticks / 64, *sizes), policy, StepTime(1 / 64, 1 / 2048))
    slow = simulate(Requests(ticks / 32, *sizes), policy, StepTime(1 / 32, 1 / 1024))
    assert slow.finish_s.tolist() == (2 * fast.finish_s).tolist()
    assert fast.preemptions.sum() > 0


def test_with_one_token_each_a_larger_batch_ends_no_later() -> None:
    # Everything waits from the start and a step costs the same: only the number of steps counts.
    ones = np.ones(100, dtype=np.int64)
    requests = Requests(np.zeros(100), ones, ones)
    ends = [
        simulate(requests, replace(_SEATS, max_num_seqs=seats), StepTime(1.0)).finish_s
        for seats in (1, 2, 7, 50, 100)
    ]
    assert [float(end.max()) for end in ends] == [100.0, 50.0, 15.0, 2.0, 1.0]
    for fewer, more in itertools.pairwise(ends):
        assert (more <= fewer).all()


@pytest.mark.parametrize("capacity", ["GUARANTEED_NO_EVICT", "STATIC_BATCH"])
def test_schedulers_agree_where_nothing_binds(capacity: str) -> None:
    # No pressure of memory, seats or budget, all at once: every policy makes the same steps.
    rng = np.random.default_rng(2)
    requests = Requests(np.zeros(50), rng.integers(1, 9, 50), rng.integers(1, 30, 50))
    trt = simulate(requests, TrtLlm(capacity, 50, 10_000, 10_000), _LINEAR)
    mine = simulate(requests, VllmLike(50, 10_000, 10_000), _LINEAR)
    assert trt.finish_s.tolist() == mine.finish_s.tolist()
