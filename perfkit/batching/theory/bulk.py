"""Many requests a service, started as soon as the server is free: delay 0, one server.

Whoever arrives during a service waits for the next. Rates are in requests per second, times in
seconds. Every function raises ValueError for arguments that are negative, NaN or infinite, and
UnstableError (a ValueError) at or above saturation.
"""

from __future__ import annotations

import cmath
import math
from typing import TYPE_CHECKING

import numpy as np

from perfkit.batching.theory import chain
from perfkit.batching.theory.values import Queue, not_negative, positive, stable, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.batching.theory.chain import Floats

# A service that leaves requests behind is never seen if this is its share: over float64's noise.
_NEVER = 1e-12
# Inoue's bound is as close as 1e-4 to the truth; a cap felt less often than this hides beneath.
_FELT = 1e-9


def linear_service_s(alpha_s: float, tau0_s: float, max_batch: int) -> tuple[float, ...]:
    """Service times tau(b) = alpha b + tau0 of batches of 1 to ``max_batch``, in seconds."""
    not_negative(alpha_s=alpha_s, tau0_s=tau0_s)
    whole(max_batch=max_batch)
    return tuple(alpha_s * b + tau0_s for b in range(1, max_batch + 1))


def saturation_per_s(service_s: Sequence[float]) -> float:
    """Most requests per second that any choice of batches serves: the maximum of b / tau(b).

    ``service_s[b - 1]`` is tau(b), the time of a batch of b. A server that always takes all it
    may (``greedy``) saturates at B / tau(B), which is less if a smaller batch is more efficient.
    """
    times = _times(service_s)
    return float(np.max(np.arange(1, len(times) + 1) / times))


def mm_bulk(rate_per_s: float, service_per_s: float, max_batch: int) -> Queue:
    """Return M/M^[1,b]/1: exponential service, of the same mean whatever the batch.

    With r in (0, 1) the root of mu r^(b+1) - (lambda + mu) r + lambda = 0 and
    A = 1 / (mu / lambda + 1 / (1 - r)): P(idle) = A mu / lambda, Lq = A r / (1 - r)^2.
    Source: Gross et al., Fundamentals of Queueing Theory, 4th ed., section 3.2.2.
    """
    from scipy import optimize

    positive(rate_per_s=rate_per_s, service_per_s=service_per_s)
    whole(max_batch=max_batch)
    stable(rate_per_s, max_batch * service_per_s)
    load = rate_per_s / service_per_s
    # The root r = 1 divided out: r + r^2 + ... + r^b = lambda / mu, which only grows.
    powers = np.arange(1, max_batch + 1)
    root = float(optimize.brentq(lambda r: np.sum(r**powers) - load, 0.0, 1.0, xtol=1e-15))
    scale = 1 / (1 / load + 1 / (1 - root))
    p_idle = scale / load
    queue = scale * root / (1 - root) ** 2
    return Queue(
        served_per_s=rate_per_s,
        wait_s=queue / rate_per_s,
        latency_s=queue / rate_per_s + 1 / service_per_s,
        queue_length=queue,
        utilisation=1 - p_idle,
        p_idle=p_idle,
        p_wait=1 - p_idle,
        mean_batch=load / (1 - p_idle),
    )


def greedy(rate_per_s: float, service_s: Sequence[float]) -> Queue:
    """Poisson arrivals, batches of all who wait, up to B = len(service_s), each of a fixed time.

    ``service_s[b - 1]`` is tau(b): constant for M/D^[1,b]/1, ``linear_service_s`` for a GPU. The
    chain of those present when a service starts is solved exactly; with Q of them, R = (Q - B)+:
    Lq = E[R tau + lambda tau^2 / 2] / (E[tau] + P(nobody left or came) / lambda). Saturation is
    B / tau(B): with a long queue no other batch is served. Derived from the chain by Little's law
    and renewal reward (Tijms, A First Course in Stochastic Models, section 2.2).
    """
    law, times = _greedy_law(rate_per_s, service_s)
    served = np.minimum(law.states, len(times))
    tau = times[served.astype(int) - 1]
    waiting = (law.states - served) * tau + rate_per_s * tau**2 / 2
    batch, busy = law.expect(served), law.expect(tau)
    none = np.where(law.states <= len(times), np.exp(-rate_per_s * tau), 0.0)
    idle = law.expect(none) / rate_per_s
    queue = law.expect(waiting) / (busy + idle)
    return Queue(
        served_per_s=rate_per_s,
        wait_s=queue / rate_per_s,
        latency_s=queue / rate_per_s + law.expect(served * tau) / batch,
        queue_length=queue,
        utilisation=busy / (busy + idle),
        p_idle=idle / (busy + idle),
        p_wait=busy / (busy + idle),
        mean_batch=batch,
    )


def uncapped(rate_per_s: float, alpha_s: float, tau0_s: float) -> Queue:
    """Return ``greedy`` with tau(b) = alpha b + tau0 and no maximum batch; saturates at 1 / alpha.

    Exact: a maximum is set that is passed by less than one service in 10^12 (which takes ten
    seconds at 99 % of saturation).
    """
    _check_linear(rate_per_s, alpha_s, tau0_s)
    times = linear_service_s(alpha_s, tau0_s, chain.MAX_STATES)
    if rate_per_s * times[-1] >= len(times):
        raise ValueError(
            f"rate {rate_per_s!r}/s is too near saturation {1 / alpha_s!r}/s for an exact answer: "
            f"batches of over {len(times)} occur"
        )
    return greedy(rate_per_s, times)


def inoue_latency_s(rate_per_s: float, alpha_s: float, tau0_s: float, mean_batch: float) -> float:
    """Mean latency of ``uncapped`` from its mean batch E[B], with x = lambda alpha.

    alpha (x + 2) / (2 (1 - x^2)) (1 + 2 lambda x tau0 + lambda^2 tau0^2 / E[B])
    + tau0 (1 + x) + lambda tau0^2 / (2 E[B]). Exact without a maximum batch, and only then.
    Source: derived after Inoue, Performance Evaluation 149-150 (2021), arXiv 1912.06322; the
    wording of its theorem was not at hand.
    """
    _check_linear(rate_per_s, alpha_s, tau0_s)
    positive(mean_batch=mean_batch)
    x, y = rate_per_s * alpha_s, rate_per_s * tau0_s
    growth = alpha_s * (x + 2) / (2 * (1 - x**2))
    return (
        growth * (1 + 2 * x * y + y**2 / mean_batch)
        + tau0_s * (1 + x)
        + y * tau0_s / (2 * mean_batch)
    )


def inoue_bound_s(
    rate_per_s: float, alpha_s: float, tau0_s: float, max_batch: int | None = None
) -> float:
    """Bound on the mean latency of ``uncapped``: never exceeded without a maximum batch.

    The least of phi0 = (alpha + tau0) / (2 (1 - x)) (1 + 2 lambda tau0 + (1 - lambda tau0) /
    (1 + x)), from E[B] >= 1, and phi1 = 3 tau0 / (2 (1 - x)) + alpha (x + 2) / (2 (1 - x^2)), with
    x = lambda alpha. With a binding maximum latency may be over it: raises ValueError where
    ``max_batch`` would be exceeded by more than one batch in 10^9. Source: as ``inoue_latency_s``.
    """
    _check_linear(rate_per_s, alpha_s, tau0_s)
    if max_batch is not None:
        _refuse_binding(rate_per_s, alpha_s, tau0_s, max_batch)
    return min(_inoue_bounds_s(rate_per_s, alpha_s, tau0_s))


def _inoue_bounds_s(rate_per_s: float, alpha_s: float, tau0_s: float) -> tuple[float, float]:
    """Return phi0 and phi1."""
    x, y = rate_per_s * alpha_s, rate_per_s * tau0_s
    phi0 = (alpha_s + tau0_s) / (2 * (1 - x)) * (1 + 2 * y + (1 - y) / (1 + x))
    phi1 = 1.5 * tau0_s / (1 - x) + alpha_s / 2 * (x + 2) / (1 - x**2)
    return phi0, phi1


def bailey(rate_per_s: float, period_s: float, max_batch: int) -> Queue:
    """Bailey's clocked bulk service: each period takes up to b of those there, or nobody.

    Before a service, with m = lambda D < b, E[Q] = sum over k < b of 1 / (1 - z_k) +
    (b - (b - m)^2) / (2 (b - m)), z_k being the roots of z^b = exp(m (z - 1)) inside the unit
    circle; wait = (E[Q] - m) / lambda + D / 2. ``utilisation`` is of places, m / b. Source:
    Bailey, J. Royal Statistical Society B 16 (1954) 80.
    """
    positive(rate_per_s=rate_per_s, period_s=period_s)
    whole(max_batch=max_batch)
    stable(rate_per_s, max_batch / period_s)
    m, b = rate_per_s * period_s, max_batch
    roots = sum((1 / (1 - _bailey_root(m, b, k))).real for k in range(1, b))
    before = roots + (b - (b - m) ** 2) / (2 * (b - m))
    queue = before - m / 2
    return Queue(
        served_per_s=rate_per_s,
        wait_s=queue / rate_per_s,
        latency_s=queue / rate_per_s + period_s,
        queue_length=queue,
        utilisation=m / b,
        p_wait=1.0,
        mean_batch=m,
    )


def _bailey_root(m: float, b: int, k: int) -> complex:
    """Newton's method on log z = (m (z - 1) + 2 pi i k) / b, from Szego's curve inwards."""
    turn = 2j * math.pi * k
    z = 0j
    for _ in range(50):  # contracts by m / b |z| < 1 a step
        z = cmath.exp((m * (z - 1) + turn) / b)
    for _ in range(50):
        power = cmath.exp((m * (z - 1) + turn) / b)
        step = (z - power) / (1 - m / b * power)
        z -= step
        if abs(step) < 1e-15:
            break
    return z


def _times(service_s: Sequence[float]) -> Floats:
    times = np.array(service_s, dtype=np.float64)
    if times.ndim != 1 or not len(times):
        raise ValueError(f"service_s must hold a time for each batch from 1 on, got {service_s!r}")
    wrong = np.flatnonzero(~(np.isfinite(times) & (times > 0)))
    if len(wrong):
        positive(**{f"service_s of a batch of {wrong[0] + 1}": float(times[wrong[0]])})
    return times


def _check_linear(rate_per_s: float, alpha_s: float, tau0_s: float) -> None:
    positive(rate_per_s=rate_per_s, alpha_s=alpha_s)
    not_negative(tau0_s=tau0_s)
    stable(rate_per_s, 1 / alpha_s)


def _greedy_law(rate_per_s: float, service_s: Sequence[float]) -> tuple[chain.Law, Floats]:
    """Return the law at the start of a service, and the times of the batches that can occur."""
    positive(rate_per_s=rate_per_s)
    times = _times(service_s)
    stable(rate_per_s, len(times) / float(times[-1]))
    joining = np.concatenate(([0.0], rate_per_s * times))
    grows = np.flatnonzero(joining >= np.arange(len(joining)))[-1]  # the largest such batch
    cap = 64
    while cap < len(times):
        if cap > grows:
            law = chain.stationary(joining[: cap + 1])
            if law.above(cap) < _NEVER:
                return law, times[:cap]
        cap *= 2
    return chain.stationary(joining), times


def _refuse_binding(rate_per_s: float, alpha_s: float, tau0_s: float, max_batch: int) -> None:
    whole(max_batch=max_batch)
    times = linear_service_s(alpha_s, tau0_s, max_batch)
    over = 1.0
    if rate_per_s < max_batch / times[-1]:
        law, kept = _greedy_law(rate_per_s, times)
        over = law.above(max_batch) if len(kept) == max_batch else 0.0
    if over > _FELT:
        raise ValueError(
            f"Inoue's bound needs batches without a maximum; {max_batch} binds at rate "
            f"{rate_per_s!r}/s ({over:.1e} of services leave requests behind): use greedy"
        )
