"""How many replicas a load needs, with which batch and delay, to keep p99 under a limit."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from perfkit.batching import arrivals
from perfkit.batching.estimate import STABLE, Estimate
from perfkit.batching.fleet import Fleet, simulate
from perfkit.batching.loads import WARM_UP
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from perfkit.batching.fleet import Routing

_MOST_REPLICAS = 1 << 14


@dataclass(frozen=True)
class Need:
    """What a rate must be served with, times in s.

    ``rate_per_s`` requests a second (Poisson), ``p99_s`` the limit of latency's 99th percentile.
    """

    rate_per_s: float
    p99_s: float
    routing: Routing = "power-of-d"
    requests: int = 50_000
    seeds: int = 5

    def __post_init__(self) -> None:
        """Refuse needs that cannot be."""
        for name in ("rate_per_s", "p99_s"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise UsageError(f"{name} {value!r}: expected a finite number over 0")


@dataclass(frozen=True)
class Answer:
    """The fewest replicas, with their batch and delay.

    ``p99`` is in s; ``margin`` is 1 - the upper end of its 95 % interval over the limit.
    """

    replicas: int
    max_batch: int
    delay_s: float
    p99: Estimate
    margin: float


def capacity(
    need: Need,
    service_s: NDArray[np.float64],
    max_batches: Iterable[int],
    delays_s: Iterable[float],
) -> Answer:
    """Return the cheapest way to meet a need: fewest replicas, then the lowest p99.

    Raises UsageError where no batch and delay can, however many replicas.
    """
    found: list[Answer] = []
    delays = tuple(delays_s)
    for most in max_batches:
        if float(service_s[1]) > need.p99_s or most >= len(service_s):
            continue
        found += [answer for delay in delays if (answer := _least(need, service_s, most, delay))]
    if not found:
        raise UsageError(
            f"p99 of {need.p99_s:g} s at {need.rate_per_s:g} requests/s cannot be had: one request "
            f"alone takes {float(service_s[1]):g} s; allow more time or a shorter delay"
        )
    return min(found, key=lambda one: (one.replicas, one.p99.mean))


def _least(need: Need, service_s: NDArray[np.float64], most: int, delay_s: float) -> Answer | None:
    """Bisect over replicas: more of them never make p99 worse beyond the noise."""

    @functools.cache
    def p99_of(replicas: int) -> Estimate:
        return _p99(need, service_s, most, delay_s, replicas)

    saturation = most / float(service_s[most])
    low = max(1, math.ceil(need.rate_per_s / (STABLE * saturation)))
    high = low
    while not _meets(p99_of(high), need):
        if high >= _MOST_REPLICAS or high > 4 * low + need.rate_per_s:
            return None
        high *= 2
    replicas = least(lambda k: _meets(p99_of(k), need), low, high)
    p99 = p99_of(replicas)
    return Answer(replicas, most, delay_s, p99, 1 - (p99.mean + p99.half) / need.p99_s)


def least(true: Callable[[int], bool], low: int, high: int) -> int:
    """Return the smallest number from ``low`` to ``high`` where ``true`` holds, as at ``high``."""
    while low < high:
        middle = (low + high) // 2
        if true(middle):
            high = middle
        else:
            low = middle + 1
    return high


def _meets(p99: Estimate, need: Need) -> bool:
    return p99.mean + p99.half <= need.p99_s


def _p99(
    need: Need, service_s: NDArray[np.float64], most: int, delay_s: float, replicas: int
) -> Estimate:
    fleet = Fleet(replicas, need.routing, most, delay_s)
    first = int(need.requests * WARM_UP)
    values = []
    for seed in range(need.seeds):
        times = arrivals.poisson(need.rate_per_s, need.requests, seed)
        served = simulate(fleet, times, service_s, seed)
        values.append(float(np.quantile((served.finish_s - times)[first:], 0.99)))
    return Estimate.of(values)
