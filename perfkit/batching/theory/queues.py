"""Poisson arrivals, one request a service: M/M/1, M/M/c, M/D/1, M/D/c.

Rates are in requests per second, times in seconds. Every function raises ValueError for arguments
that are negative, NaN or infinite, and UnstableError (a ValueError) at or above saturation.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from perfkit.batching.theory import chain
from perfkit.batching.theory.values import Queue, fraction, not_negative, positive, stable, whole

if TYPE_CHECKING:
    from collections.abc import Callable


def mm1(rate_per_s: float, service_per_s: float) -> Queue:
    """Return M/M/1, first come first served: wait = rho / (mu - lambda).

    Source: Gross et al., Fundamentals of Queueing Theory, 4th ed., section 2.2.
    """
    return mmc(rate_per_s, service_per_s, 1)


def mm1_wait_quantile_s(rate_per_s: float, service_per_s: float, q: float) -> float:
    """Quantile of M/M/1's wait: P(wait > t) = rho exp(-(mu - lambda) t), with 1 - rho at 0.

    Source: Gross et al., section 2.2.4.
    """
    return mmc_wait_quantile_s(rate_per_s, service_per_s, 1, q)


def mm1_latency_quantile_s(rate_per_s: float, service_per_s: float, q: float) -> float:
    """Quantile of M/M/1's latency, which is exponential of rate mu - lambda.

    Source: Gross et al., section 2.2.4.
    """
    _check(rate_per_s, service_per_s, 1)
    fraction(q=q)
    return -math.log1p(-q) / (service_per_s - rate_per_s)


def mmc(rate_per_s: float, service_per_s: float, servers: int) -> Queue:
    """Return M/M/c with one queue: wait = C / (c mu - lambda), C = ``erlang_c``.

    ``service_per_s`` is the rate of one server. Source: Gross et al., section 2.3.
    """
    p_wait = erlang_c(rate_per_s, service_per_s, servers)
    load = rate_per_s / service_per_s
    wait = p_wait / (servers * service_per_s - rate_per_s)
    # C = p_idle load^c / (c! (1 - load / c)), in logarithms: c! overflows from c = 171 on.
    log_busy = servers * math.log(load) - math.lgamma(servers + 1) - math.log1p(-load / servers)
    return Queue(
        served_per_s=rate_per_s,
        wait_s=wait,
        latency_s=wait + 1 / service_per_s,
        queue_length=rate_per_s * wait,
        utilisation=load / servers,
        p_idle=math.exp(math.log(p_wait) - log_busy) if p_wait > 0 else math.exp(-load),
        p_wait=p_wait,
        mean_batch=1.0,
    )


def erlang_c(rate_per_s: float, service_per_s: float, servers: int) -> float:
    """Probability that an arrival of M/M/c finds all servers busy.

    By Erlang B's recursion, B_k = a B_(k-1) / (k + a B_(k-1)), which subtracts nothing, and
    C = B / (1 - rho (1 - B)). Source: Gross et al., sections 2.3 and 2.4.
    """
    _check(rate_per_s, service_per_s, servers)
    load = rate_per_s / service_per_s
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = load * blocked / (k + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def mmc_wait_quantile_s(rate_per_s: float, service_per_s: float, servers: int, q: float) -> float:
    """Quantile of M/M/c's wait: P(wait > t) = C exp(-(c mu - lambda) t), with 1 - C at 0.

    Source: Gross et al., section 2.3.
    """
    fraction(q=q)
    p_wait = erlang_c(rate_per_s, service_per_s, servers)
    if q <= 1 - p_wait:
        return 0.0
    return math.log(p_wait / (1 - q)) / (servers * service_per_s - rate_per_s)


def md1(rate_per_s: float, service_s: float) -> Queue:
    """Return M/D/1: wait = rho D / (2 (1 - rho)), half of M/M/1's.

    Source: Pollaczek and Khinchine; Gross et al., section 5.1.
    """
    positive(rate_per_s=rate_per_s, service_s=service_s)
    stable(rate_per_s, 1 / service_s)
    rho = rate_per_s * service_s
    wait = rho * service_s / (2 * (1 - rho))
    return Queue(
        served_per_s=rate_per_s,
        wait_s=wait,
        latency_s=wait + service_s,
        queue_length=rate_per_s * wait,
        utilisation=rho,
        p_idle=1 - rho,
        p_wait=rho,
        mean_batch=1.0,
    )


def mdc(rate_per_s: float, service_s: float, servers: int) -> Queue:
    """Return M/D/c with one queue: N' = max(N - c, 0) + Poisson(lambda D) over each D.

    The number in the system at any time has that chain's law; wait = E[(N - c)+] / lambda.
    Source: Crommelin 1932; Tijms, A First Course in Stochastic Models, section 9.6.
    """
    law = _mdc_law(rate_per_s, service_s, servers)
    queue = law.expect(np.maximum(law.states - servers, 0.0))
    return Queue(
        served_per_s=rate_per_s,
        wait_s=queue / rate_per_s,
        latency_s=queue / rate_per_s + service_s,
        queue_length=queue,
        utilisation=rate_per_s * service_s / servers,
        p_idle=float(law.probability[0]),
        p_wait=law.above(servers - 1),
        mean_batch=1.0,
    )


def mdc_wait_cdf(rate_per_s: float, service_s: float, servers: int, wait_s: float) -> float:
    """P(wait <= ``wait_s``) of M/D/c; of M/D/1 with one server.

    For (k - 1) D <= x < k D it is the sum over j < k c of P(kc - 1 - j or fewer wait) times
    Poisson's P(j) of mean lambda (k D - x). All its terms are positive, so nothing cancels, as it
    does in Erlang's alternating series. Source: Franx, Operations Research Letters 29 (2001) 221.
    """
    not_negative(wait_s=wait_s)
    law = _mdc_law(rate_per_s, service_s, servers)
    return _mdc_cdf(law, rate_per_s, service_s, servers)(wait_s)


def mdc_wait_quantile_s(rate_per_s: float, service_s: float, servers: int, q: float) -> float:
    """Quantile of M/D/c's wait, by bisection of ``mdc_wait_cdf``; 0 where that many do not wait."""
    from scipy import optimize

    fraction(q=q)
    law = _mdc_law(rate_per_s, service_s, servers)
    cdf = _mdc_cdf(law, rate_per_s, service_s, servers)
    if q <= cdf(0.0):
        return 0.0
    high = service_s
    while cdf(high) < q:
        high *= 2
    return float(optimize.brentq(lambda x: cdf(x) - q, 0.0, high, xtol=1e-12 * service_s))


def _check(rate_per_s: float, service_per_s: float, servers: int) -> None:
    positive(rate_per_s=rate_per_s, service_per_s=service_per_s)
    whole(servers=servers)
    stable(rate_per_s, servers * service_per_s)


def _mdc_law(rate_per_s: float, service_s: float, servers: int) -> chain.Law:
    positive(rate_per_s=rate_per_s, service_s=service_s)
    whole(servers=servers)
    stable(rate_per_s, servers / service_s)
    return chain.stationary(np.full(servers + 1, rate_per_s * service_s), idle=True)


def _mdc_cdf(
    law: chain.Law, rate_per_s: float, service_s: float, servers: int
) -> Callable[[float], float]:
    from scipy import stats

    def cdf(wait_s: float) -> float:
        k = math.floor(wait_s / service_s) + 1
        came = np.arange(k * servers)
        few = 1 - law.above(servers + came[::-1])
        return float(few @ stats.poisson.pmf(came, rate_per_s * (k * service_s - wait_s)))

    return cdf
