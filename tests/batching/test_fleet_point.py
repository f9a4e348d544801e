from __future__ import annotations

import math

import numpy as np
import pytest

from perfkit.batching import point as single
from perfkit.batching.fleet import Fleet
from perfkit.batching.fleet_point import point, saturation_per_s
from perfkit.batching.loads import Closed, Load, Replay
from perfkit.batching.policies import Dynamic
from perfkit.batching.service import Split
from perfkit.batching.traces import Trace
from perfkit.errors import UsageError

TAU = np.array([0.0, 1.0, 1.5, 2.0, 2.5])
SPLIT = Split(np.array([0, 0.2, 0.3, 0.4, 0.5]), np.array([0, 0.01, 0.02, 0.03, 0.04]))


def test_a_fleet_of_one_is_the_one_server() -> None:
    load = Load("poisson", 1.2, 3_000)
    fleet = point(Fleet(1, "round-robin", 4, 0.5), load, TAU, split=SPLIT, seeds=3, slo_s=3.0)
    alone = single.point(Dynamic(4, 0.5), load, TAU, split=SPLIT, seeds=3, slo_s=3.0)
    assert set(fleet.figures) == set(alone.figures)
    for name, one in alone.figures.items():
        assert fleet.figures[name].mean == pytest.approx(one.mean, rel=1e-12), name
    assert fleet.batch_sizes is not None
    assert fleet.batch_sizes.tolist() == np.asarray(alone.batch_sizes).tolist()
    assert fleet.saturation_per_s == alone.saturation_per_s == 4 / 2.5


def test_two_replicas_in_turn_by_hand() -> None:
    """Every half second a request; each replica serves one a second, alone, without wait."""
    load = Load("deterministic", 2.0, 200)
    found = point(Fleet(2, "round-robin", 4, 0.0), load, TAU, split=SPLIT, seeds=2)
    figures = {name: one.mean for name, one in found.figures.items()}
    assert figures["wait_p99"] == 0.0
    assert figures["latency_mean"] == pytest.approx(1.0)
    assert figures["ttft_p99"] == pytest.approx(0.2)
    assert figures["itl_mean"] == pytest.approx(0.01)
    assert figures["mean_batch"] == 1.0
    assert figures["utilisation"] == pytest.approx(200 / (2 * 100.5))
    assert found.little_error == 0.0
    assert found.stable


def test_two_choices_are_better_than_one() -> None:
    load = Load("poisson", 0.8 * saturation_per_s(Fleet(20, "random", 1, 0.0), TAU), 20_000)
    waits = [
        point(Fleet(20, routing, 1, 0.0), load, TAU, seeds=2).figures["wait_mean"].mean
        for routing in ("random", "power-of-d", "shortest")
    ]
    assert waits == sorted(waits, reverse=True)


def test_a_trace_is_run_again_only_where_routing_draws() -> None:
    times = np.arange(50.0)
    trace = Trace(times, np.ones(50, np.int64), np.ones(50, np.int64), 0)
    once = point(Fleet(2, "round-robin", 1, 0.0), Replay(trace, "t"), TAU)
    assert once.seeds == 1
    assert math.isnan(once.figures["wait_mean"].half)
    assert point(Fleet(2, "random", 1, 0.0), Replay(trace, "t"), TAU, seeds=3).seeds == 3
    clock = Load("deterministic", 1.0, 100)
    assert point(Fleet(2, "shortest", 1, 0.0), clock, TAU, seeds=3).seeds == 1


def test_a_closed_loop_is_refused() -> None:
    with pytest.raises(UsageError, match="a fleet in a closed loop is not simulated"):
        point(Fleet(2, "random", 1, 0.0), Closed(5, 100), TAU)
