"""Figures over independent seeds: quantiles of one run, means and intervals over runs."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from perfkit.batching.histogram import Histogram

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
FEWEST_SEEDS = 2
CONFIDENCE = 0.95
# Nearer to saturation than this, no run is long enough to be called steady.
STABLE = 0.98


@dataclass(frozen=True)
class Estimate:
    """Mean over seeds, and the half width of its 95 % t-interval.

    NaN: ``mean`` where there is no such figure, ``half`` also where there is one run alone.
    """

    mean: float
    half: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Estimate from one value a seed. Raises UsageError for fewer than two."""
        if len(values) < FEWEST_SEEDS:
            raise UsageError(f"an interval needs {FEWEST_SEEDS} seeds or more, got {len(values)}")
        from scipy import stats

        if any(map(math.isnan, values)):
            return cls(math.nan, math.nan)
        mean, deviation = statistics.fmean(values), statistics.stdev(values)
        t = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
        return cls(mean, t * deviation / math.sqrt(len(values)))


def over_seeds(rows: Sequence[Mapping[str, float]], *, alone: bool) -> dict[str, Estimate]:
    """Estimate each figure from one row a seed; ``alone``: one row is all there can be."""
    if alone:
        return {name: Estimate(value, math.nan) for name, value in rows[0].items()}
    return {name: Estimate.of([row[name] for row in rows]) for name in rows[0]}


def marks(name: str, values: NDArray[np.float64] | None) -> dict[str, float]:
    """Return ``name``_mean and its quantiles of one run, NaN where there are too few values.

    A quantile q needs 1 / (1 - q) of them: p90 ten, p99 a hundred.
    """
    if values is None or not len(values):
        return dict.fromkeys(_names(name), math.nan)
    found = np.quantile(values, list(QUANTILES.values())).tolist()
    return _marks(name, float(values.mean()), found, len(values))


def marks_of(name: str, histogram: Histogram) -> dict[str, float]:
    """Return the same of a histogram's times."""
    found = [histogram.quantile(q) for q in QUANTILES.values()]
    return _marks(name, histogram.mean_s, found, histogram.count)


def _marks(name: str, mean: float, found: Sequence[float], count: int) -> dict[str, float]:
    enough = [count * (1 - q) > 1 - 1e-9 for q in QUANTILES.values()]
    told = [value if known else math.nan for value, known in zip(found, enough, strict=True)]
    return dict(zip(_names(name), (mean, *told), strict=True))


def _names(name: str) -> list[str]:
    return [f"{name}_mean", *(f"{name}_{quantile}" for quantile in QUANTILES)]
