"""Many replicas behind a router, each with a queue of its own.

Rates are in requests per second and of the whole fleet; times are in seconds. Every function
raises ValueError for arguments that are negative, NaN or infinite, and UnstableError (a
ValueError) at or above saturation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.batching.theory.bursts import gamma_m1
from perfkit.batching.theory.values import Queue, positive, stable, whole

if TYPE_CHECKING:
    from collections.abc import Callable


def random_split(rate_per_s: float, replicas: int, replica: Callable[[float], Queue]) -> Queue:
    """Return one replica's queue of a fleet that routes at random: ``replica(rate / replicas)``.

    Poisson arrivals split at random are independent Poisson processes, so any model of one server
    with Poisson arrivals fits as ``replica``. Source: Gross et al., Fundamentals of Queueing
    Theory, 4th ed., section 1.7.
    """
    positive(rate_per_s=rate_per_s)
    whole(replicas=replicas)
    return replica(rate_per_s / replicas)


def round_robin(rate_per_s: float, replicas: int, service_per_s: float) -> Queue:
    """Return one exponential replica's queue of a fleet that takes turns: Erlang-K arrivals.

    The gap between a replica's arrivals is a sum of K = ``replicas`` exponential ones, of cv
    K^(-1/2), so it is GI/M/1. Source: Gross et al., section 5.3.
    """
    positive(rate_per_s=rate_per_s)
    whole(replicas=replicas)
    return gamma_m1(rate_per_s / replicas, replicas**-0.5, service_per_s)


def power_of_d(utilisation: float, choices: int, service_per_s: float) -> Queue:
    """Return the shortest of d random queues' M/M model, per replica, of infinitely many replicas.

    Latency = (1 / mu) sum over k >= 1 of rho^((d^k - d) / (d - 1)); 1 choice is M/M/1. Source:
    Mitzenmacher, IEEE Trans. Parallel and Distributed Systems 12 (2001) 1094; Vvedenskaya,
    Dobrushin and Karpelevich, Problems of Information Transmission 32 (1996) 15.
    """
    positive(utilisation=utilisation, service_per_s=service_per_s)
    whole(choices=choices)
    stable(utilisation * service_per_s, service_per_s)
    # The share of queues of k or more is rho^(1 + d + ... + d^(k-1)); the sum of those is L.
    inside, exponent = 0.0, 1.0
    while (share := utilisation**exponent) > 1e-18 * inside:
        inside += share
        exponent = 1 + choices * exponent
    rate = utilisation * service_per_s
    return Queue(
        served_per_s=rate,
        wait_s=inside / rate - 1 / service_per_s,
        latency_s=inside / rate,
        queue_length=inside - utilisation,
        utilisation=utilisation,
        p_idle=1 - utilisation,
        p_wait=utilisation**choices,
        mean_batch=1.0,
    )
