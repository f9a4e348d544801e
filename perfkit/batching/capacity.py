"""How many replicas a load needs, with which batch and delay, to keep p99 under a limit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from perfkit.batching import arrivals
from perfkit.batching.estimate import STABLE, Estimate
from perfkit.batching.fleet import Fleet, simulate
from perfkit.batching.loads import LEAST_RATE, MOST_RATE, WARM_UP
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from perfkit.batching.fleet import Routing

_MOST_REPLICAS = 1 << 14
_MOST_REQUESTS = 10_000_000
# How many services a run lasts. p99 is then within 0.2 % of that of runs four times as long.
_SERVICES = 60


@dataclass(frozen=True)
class Need:
    """What a rate must be served with, times in s.

    ``rate_per_s`` requests a second (Poisson), ``p99_s`` the limit of latency's 99th percentile.
    ``requests`` are the fewest of a run, of which there are ``seeds``.
    """

    rate_per_s: float
    p99_s: float
    routing: Routing = "power-of-d"
    requests: int = 50_000
    seeds: int = 5

    def __post_init__(self) -> None:
        """Refuse needs that cannot be."""
        if not LEAST_RATE <= self.rate_per_s <= MOST_RATE:
            raise UsageError(
                f"rate_per_s {self.rate_per_s!r}: expected from {LEAST_RATE:g} to {MOST_RATE:g}"
            )
        if not 0 < self.p99_s < math.inf:
            raise UsageError(f"p99_s {self.p99_s!r}: expected a finite number over 0")


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

    Raises UsageError where no batch and delay can, and where it takes more requests or replicas to
    tell than are simulated.
    """
    choices = [
        _Choice(need, service_s, most, delay)
        for delay in delays_s
        for most in max_batches
        if most < len(service_s)
    ]
    best = closest = None
    for choice in sorted(choices, key=lambda one: one.saturated):
        if best is not None and choice.saturated > best.replicas:
            break
        choice.check()
        found = _least(choice, _MOST_REPLICAS if best is None else best.replicas)
        if closest is None or found.p99.mean < closest.p99.mean:
            closest = found
        if found.margin >= 0 and (best is None or _cost(found) < _cost(best)):
            best = found
    if best is None:
        raise UsageError(_refusal(need, service_s, closest))
    return best


def _cost(answer: Answer) -> tuple[int, float]:
    return answer.replicas, answer.p99.mean


def _refusal(need: Need, service_s: NDArray[np.float64], closest: Answer | None) -> str:
    asked = f"p99 of {need.p99_s:g} s at {need.rate_per_s:g} requests/s cannot be had"
    alone = float(service_s[1])
    if alone > need.p99_s:
        return f"{asked}: one request alone takes {alone:g} s; allow more time"
    if closest is None:
        return f"{asked}: there is no service time of so large a batch"
    return (
        f"{asked}: the lowest found is {closest.p99.mean:.4g} s, with {closest.replicas} replicas, "
        f"at most {closest.max_batch} together, delay {closest.delay_s:g} s; allow more time or "
        "another delay"
    )


@dataclass(frozen=True, eq=False)
class _Choice:
    """A batch and a delay to meet a need with."""

    need: Need
    service_s: NDArray[np.float64]
    most: int
    delay_s: float

    def check(self) -> None:
        """Refuse what is too long to be simulated."""
        if self._requests > _MOST_REQUESTS or self._saturated > _MOST_REPLICAS:
            raise UsageError(
                f"{self.need.rate_per_s:g} requests/s in batches of {self.most}, delay "
                f"{self.delay_s:g} s, which take {float(self.service_s[self.most]):g} s, "
                f"need {max(1.0, self._saturated):.6g} replicas or more and {self._requests:.4g} "
                f"requests until they are steady: {_MOST_REPLICAS} and {_MOST_REQUESTS} at most "
                "are simulated; ask for a share of the rate, as replicas grow with it"
            )

    @property
    def _saturated(self) -> float:
        return self.need.rate_per_s * float(self.service_s[self.most]) / (STABLE * self.most)

    @property
    def _requests(self) -> float:
        lasts_s = _SERVICES * (float(self.service_s[self.most]) + self.delay_s)
        return self.need.rate_per_s * lasts_s

    @property
    def saturated(self) -> int:
        """The fewest replicas that are not too near to saturation."""
        return max(1, math.ceil(min(self._saturated, _MOST_REPLICAS + 1)))

    @property
    def requests(self) -> int:
        """How many come in a run: so many that it lasts many services, whatever the rate."""
        return max(self.need.requests, math.ceil(min(self._requests, _MOST_REQUESTS + 1)))

    @property
    def scanned(self) -> int:
        """The most replicas where another may make p99 worse: batches fill before the delay ends.

        With more of them a batch fills in over twice the delay, or the limit, in the mean.
        """
        if not self.delay_s or self.most == 1:
            return 0
        patience_s = min(self.delay_s, self.need.p99_s)
        return math.ceil(2 * self.need.rate_per_s * patience_s / (self.most - 1))

    @property
    def last(self) -> int:
        """Replicas beyond which nothing gets better: hardly any request meets another."""
        alone_s = self.delay_s + float(self.service_s[1])
        if alone_s > self.need.p99_s:
            return self.scanned
        return math.ceil(100 * self.need.rate_per_s * alone_s)

    def answer(self, replicas: int) -> Answer:
        """Return what so many replicas do."""
        fleet = Fleet(replicas, self.need.routing, self.most, self.delay_s)
        first = int(self.requests * WARM_UP)
        values = []
        for seed in range(self.need.seeds):
            times = arrivals.poisson(self.need.rate_per_s, self.requests, seed)
            served = simulate(fleet, times, self.service_s, seed)
            values.append(float(np.quantile((served.finish_s - times)[first:], 0.99)))
        p99 = Estimate.of(values)
        margin = 1 - (p99.mean + p99.half) / self.need.p99_s
        return Answer(replicas, self.most, self.delay_s, p99, margin)


def _least(choice: _Choice, most: int) -> Answer:
    """Return the fewest replicas up to ``most`` that meet the need, else those of the lowest p99.

    Where there is a delay, p99 falls while replicas are added against queues, rises when batches no
    longer fill before the delay ends, and falls again to a request alone. So replicas are tried
    from the fewest upwards, by a sixteenth, while batches may fill; only beyond that, and between
    the last that fails and the first that does, by bisection.
    """
    tried: dict[int, Answer] = {}

    def meets(replicas: int) -> bool:
        if replicas not in tried:
            tried[replicas] = choice.answer(replicas)
        return tried[replicas].margin >= 0

    low = at = choice.saturated
    end = min(max(choice.last, low), most)
    while not meets(at) and at < end:
        low = at + 1
        at = min(at + max(1, at // 16) if at < choice.scanned else 2 * at, end)
    if meets(at):
        return tried[least(meets, low, at)]
    return min(tried.values(), key=lambda one: one.p99.mean)


def least(true: Callable[[int], bool], low: int, high: int) -> int:
    """Return the smallest number from ``low`` to ``high`` where ``true`` holds, as at ``high``."""
    while low < high:
        middle = (low + high) // 2
        if true(middle):
            high = middle
        else:
            low = middle + 1
    return high
