"""Closed loops: ``clients`` customers, each of whom sends again a think time after its last answer.

vLLM bench's ``--max-concurrency`` is a closed loop without think time. The engines make the
arrivals. Times are seconds in float64. Customers who come at one instant come in the order of their
numbers. docs/batching.md says what is covered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from perfkit.batching import requests
from perfkit.batching.policies import OneByOne, Static
from perfkit.batching.record import OUTCOMES, Run, little_error
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from perfkit.batching.policies import Policy


@dataclass(frozen=True, eq=False)
class Loop:
    """``clients`` customers and how long each thinks, in s: ``thinks_s[i]`` before the first
    request of customer i, ``thinks_s[clients + r]`` after the answer to the r-th request.

    The requests, in the order in which they come, end with the (len(thinks_s) - clients)-th; a
    refused one is answered at once. Raises UsageError for fewer than one, and for no times.
    """  # noqa: D205

    clients: int
    thinks_s: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse loops without customers or requests, and times that go back."""
        if self.clients < 1:
            raise UsageError(f"clients {self.clients!r}: expected 1 or more")
        if self.requests < 1:
            raise UsageError(
                f"{len(self.thinks_s)} think times for {self.clients} clients: expected one a "
                "client and one a request"
            )
        wrong = ~(np.isfinite(self.thinks_s) & (self.thinks_s >= 0))
        if wrong.any():
            at = int(np.argmax(wrong))
            raise UsageError(f"think time {at}: {self.thinks_s[at]}: expected seconds, 0 or more")

    @property
    def requests(self) -> int:
        """How many requests are sent in all."""
        return len(self.thinks_s) - self.clients


def simulate(policy: Policy, loop: Loop, service_s: ArrayLike) -> Run:
    """Serve a closed loop to its last request; ``service_s[b]`` is a batch's time, in s.

    Raises UsageError for what a closed loop does not cover: preferred sizes, limits, prefetch and
    ordering, and for a batch that waits for more requests than there are customers.
    """
    from perfkit.batching.closed_kernel import plain

    most, delay = _size_and_delay(policy)
    if math.isinf(delay) and loop.clients < most:
        raise UsageError(
            f"a batch of {most} never fills with {loop.clients} clients, who would wait "
            f"for each other forever: expected {most} clients or more"
        )
    tau = requests.service(service_s, policy.max_batch if isinstance(policy, OneByOne) else most)
    number = loop.requests
    arrival, dispatch, finish = (np.full(number, math.nan) for _ in range(3))
    batch, counts = np.full(number, -1), np.zeros(len(tau), np.int64)
    served, area, last = plain(
        loop.clients,
        loop.thinks_s,
        most,
        delay,
        policy.instances,
        getattr(policy, "at_end", "flush") == "flush",
        getattr(policy, "tie", "arrivals_first") == "dispatch_first",
        tau,
        arrival,
        dispatch,
        finish,
        batch,
        counts,
    )
    outcome = np.full(number, OUTCOMES.index("served"), np.int8)
    outcome[served:] = OUTCOMES.index("stranded")
    left = np.where(outcome == 0, dispatch, last)
    return Run(
        policy,
        arrival,
        dispatch,
        finish,
        batch,
        outcome,
        counts,
        float(counts[1:] @ tau[1:]),
        little_error(float(area), float((left - arrival).sum())),
    )


def _size_and_delay(policy: Policy) -> tuple[int, float]:
    """Return the largest batch and the delay of a policy that these two describe."""
    if isinstance(policy, OneByOne):
        return 1, 0.0
    if isinstance(policy, Static):
        return policy.batch, math.inf
    others = {
        "preferred": policy.preferred_sizes != (policy.max_batch,),
        "prefetch": policy.prefetch,
        "preserve_ordering": policy.preserve_ordering,
    }
    named = (*policy.limits, *(name for name, is_set in others.items() if is_set))
    if named:
        raise UsageError(
            f"a closed loop with {', '.join(named)}: expected a policy of largest batch, delay and "
            "instances alone"
        )
    return policy.max_batch, float(policy.delay_s)
