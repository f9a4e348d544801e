"""The fleet's speed on one core: a thousand replicas, two choices a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from perfkit.batching import arrivals
from perfkit.batching.fleet import Fleet, simulate

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

pytestmark = [pytest.mark.cpu, pytest.mark.slow]
_REPLICAS, _REQUESTS = 1_000, 2_000_000


@pytest.mark.parametrize(("most", "load"), [(1, 0.9), (8, 0.5)])
def test_a_thousand_replicas(benchmark: BenchmarkFixture, most: int, load: float) -> None:
    """Requests a second go to ``extra_info``; services take a second, whatever the batch."""
    fleet = Fleet(_REPLICAS, "power-of-d", most, 0.0)
    tau = [0.0, *[1.0] * most]
    times = arrivals.poisson(load * _REPLICAS * most, _REQUESTS, seed=1)
    simulate(fleet, times[:100], tau)  # compiles
    served = benchmark.pedantic(simulate, args=(fleet, times, tau), rounds=3)
    benchmark.extra_info["requests_per_s"] = _REQUESTS / benchmark.stats.stats.median
    assert np.isfinite(served.finish_s).all()
