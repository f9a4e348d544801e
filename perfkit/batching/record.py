"""What a run of a batching engine leaves: a row a request, or histograms of a long run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.batching.histogram import Histogram
    from perfkit.batching.policies import Policy

# Codes of Run.outcome, as dynamic_kernel has them.
OUTCOMES = ("served", "too_large", "queue_full", "timed_out", "stranded")


@dataclass(frozen=True)
class Run:
    """Every request of a run, in the order of arrival; times in seconds, NaN where there is none.

    ``dispatch_s``: when its batch began. ``finish_s``: when its answer was there, or when it was
    refused: on arrival, or at its deadline. ``batch``: the number of its batch, -1 for none.
    ``outcome``: an index into OUTCOMES. ``batch_sizes[b]``: batches of b items. ``little_error``:
    how far, relatively, the time integral of the number waiting is off the sum of all waits.
    ``policy`` says the tie rule.
    """

    policy: Policy
    arrival_s: NDArray[np.float64]
    dispatch_s: NDArray[np.float64]
    finish_s: NDArray[np.float64]
    batch: NDArray[np.int64]
    outcome: NDArray[np.int8]
    batch_sizes: NDArray[np.int64]
    busy_s: float
    little_error: float

    @property
    def wait_s(self) -> NDArray[np.float64]:
        """From arrival to the batch's begin."""
        return self.dispatch_s - self.arrival_s

    @property
    def mean_batch(self) -> float:
        """Items a batch; NaN where there was none."""
        return mean_size(self.batch_sizes)

    @property
    def utilisation(self) -> float:
        """The share of the instances' time, first arrival to last finish, that was busy."""
        begin = float(self.arrival_s[0])
        end = float(self.finish_s[self.outcome == 0].max(initial=begin))
        return utilisation(self.busy_s, self.policy, end - begin)

    def count(self, outcome: str) -> int:
        """Return how many requests ended so."""
        return int((self.outcome == OUTCOMES.index(outcome)).sum())


@dataclass(frozen=True)
class Totals:
    """A long run in constant memory: ``served`` requests, ``stranded`` ones, times in seconds.

    ``begin_s`` is the first arrival, ``end_s`` the last finish; the rest as in Run.
    """

    policy: Policy
    served: int
    stranded: int
    wait: Histogram
    latency: Histogram
    batch_sizes: NDArray[np.int64]
    busy_s: float
    begin_s: float
    end_s: float
    little_error: float

    @property
    def mean_batch(self) -> float:
        """Items a batch; NaN where there was none."""
        return mean_size(self.batch_sizes)

    @property
    def utilisation(self) -> float:
        """The share of the instances' time, first arrival to last finish, that was busy."""
        return utilisation(self.busy_s, self.policy, self.end_s - self.begin_s)


def mean_size(batch_sizes: NDArray[np.int64]) -> float:
    """Return the mean size of the batches counted a size; NaN where there is none."""
    number = int(batch_sizes.sum())
    return float(batch_sizes @ np.arange(len(batch_sizes))) / number if number else math.nan


def utilisation(busy_s: float, policy: Policy, span_s: float) -> float:
    """Return the share of ``span_s`` on every instance of the policy that was busy."""
    return busy_s / (policy.instances * span_s) if span_s > 0 else 0.0


def in_order(finish_s: NDArray[np.float64], served: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return finish times such that no answer of a served request leaves before an earlier one's.

    Triton's documented ``preserve_ordering``: release_i = max(finish_i, release_(i-1)).
    """
    out = finish_s.copy()
    out[served] = np.maximum.accumulate(finish_s[served])
    return out


def little_error(integral: float, waits_s: float) -> float:
    """Return how far the integral of the number waiting is off the sum of waits, relatively."""
    return abs(integral - waits_s) / waits_s if waits_s > 0 else abs(integral)
