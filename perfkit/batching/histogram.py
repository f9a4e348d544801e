"""A histogram of seconds whose memory does not grow: bins a thousandth of a factor e wide.

Count, sum, least and most are exact (the sum to rounding); a quantile is right to a bin, 0.1 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS_PER_E = 1000
LEAST_S = 1e-9
MOST_S = 1e6
# Bin 0 holds what is under LEAST_S, zero above all; the last one what is MOST_S or more.
BINS = math.ceil(BINS_PER_E * math.log(MOST_S / LEAST_S)) + 2


@dataclass(frozen=True)
class Histogram:
    """Times in seconds, 0 or more: counts a bin, and what is known exactly."""

    counts: NDArray[np.int64]
    sum_s: float
    min_s: float
    max_s: float

    @property
    def count(self) -> int:
        """How many times it holds."""
        return int(self.counts.sum())

    @property
    def mean_s(self) -> float:
        """The mean in seconds; NaN where there is nothing."""
        return self.sum_s / self.count if self.count else math.nan

    def quantile(self, q: float) -> float:
        """Return the time in seconds under which a share ``q`` lies, NaN where there is nothing.

        numpy's default definition (position q (n - 1) among the sorted), the times of a bin taken
        as evenly spread over it. Off by at most a bin, 0.1 % of the value; times under 1 ns count
        as 0, times of 1e6 s or more are known by their maximum alone.
        """
        if not 0 <= q <= 1:
            raise UsageError(f"quantile {q!r}: expected a share from 0 to 1")
        count = self.count
        if not count:
            return math.nan
        position = q * (count - 1)
        upto = np.cumsum(self.counts)
        low = self._at(upto, math.floor(position))
        high = self._at(upto, math.ceil(position))
        return low + (high - low) * (position - math.floor(position))

    def merged(self, other: Histogram) -> Histogram:
        """Return the histogram of both sets of times."""
        return Histogram(
            self.counts + other.counts,
            self.sum_s + other.sum_s,
            min(self.min_s, other.min_s),
            max(self.max_s, other.max_s),
        )

    def _at(self, upto: NDArray[np.int64], rank: int) -> float:
        bin_ = int(np.searchsorted(upto, rank, side="right"))
        within = (rank - (int(upto[bin_]) - int(self.counts[bin_])) + 0.5) / int(self.counts[bin_])
        low, high = _edges(bin_)
        value = low if low == high else low + (high - low) * within
        return min(max(value, self.min_s), self.max_s)


def empty() -> Histogram:
    """Return a histogram of nothing."""
    return Histogram(np.zeros(BINS, np.int64), 0.0, math.inf, -math.inf)


def _edges(bin_: int) -> tuple[float, float]:
    if bin_ == 0:
        return 0.0, 0.0
    if bin_ == BINS - 1:
        return math.inf, math.inf  # clipped to the maximum by the caller
    low = LEAST_S * math.exp((bin_ - 1) / BINS_PER_E)
    return low, low * math.exp(1 / BINS_PER_E)
