"""How batches form where servers never are busy: at size b, or a delay after the first request."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from perfkit.batching.theory.values import Queue, not_negative, positive, stable, whole


@dataclass(frozen=True)
class Formation:
    """What forms: ``size_probability[k - 1]`` is the share of batches of size k.

    ``wait_s`` is a request's mean wait in seconds until its batch is sent; ``fraction_full`` the
    share of batches that are sent because they are full.
    """

    size_probability: tuple[float, ...]
    mean_batch: float
    wait_s: float
    fraction_full: float


def size_or_delay(rate_per_s: float, max_batch: int, delay_s: float) -> Formation:
    """Poisson arrivals; a batch is sent at b requests or ``delay_s`` after its first.

    With P_k = P(Poisson(lambda T) >= k): E[batch] = 1 + sum of P_k over k < b, wait = sum of
    k P_k / (lambda E[batch]), P(size >= k) = P_(k-1). ``delay_s`` may be 0 or inf. Raises
    ValueError for other arguments that are negative, NaN or infinite. Source: the time spent
    with k members is the integral of Poisson's P(k - 1) over the delay, which is P_k / lambda.
    """
    from scipy import stats

    positive(rate_per_s=rate_per_s)
    whole(max_batch=max_batch)
    if delay_s != math.inf:
        not_negative(delay_s=delay_s)
    k = np.arange(max_batch)
    mean = rate_per_s * delay_s
    reach = np.ones(max_batch) if math.isinf(mean) else stats.poisson.sf(k - 1, mean)
    batch = float(np.sum(reach))
    size = reach - np.append(reach[1:], 0.0)
    return Formation(
        size_probability=tuple(size.tolist()),
        mean_batch=batch,
        wait_s=float(k @ reach) / (rate_per_s * batch),
        fraction_full=float(reach[-1]),
    )


def full_batches(gap_s: float, max_batch: int, service_s: float) -> tuple[Queue, tuple[float, ...]]:
    """Arrivals every ``gap_s``, batches sent only when full (delay inf), one server, fixed time.

    Returns the queue and the wait of each member, in seconds: the k-th waits for the b - k after
    it. A service of exactly b gaps still keeps up. Raises ValueError for arguments that are
    negative, NaN or infinite, UnstableError for longer services. Source: direct.
    """
    positive(gap_s=gap_s, service_s=service_s)
    whole(max_batch=max_batch)
    if service_s > max_batch * gap_s:
        stable(1 / gap_s, max_batch / service_s)
    waits = tuple((max_batch - k) * gap_s for k in range(1, max_batch + 1))
    wait = sum(waits) / max_batch
    utilisation = service_s / (max_batch * gap_s)
    queue = Queue(
        served_per_s=1 / gap_s,
        wait_s=wait,
        latency_s=wait + service_s,
        queue_length=wait / gap_s,
        utilisation=utilisation,
        mean_batch=float(max_batch),
    )
    return queue, waits
