from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from perfkit.batching.point import Estimate, Load, point, saturation_per_s
from perfkit.batching.policies import Dynamic, OneByOne, Static
from perfkit.errors import UsageError

# 12 ms and 0.8 ms a request.
TAU = np.array([0.0, *(0.012 + 0.0008 * b for b in range(1, 65))])


def test_an_interval_by_hand() -> None:
    """1, 2, 3: mean 2, deviation 1; t of 2 degrees at 97.5 % is 4.3027."""
    found = Estimate.of([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.half == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    with pytest.raises(UsageError, match="needs 2 seeds"):
        Estimate.of([1.0])


def test_greedy_batching_waits_as_theory_says() -> None:
    """The exact chain at 400 requests/s, of 1,012 that 64 at once could have: 8.965 ms."""
    found = point(Dynamic(64), Load("poisson", 400.0, 40_000), TAU, seeds=10)
    assert found.theory_wait_s == pytest.approx(0.008964974, rel=1e-6)
    wait = found.figures["wait_mean"]
    assert abs(wait.mean - 0.008964974) < max(0.005 * wait.mean, 3 * wait.half)
    assert found.little_error < 1e-9
    assert found.stable
    assert found.saturation_per_s == pytest.approx(64 / TAU[64])


def test_one_by_one_on_four_instances_is_m_d_4() -> None:
    found = point(OneByOne(instances=4), Load("poisson", 3.2, 40_000), np.array([0.0, 1.0]))
    assert found.theory_wait_s == pytest.approx(0.386094931, rel=1e-6)
    wait = found.figures["wait_mean"]
    assert abs(wait.mean - 0.386094931) < 3 * wait.half


def test_figures_of_a_clock_by_hand() -> None:
    """A request a second, each served alone in half a second, no wait at all."""
    found = point(Dynamic(4), Load("deterministic", 1.0, 200), np.array([0, 0.5, 1, 1, 1.0]))
    figures = {name: one.mean for name, one in found.figures.items()}
    assert figures["wait_mean"] == 0.0
    assert figures["latency_p99"] == figures["latency_mean"] == pytest.approx(0.5)
    assert figures["mean_batch"] == 1.0
    assert figures["reject_rate"] == figures["timeout_rate"] == 0.0
    assert figures["goodput_per_s"] == pytest.approx(1.0, rel=0.01)
    assert found.batch_sizes.tolist() == [0, 2000, 0, 0, 0]
    late = point(
        Dynamic(4), Load("deterministic", 1.0, 200), np.array([0, 0.5, 1, 1, 1.0]), slo_s=0.4
    )
    assert late.figures["goodput_per_s"].mean == 0.0


def test_a_longer_delay_makes_larger_batches() -> None:
    sizes = [
        point(Dynamic(64, delay), Load("poisson", 300.0, 5_000), TAU).figures["mean_batch"].mean
        for delay in (0.0, 0.01, 0.05, 0.2)
    ]
    assert sizes == sorted(sizes)


def test_near_saturation_no_run_is_called_stable() -> None:
    rate = 0.99 * saturation_per_s(Dynamic(8), TAU)
    found = point(Dynamic(8), Load("poisson", rate, 1_000), TAU, seeds=2)
    assert not found.stable
    over = point(Dynamic(8), Load("poisson", 2 * rate, 1_000), TAU, seeds=2)
    assert over.theory_wait_s is None


def test_what_no_model_covers_has_no_theory() -> None:
    load = Load("gamma", 100.0, 1_000, cv=2.0)
    assert point(Dynamic(8), load, TAU, seeds=2).theory_wait_s is None
    plain = Load("poisson", 100.0, 1_000)
    assert point(Dynamic(8, 0.01), plain, TAU, seeds=2).theory_wait_s is None
    assert point(Static(8), plain, TAU, seeds=2).theory_wait_s is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"process": "tides"}, "unknown arrival process 'tides'"),
        ({"rate_per_s": -1.0}, "rate -1.0"),
        ({"rate_per_s": math.nan}, "rate nan"),
        ({"cv": -0.5}, "cv -0.5"),
        ({"requests": 10}, "requests 10"),
    ],
)
def test_a_load_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    fields: dict[str, Any] = {"process": "gamma", "rate_per_s": 1.0, "requests": 100}
    with pytest.raises(UsageError, match=words):
        Load(**{**fields, **changes})
