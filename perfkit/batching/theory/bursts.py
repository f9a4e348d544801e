"""One exponential server whose arrivals are no Poisson process: GI/M/1, MMPP2/M/1.

Rates are in requests per second, times in seconds. Every function raises ValueError for arguments
that are negative, NaN or infinite, and UnstableError (a ValueError) at or above saturation.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from perfkit.batching.theory.values import Queue, fraction, not_negative, positive, stable

if TYPE_CHECKING:
    from perfkit.batching.theory.chain import Floats


def gamma_m1(rate_per_s: float, cv: float, service_per_s: float) -> Queue:
    """GI/M/1 with gamma gaps of coefficient of variation ``cv``; 0 is D/M/1, 1 is M/M/1.

    wait = sigma / (mu (1 - sigma)), where an arrival waits with probability ``gamma_m1_sigma``.
    Source: Gross et al., Fundamentals of Queueing Theory, 4th ed., section 5.3.
    """
    sigma = gamma_m1_sigma(rate_per_s, cv, service_per_s)
    wait = sigma / (service_per_s * (1 - sigma))
    return Queue(
        served_per_s=rate_per_s,
        wait_s=wait,
        latency_s=wait + 1 / service_per_s,
        queue_length=rate_per_s * wait,
        utilisation=rate_per_s / service_per_s,
        p_idle=1 - rate_per_s / service_per_s,
        p_wait=sigma,
        mean_batch=1.0,
    )


def gamma_m1_sigma(rate_per_s: float, cv: float, service_per_s: float) -> float:
    """Root in (0, 1) of sigma = A*(mu (1 - sigma)): the chance that a gamma arrival waits.

    A*(s) = (1 + s / (k lambda))^-k with k = 1 / cv^2, or exp(-s / lambda) at cv 0. Source: Gross
    et al., section 5.3.
    """
    from scipy import optimize

    positive(rate_per_s=rate_per_s, service_per_s=service_per_s)
    not_negative(cv=cv)
    stable(rate_per_s, service_per_s)
    load, shape = rate_per_s / service_per_s, cv**-2 if cv > 0 else math.inf

    def log_transform(free: float) -> float:  # of A*(mu (1 - sigma)), free = 1 - sigma
        one = free / load
        return -one if math.isinf(shape) else -shape * math.log1p(one / shape)

    def gap(free: float) -> float:
        return log_transform(free) - math.log1p(-free)

    low, high = 0.5, 1 - 2.0**-53
    while gap(low) >= 0:
        low /= 2
    free = high if gap(high) <= 0 else float(optimize.brentq(gap, low, high, xtol=1e-300))
    # Once more through the equation, which is exact where sigma is too small for 1 - free.
    return math.exp(log_transform(free))


def gamma_m1_wait_quantile_s(rate_per_s: float, cv: float, service_per_s: float, q: float) -> float:
    """Quantile of the wait: P(wait > t) = sigma exp(-mu (1 - sigma) t), with 1 - sigma at 0.

    Source: Gross et al., section 5.3.
    """
    fraction(q=q)
    sigma = gamma_m1_sigma(rate_per_s, cv, service_per_s)
    if q <= 1 - sigma:
        return 0.0
    return math.log(sigma / (1 - q)) / (service_per_s * (1 - sigma))


def mmpp2_m1(
    rates_per_s: tuple[float, float], switch_per_s: tuple[float, float], service_per_s: float
) -> Queue:
    """M/M/1 whose arrival rate switches between two, each kept for an exponential time.

    ``switch_per_s`` are the rates of leaving the first phase and the second. The law is matrix-
    geometric, pi_n = pi_0 R^n, with R the least solution of A0 + R A1 + R^2 A2 = 0; p_wait is
    seen by arrivals, which come more often in the busy phase, so it is not the utilisation.
    Source: Neuts, Matrix-Geometric Solutions in Stochastic Models (1981), chapter 3; R by the
    logarithmic reduction of Latouche and Ramaswami, J. Applied Probability 30 (1993) 650.
    """
    not_negative(**{f"rates_per_s[{i}]": rate for i, rate in enumerate(rates_per_s)})
    positive(**{f"switch_per_s[{i}]": rate for i, rate in enumerate(switch_per_s)})
    share = np.array(switch_per_s[::-1]) / sum(switch_per_s)
    rates = np.array(rates_per_s)
    mean = float(share @ rates)
    positive(service_per_s=service_per_s, mean_rate_per_s=mean)
    stable(mean, service_per_s)
    change = np.array([[-1.0, 1.0], [1.0, -1.0]]) * np.array(switch_per_s)[:, None]
    growth = _growth(np.diag(rates), change, service_per_s)
    empty = _null(change - np.diag(rates) + service_per_s * growth)
    left = np.linalg.inv(np.eye(2) - growth)
    empty /= np.sum(empty @ left)
    inside = float(np.sum(empty @ growth @ left @ left))
    return Queue(
        served_per_s=mean,
        wait_s=inside / mean - 1 / service_per_s,
        latency_s=inside / mean,
        queue_length=inside - mean / service_per_s,
        utilisation=mean / service_per_s,
        p_idle=float(np.sum(empty)),
        p_wait=1 - float(empty @ rates) / mean,
        mean_batch=1.0,
    )


def _growth(up: Floats, change: Floats, service_per_s: float) -> Floats:
    """R of the QBD that goes up by ``up`` and down by the service rate in both phases."""
    one = np.eye(2)
    stay = np.linalg.inv(service_per_s * one + up - change)
    rise, fall = stay @ up, stay * service_per_s
    first, product = fall.copy(), rise.copy()
    while True:
        mixed = np.linalg.inv(one - rise @ fall - fall @ rise)
        rise, fall = mixed @ rise @ rise, mixed @ fall @ fall
        more = product @ fall
        first += more
        product = product @ rise
        if np.max(np.abs(more)) < 1e-16:
            break
    growth: Floats = up @ np.linalg.inv(service_per_s * one + up - change - up @ first)
    return growth


def _null(generator: Floats) -> Floats:
    """Return the positive row vector v, of sum 1, with v ``generator`` = 0, of a singular 2 x 2."""
    v = np.array([generator[1, 0], -generator[0, 0]])
    return v / float(v.sum())
