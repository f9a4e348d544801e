from __future__ import annotations

import math

import numpy as np
import pytest

from perfkit.batching import histogram
from perfkit.batching.histogram import BINS, Histogram
from perfkit.errors import UsageError

QUANTILES = (0.0, 0.001, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)


def of(times: np.ndarray) -> Histogram:
    from perfkit.batching.histogram_kernel import bin_index

    counts = np.bincount([bin_index(time) for time in times.tolist()], minlength=BINS)
    return Histogram(counts, float(times.sum()), float(times.min()), float(times.max()))


@pytest.mark.parametrize("scale", [1e-6, 1e-2, 30.0])
def test_quantiles_are_numpys_within_a_thousandth(scale: float) -> None:
    rng = np.random.default_rng(7)
    for times in (rng.exponential(scale, 20_000), rng.lognormal(0, 2, 20_001) * scale):
        found = of(times)
        for q in QUANTILES:
            assert found.quantile(q) == pytest.approx(np.quantile(times, q), rel=1e-3)


def test_what_is_exact_is_exact() -> None:
    found = of(np.array([0.0, 0.5, 2.0]))
    assert (found.count, found.sum_s, found.min_s, found.max_s) == (3, 2.5, 0.0, 2.0)
    assert found.mean_s == pytest.approx(2.5 / 3)
    assert (found.quantile(0), found.quantile(1)) == (0.0, 2.0)
    assert found.quantile(0.25) == pytest.approx(0.25, rel=1e-3)


def test_an_atom_at_one_time_is_that_time() -> None:
    assert of(np.full(1000, 0.123)).quantile(0.5) == 0.123


def test_merged_is_the_histogram_of_both() -> None:
    rng = np.random.default_rng(8)
    one, other = rng.exponential(1, 1000), rng.exponential(3, 500)
    found, both = of(one).merged(of(other)), of(np.concatenate((one, other)))
    assert np.array_equal(found.counts, both.counts)
    assert (found.min_s, found.max_s) == (both.min_s, both.max_s)
    assert found.sum_s == pytest.approx(both.sum_s)
    assert found.merged(histogram.empty()).quantile(0.9) == found.quantile(0.9)


def test_times_beyond_its_range_are_kept_at_the_ends() -> None:
    found = of(np.array([1e-12, 1.0, 1e9]))
    assert found.quantile(0) == 1e-12
    assert found.quantile(1) == 1e9


def test_of_nothing_there_is_no_quantile() -> None:
    assert math.isnan(histogram.empty().quantile(0.5))
    assert math.isnan(histogram.empty().mean_s)
    with pytest.raises(UsageError, match=r"quantile 1\.5"):
        histogram.empty().quantile(1.5)
