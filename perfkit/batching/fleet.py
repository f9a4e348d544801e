"""Many replicas of a batching server behind one router, under one clock.

Each replica has one server and batches as ``Dynamic`` does with requests of size 1: at most
``max_batch`` together, at once when so many wait, else ``delay_s`` after the oldest came, and never
while it serves. Arrivals at an instant are seen by a dispatch at that instant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from perfkit.batching import seeds
from perfkit.batching.record import little_error
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

Routing = Literal["random", "round-robin", "shortest", "power-of-d"]
MOST_REPLICAS = 1_000_000
_MOST_REQUESTS = 2**31 - 1  # places in the kernel's queues are int32
_RULES = {"random": 0, "power-of-d": 0, "round-robin": 1, "shortest": 2}


@dataclass(frozen=True)
class Fleet:
    """``replicas`` servers and how a request chooses one.

    ``random`` draws one; ``power-of-d`` draws ``d`` and takes that with the fewest requests waiting
    and served (the first drawn where they are equal); ``shortest`` looks at all, which takes time
    in proportion to their number; ``round-robin`` takes turns. Raises UsageError for what cannot
    be.
    """

    replicas: int
    routing: Routing
    max_batch: int
    delay_s: float
    d: int = 2

    def __post_init__(self) -> None:
        """Refuse fleets that cannot be."""
        if self.routing not in _RULES:
            raise UsageError(f"unknown routing {self.routing!r}: expected {', '.join(_RULES)}")
        for name in ("replicas", "max_batch", "d"):
            value = getattr(self, name)
            if not 1 <= value <= MOST_REPLICAS:
                raise UsageError(f"{name} is {value}, expected from 1 to {MOST_REPLICAS}")
        if not (np.isfinite(self.delay_s) and self.delay_s >= 0):
            raise UsageError(f"delay_s is {self.delay_s}, expected a finite number >= 0")

    @property
    def drawn(self) -> bool:
        """Whether a seed says which replica a request takes."""
        return self.routing in {"random", "power-of-d"}


@dataclass(frozen=True)
class Served:
    """What became of each request, arrays of length n; times in s of the arrivals' clock.

    ``little_error``: how far, relatively, the time integral of the number waiting, added up replica
    by replica as events happen, is off the sum of all waits.
    """

    dispatch_s: np.ndarray
    finish_s: np.ndarray
    replica: np.ndarray
    little_error: float


def simulate(
    fleet: Fleet, arrival_s: np.ndarray, tau_s: Sequence[float] | np.ndarray, seed: int = 0
) -> Served:
    """Serve ``arrival_s`` (increasing, in s); ``tau_s[b]`` is how long a batch of b takes, in s.

    The same seed draws the same replicas, whatever the policy. Raises UsageError for arrivals that
    are no increasing finite times, and for a table shorter than the largest batch.
    """
    from perfkit.batching.fleet_kernel import run

    arrival, tau = np.asarray(arrival_s, np.float64), np.asarray(tau_s, np.float64)
    _check(arrival, tau, fleet.max_batch)
    draws = {"random": 1, "power-of-d": fleet.d}.get(fleet.routing, 0)
    drawn = seeds.stream(seed, seeds.ROUTES).integers(
        0, fleet.replicas, (len(arrival) if draws else 0, max(draws, 1)), dtype=np.int32
    )
    dispatch, finish, replica, area = run(
        arrival, fleet.replicas, _RULES[fleet.routing], drawn, tau, fleet.max_batch, fleet.delay_s
    )
    waited = float((dispatch - arrival).sum())
    return Served(dispatch, finish, replica, little_error(float(area), waited))


def _check(arrival: np.ndarray, tau: np.ndarray, most: int) -> None:
    if not 0 < len(arrival) < _MOST_REQUESTS:
        raise UsageError(f"{len(arrival)} arrivals: expected from 1 to {_MOST_REQUESTS - 1}")
    if not np.isfinite(arrival).all() or (np.diff(arrival) < 0).any():
        raise UsageError("arrivals must be finite and in order of time")
    if len(tau) <= most:
        raise UsageError(f"service times of batches up to {len(tau) - 1}, max_batch is {most}")
    if not (np.isfinite(tau[1:]).all() and (tau[1:] > 0).all()):
        raise UsageError("service times must be finite and over 0 for every batch")
