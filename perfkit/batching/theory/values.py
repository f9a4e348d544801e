"""What every model returns, and what none of them accepts."""

from __future__ import annotations

import math
from dataclasses import dataclass


class UnstableError(ValueError):
    """Requests come as fast as they can be served, or faster: the queue has no steady state."""


@dataclass(frozen=True, kw_only=True)
class Queue:
    """Means in steady state, of requests that are served. None: the model does not give it.

    ``served_per_s`` is the rate of requests served; ``wait_s`` the time from arrival to the start
    of service, ``latency_s`` to its end; ``queue_length`` the requests that wait, averaged over
    time; ``utilisation`` the share of time that a server is busy, averaged over servers;
    ``p_idle`` the share of time with nothing in the system; ``p_wait`` the share of arrivals that
    find no server free. ``mean_batch`` is requests a service (of continuous batching: an
    iteration), ``itl_s`` an iteration as its requests see it, ``loss`` the share of arrivals that
    is turned away.
    """

    served_per_s: float
    wait_s: float
    latency_s: float
    queue_length: float
    utilisation: float
    p_idle: float | None = None
    p_wait: float | None = None
    mean_batch: float | None = None
    itl_s: float | None = None
    loss: float = 0.0


def positive(**numbers: float) -> None:
    """Raise ValueError, naming the argument, unless each number is finite and over zero."""
    for name, number in numbers.items():
        if not (math.isfinite(number) and number > 0):
            raise ValueError(f"{name} must be finite and over 0, got {number!r}")


def not_negative(**numbers: float) -> None:
    """Raise ValueError, naming the argument, unless each number is finite and zero or more."""
    for name, number in numbers.items():
        if not (math.isfinite(number) and number >= 0):
            raise ValueError(f"{name} must be finite and 0 or more, got {number!r}")


def whole(least: int = 1, /, **numbers: int) -> None:
    """Raise ValueError, naming the argument, unless each is a whole number from ``least`` on."""
    for name, number in numbers.items():
        if not (math.isfinite(number) and number >= least and number == math.floor(number)):
            raise ValueError(f"{name} must be a whole number, {least} or more, got {number!r}")


def fraction(**numbers: float) -> None:
    """Raise ValueError, naming the argument, unless each number is at least 0 and below 1."""
    for name, number in numbers.items():
        if not 0 <= number < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, got {number!r}")


def stable(rate_per_s: float, saturation_per_s: float) -> None:
    """Raise UnstableError, naming both, unless the rate is below saturation."""
    if rate_per_s >= saturation_per_s:
        raise UnstableError(
            f"rate {rate_per_s!r}/s is not below saturation {saturation_per_s!r}/s: "
            "the queue grows without bound"
        )
