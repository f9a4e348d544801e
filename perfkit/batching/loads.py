"""What comes: open arrivals at a rate, a closed loop of customers, or a recorded trace.

Each is seeded, and of one seed the same for every policy (common random numbers). Times in seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias, get_args

import numpy as np

from perfkit.batching import arrivals, lengths, seeds
from perfkit.batching.closed import Loop
from perfkit.errors import UsageError, unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.batching.traces import Trace

Process = Literal["poisson", "deterministic", "gamma", "mmpp"]
Think = Literal["exponential", "fixed"]
# Fewer requests than this say nothing of a tail, nor do the first of them of steady state.
FEWEST = 100
# 1/s; slower and float64 has no milliseconds left at the end of a run, faster and gaps are lost.
LEAST_RATE, MOST_RATE = 1e-6, 1e12
# Of a run and in a loop; rows of more do not fit into the memory of most machines.
MOST_REQUESTS, MOST_CLIENTS = 20_000_000, 1_000_000
# Less bursty than the first is regular in all but name; the second is a burst and then nothing.
LEAST_CV, MOST_CV = 1e-3, 1e3
_MOST_STAYS = 10_000_000
# The first requests find an empty system, which steady state does not have.
WARM_UP = 0.05


@dataclass(frozen=True)
class Bursts:
    """Two phases of Poisson arrivals: rates relative to each other, and how long each lasts, in s
    in the mean (MMPP).
    """  # noqa: D205

    relative_rates: tuple[float, float]
    mean_s: tuple[float, float]

    def __post_init__(self) -> None:
        """Refuse phases that cannot be."""
        if not (
            all(0 <= one < math.inf for one in self.relative_rates) and any(self.relative_rates)
        ):
            raise UsageError(
                f"phase rates {self.relative_rates}: expected finite numbers >= 0, one > 0"
            )
        if not all(0 < one < math.inf for one in self.mean_s):
            raise UsageError(f"phase durations {self.mean_s}: expected finite seconds over 0")


@dataclass(frozen=True)
class Load:
    """``requests`` of one item each that arrive at ``rate_per_s``; ``cv`` is of gamma's gaps, and
    ``bursts`` the phases of mmpp.
    """  # noqa: D205

    process: Process
    rate_per_s: float
    requests: int
    cv: float = 1.0
    bursts: Bursts | None = None

    def __post_init__(self) -> None:
        """Refuse loads that cannot be."""
        if self.process not in get_args(Process):
            raise UsageError(unknown("arrival process", self.process, get_args(Process)))
        if not LEAST_RATE <= self.rate_per_s <= MOST_RATE:
            raise UsageError(
                f"rate {self.rate_per_s!r}: expected requests/s from {LEAST_RATE:g} to "
                f"{MOST_RATE:g}"
            )
        _variation("cv", self.cv)
        if (self.process == "mmpp") != (self.bursts is not None):
            raise UsageError("mmpp, and it alone, needs the rates and durations of two phases")
        _enough(self.requests)

    @property
    def drawn(self) -> bool:
        """Whether another seed is another sample."""
        return self.process != "deterministic" and not (self.process == "gamma" and self.cv == 0)

    def times(self, seed: int) -> NDArray[np.float64]:
        """Return when the requests of one seed come, in s; the same for every policy."""
        if self.process == "poisson":
            return arrivals.poisson(self.rate_per_s, self.requests, seed)
        if self.process == "gamma":
            return arrivals.gamma(self.rate_per_s, self.requests, seed, cv=self.cv)
        if self.bursts is not None:
            first_s, second_s = self.bursts.mean_s
            stays = 2 * self.requests / self.rate_per_s / (first_s + second_s)
            if stays > _MOST_STAYS:
                raise UsageError(
                    f"phases of {first_s:g} and {second_s:g} s change {stays:.2g} times in "
                    f"{self.requests} requests: expected at most {_MOST_STAYS}; phases so short "
                    "are Poisson arrivals"
                )
            return arrivals.mmpp2(
                self.rate_per_s,
                self.requests,
                seed,
                relative_rates=self.bursts.relative_rates,
                switch_per_s=(1 / first_s, 1 / second_s),
            )
        return arrivals.deterministic(self.rate_per_s, self.requests)


@dataclass(frozen=True)
class Share:
    """Open arrivals like ``load``, at a share of what a policy serves at most."""

    of_saturation: float
    load: Load

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        if not 0 < self.of_saturation < math.inf:
            raise UsageError(f"load {self.of_saturation!r}: expected a share of saturation over 0")

    def of(self, saturation_per_s: float) -> Load:
        """Return the arrivals for a policy that serves so many requests/s at most."""
        return replace(self.load, rate_per_s=self.of_saturation * saturation_per_s)


@dataclass(frozen=True)
class Closed:
    """``clients`` customers; each sends a request, waits for its answer, thinks and sends again,
    until ``requests`` were sent in all. ``think_s`` is the mean of the thinking, 0 for none.
    """  # noqa: D205

    clients: int
    requests: int
    think_s: float = 0.0
    think: Think = "exponential"

    def __post_init__(self) -> None:
        """Refuse loops that cannot be."""
        if self.think not in get_args(Think):
            raise UsageError(unknown("kind of thinking", self.think, get_args(Think)))
        if not 1 <= self.clients <= MOST_CLIENTS:
            raise UsageError(f"clients {self.clients!r}: expected from 1 to {MOST_CLIENTS}")
        if not 0 <= self.think_s < math.inf:
            raise UsageError(f"think time {self.think_s!r}: expected finite seconds, 0 or more")
        _enough(self.requests)

    @property
    def drawn(self) -> bool:
        """Whether another seed is another sample."""
        return self.think == "exponential" and self.think_s > 0

    def loop(self, seed: int) -> Loop:
        """Return the customers and their think times of one seed."""
        number = self.clients + self.requests
        if self.think == "fixed":
            return Loop(self.clients, np.full(number, self.think_s))
        drawn = seeds.stream(seed, seeds.THINKS).standard_exponential(number)
        return Loop(self.clients, drawn * self.think_s)


@dataclass(frozen=True, eq=False)
class Replay:
    """A recorded trace, from its first request to its last; ``name`` is for people."""

    trace: Trace
    name: str
    drawn: ClassVar[bool] = False

    @property
    def requests(self) -> int:
        """How many requests it has."""
        return len(self.trace)

    @property
    def rate_per_s(self) -> float:
        """Requests a second in the mean; infinite where all come at once."""
        span = float(self.trace.arrival_s[-1])
        return (self.requests - 1) / span if span > 0 else math.inf

    def times(self, seed: int) -> NDArray[np.float64]:
        """Return the recorded times, in s; no seed changes them."""
        del seed
        return self.trace.arrival_s


AnyLoad: TypeAlias = Load | Closed | Replay


def warm_up(load: AnyLoad) -> int:
    """Return how many of the first requests are no part of the figures; of a trace all are."""
    return 0 if isinstance(load, Replay) else int(load.requests * WARM_UP)


@dataclass(frozen=True)
class Length:
    """Tokens a request: always ``mean``, or drawn from a lognormal law of that ``cv``."""

    mean: float
    cv: float = 0.0

    def __post_init__(self) -> None:
        """Refuse lengths that cannot be."""
        most = lengths.MOST_TOKENS
        if not 1 <= self.mean <= most or (self.cv == 0 and self.mean != int(self.mean)):
            raise UsageError(f"{self.mean!r} tokens: expected a whole number from 1 to {most}")
        _variation("cv of lengths", self.cv)

    def __str__(self) -> str:
        """Say it, as in "512" or "512 (cv 0.5)"."""
        return f"{self.mean:g}" + (f" (cv {self.cv:g})" if self.cv else "")

    def draw(self, number: int, seed: int, *, of: int) -> NDArray[np.int64]:
        """Return the tokens of ``number`` requests; ``of``: lengths.PROMPT_TOKENS or NEW_TOKENS."""
        if self.cv == 0:
            return lengths.fixed(int(self.mean), number)
        return lengths.lognormal(self.mean, self.cv, number, seed, of=of)


def _enough(requests: int) -> None:
    if not FEWEST <= requests <= MOST_REQUESTS:
        raise UsageError(f"requests {requests}: expected from {FEWEST} to {MOST_REQUESTS}")


def _variation(name: str, cv: float) -> None:
    if cv != 0 and not LEAST_CV <= cv <= MOST_CV:
        raise UsageError(f"{name} {cv!r}: expected 0, or from {LEAST_CV:g} to {MOST_CV:g}")
