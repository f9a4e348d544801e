"""Every reference value, by row, from the function that its model names."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from perfkit.batching import arrivals
from perfkit.batching.theory import (
    bulk,
    bursts,
    fleets,
    formation,
    iteration,
    losses,
    queues,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.batching.theory.values import Queue

ROWS = json.loads((Path(__file__).parents[1] / "reference.json").read_text())["configs"]
SIMULATED = [row for row in ROWS if row["method"] == "simulation"]
EXACT = [row for row in ROWS if row["method"] != "simulation"]
# How the row's author checked a chain: what is served less what comes, and the mass left out.
CHECKS = {"thr_check", "req_balance", "tail"}


def plain(queue: Queue) -> dict[str, Any]:
    return {
        "wq": queue.wait_s,
        "w": queue.latency_s,
        "lq": queue.queue_length,
        "p_wait": queue.p_wait,
        "p_idle": queue.p_idle,
        "p_empty": queue.p_idle,
        "lam": queue.served_per_s,
        "rho": queue.utilisation,
        "busy": queue.utilisation,
        "mean_batch": queue.mean_batch,
        "mean_running_per_iter": queue.mean_batch,
        "itl": queue.itl_s,
        "loss": queue.loss,
        "wq_served": queue.wait_s,
    }


def mm1(lam: float, mu: float) -> dict[str, Any]:
    waits = {
        f"wq_p{percent}": queues.mm1_wait_quantile_s(lam, mu, percent / 100)
        for percent in (50, 95, 99)
    }
    latency = queues.mm1_latency_quantile_s(lam, mu, 0.99)
    return {**plain(queues.mm1(lam, mu)), **waits, "w_p99": latency}


def md1(lam: float, D: float) -> dict[str, Any]:  # noqa: N803 - the row's name
    cdf = {f"P_wq_le_{x:g}": queues.mdc_wait_cdf(lam, D, 1, x) for x in (0.5, 1, 2, 5)}
    return {**plain(queues.md1(lam, D)), **cdf}


def gamma(lam: float, shape: float, cv: float, mu: float) -> dict[str, Any]:
    assert cv == shape**-0.5
    return {
        **plain(bursts.gamma_m1(lam, cv, mu)),
        "sigma": bursts.gamma_m1_sigma(lam, cv, mu),
        "wq_p99": bursts.gamma_m1_wait_quantile_s(lam, cv, mu, 0.99),
    }


def mmpp(rates: list[float], q12: float, q21: float, mu: float) -> dict[str, Any]:
    return plain(bursts.mmpp2_m1((rates[0], rates[1]), (q12, q21), mu))


def mm_bulk(lam: float, mu: float, b: int) -> dict[str, Any]:
    queue = bulk.mm_bulk(lam, mu, b)
    assert queue.p_idle is not None
    # P(idle) = A mu / lambda with A = 1 / (mu / lambda + 1 / (1 - r)).
    root = 1 - 1 / (1 / (queue.p_idle * lam / mu) - mu / lam)
    return {**plain(queue), "root": root}


def md_bulk(lam: float, D: float, bmax: int) -> dict[str, Any]:  # noqa: N803 - the row's name
    return plain(bulk.greedy(lam, (D,) * bmax))


def bailey(lam: float, D: float, b: int) -> dict[str, Any]:  # noqa: N803 - the row's name
    queue = bulk.bailey(lam, D, b)
    before = queue.queue_length + lam * D / 2
    chain = queues.mdc(lam, D, b)  # the same chain, N' = max(N - b, 0) + Poisson
    return {
        **plain(queue),
        "q_before_closed": before,
        "q_before_service": chain.queue_length + lam * D,
    }


def linear(lam: float, alpha: float, tau0: float, bmax: int, sat: float) -> dict[str, Any]:
    service = bulk.linear_service_s(alpha, tau0, bmax)
    assert bulk.saturation_per_s(service) == pytest.approx(sat, rel=1e-12)
    queue = bulk.greedy(lam, service)
    phi0, phi1 = bulk._inoue_bounds_s(lam, alpha, tau0)
    assert queue.mean_batch is not None
    return {
        **plain(queue),
        "inoue_phi0": phi0,
        "inoue_phi1": phi1,
        "inoue_phi": bulk.inoue_bound_s(lam, alpha, tau0),
        "inoue_exact_from_EB": bulk.inoue_latency_s(lam, alpha, tau0, queue.mean_batch),
    }


def form(lam: float, bmax: int, delay: float) -> dict[str, Any]:
    formed = formation.size_or_delay(lam, bmax, delay)
    return {
        "mean_batch": formed.mean_batch,
        "wq": formed.wait_s,
        "frac_full": formed.fraction_full,
    }


def continuous(
    lam: float, alpha: float, tau0: float, c: int, p: float, sat: float
) -> dict[str, Any]:
    assert iteration.saturation_per_s(alpha, tau0, c, 1 / p) == pytest.approx(sat, rel=1e-12)
    return plain(iteration.continuous(lam, alpha, tau0, c, 1 / p))


def power(rho: float, d: int, mu: float) -> dict[str, Any]:
    alone = fleets.power_of_d(rho, 1, mu).latency_s
    return {**plain(fleets.power_of_d(rho, d, mu)), "w_random": alone}


def full(gap: float, bmax: int, tau: float) -> dict[str, Any]:
    queue, waits = formation.full_batches(gap, bmax, tau)
    return {**plain(queue), "wq_cycle": list(waits)}


MODELS: dict[str, Callable[..., dict[str, Any]]] = {
    "M/M/1": mm1,
    "M/D/1": md1,
    "M/D/c": lambda lam, D, c: plain(queues.mdc(lam, D, c)),  # noqa: N803 - the row's name
    "M/M/c": lambda lam, mu, c: plain(queues.mmc(lam, mu, c)),
    "Gamma/M/1": gamma,
    "MMPP2/M/1": mmpp,
    "M/M/1, reject on queue timeout T": lambda lam, mu, T: plain(  # noqa: N803 - the row's name
        losses.mm1_timeout(lam, mu, T)
    ),
    "M/M^[1,b]/1 delay 0": mm_bulk,
    "M/D^[1,b]/1 delay 0": md_bulk,
    "Bailey clocked M/D^[0,b]/1": bailey,
    "greedy batching, tau(b)=alpha*b+tau0, delay 0": linear,
    "size-or-delay formation, servers never busy": form,
    "continuous batching: slots c, geometric output length mean 1/p, iteration al*n+tau0, "
    "join at boundary": continuous,
    "fleet, N->inf M/M, power of 2 choices": power,
    "D arrivals gap 1, bmax 4, delay inf, tau=2": full,
}


@pytest.mark.parametrize("row", EXACT, ids=[row["id"] for row in EXACT])
def test_exact_rows_are_reproduced(row: dict[str, Any]) -> None:
    found = MODELS[row["model"]](**row["params"])
    for name, wanted in row["values"].items():
        if name not in CHECKS:
            assert found[name] == pytest.approx(wanted, rel=1e-8), name


def test_every_row_is_exact_or_simulated_by_a_sample_of_ours() -> None:
    other = {row["model"] for row in ROWS} - set(MODELS)
    assert other == {"size-or-delay, 1 server, Poisson"}
    assert {row["method"] for row in ROWS if row["model"] in other} == {"simulation"}


def size_or_delay_waits_s(
    times: list[float], service: tuple[float, ...], delay_s: float
) -> tuple[list[float], list[float], int]:
    """Waits and latencies of one server, as batching.md §2a rule 13, and how many batches."""
    n, cap, free, head, batches = len(times), len(service), 0.0, 0, 0
    waits, latencies = [], []
    while head < n:
        full = times[head + cap - 1] if head + cap <= n else math.inf
        sent = max(free, min(full, times[head] + delay_s))
        tail = head + 1
        while tail < n and tail - head < cap and times[tail] <= sent:
            tail += 1
        free = sent + service[tail - head - 1]
        waits += [sent - came for came in times[head:tail]]
        latencies += [free - came for came in times[head:tail]]
        head, batches = tail, batches + 1
    return waits, latencies, batches


def test_greedy_batches_of_any_times_wait_as_in_a_simulation() -> None:
    service = (0.3, 1.2, 0.7, 1.6, 1.5)  # a batch of three is faster than one of two
    times = arrivals.poisson(2.5, 400_000, seed=2).tolist()
    waits, latencies, batches = size_or_delay_waits_s(times, service, delay_s=0.0)
    queue = bulk.greedy(2.5, service)
    assert np.mean(waits) == pytest.approx(queue.wait_s, rel=0.01)
    assert np.mean(latencies) == pytest.approx(queue.latency_s, rel=0.01)
    assert len(times) / batches == pytest.approx(queue.mean_batch, rel=0.01)


@pytest.mark.parametrize("row", SIMULATED, ids=[row["id"] for row in SIMULATED])
def test_simulated_rows_are_met_by_a_sample_of_ours(row: dict[str, Any]) -> None:
    params, values, n = row["params"], row["values"], 400_000
    service = bulk.linear_service_s(params["alpha"], params["tau0"], params["bmax"])
    assert bulk.saturation_per_s(service) == pytest.approx(params["sat"])
    times = arrivals.poisson(params["lam"], n, seed=1).tolist()
    waits, latencies, batches = size_or_delay_waits_s(times, service, params["delay"])
    # The error of a sample is as one over the root of its size; the row's own comes on top.
    wider = 2 * (math.sqrt(params["n"] / n) + 1)
    assert np.mean(waits) == pytest.approx(values["wq"], abs=wider * values["wq_ci95"])
    assert np.mean(latencies) == pytest.approx(values["w"], abs=wider * values["w_ci95"])
    for q in (50, 99):  # an atom has next to no error of its own, and float64 times have 1e-9 s
        within = wider * values[f"w_p{q}_ci"] + 1e-9
        assert np.percentile(latencies, q) == pytest.approx(values[f"w_p{q}"], abs=within)
    assert n / batches == pytest.approx(values["mean_batch"], rel=0.01)
