from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from perfkit.batching.estimate import Estimate
from perfkit.batching.loads import Closed, Load, Replay
from perfkit.batching.point import point, saturation_per_s
from perfkit.batching.policies import Dynamic, OneByOne, Static
from perfkit.batching.service import Split
from perfkit.batching.traces import Trace
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from perfkit.batching.policies import AtEnd, Policy

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
    assert found.batch_sizes.tolist() == [0, 200, 0, 0, 0]
    assert found.seeds == 1  # nothing is drawn
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


def test_first_tokens_come_with_the_prefill_and_others_with_the_steps() -> None:
    """Two a batch, by hand: the first waits half a second; prefill 0.3 s, a step 0.02 s."""
    split = Split(np.array([0.0, 0.2, 0.3]), np.array([0.0, 0.01, 0.02]))
    load = Load("deterministic", 2.0, 2_000)
    found = point(Static(2), load, np.array([0.0, 0.4, 0.6]), split=split, seeds=2)
    figures = {name: one.mean for name, one in found.figures.items()}
    assert figures["wait_p99"] == pytest.approx(0.5)
    assert figures["ttft_mean"] == pytest.approx(0.25 + 0.3)
    assert figures["ttft_p99"] == pytest.approx(0.8)
    assert figures["itl_p50"] == figures["itl_mean"] == pytest.approx(0.02)
    one_token = point(
        Static(2), load, np.array([0.0, 0.4, 0.6]), split=Split(split.prefill_s, None)
    )
    assert math.isnan(one_token.figures["itl_mean"].mean)


def test_without_a_split_ttft_and_itl_are_absent() -> None:
    figures = point(Dynamic(8), Load("poisson", 9.0, 2_000), TAU, seeds=2).figures
    for name in ("ttft_mean", "ttft_p99", "itl_mean", "itl_p99"):
        assert math.isnan(figures[name].mean)
    assert not math.isnan(figures["wait_p999"].mean)


def test_quantiles_of_too_few_requests_are_absent() -> None:
    figures = point(Dynamic(8), Load("poisson", 9.0, 110), TAU, seeds=2).figures
    assert not math.isnan(figures["latency_p99"].mean)  # 105 after the warm-up
    assert math.isnan(figures["latency_p999"].mean)


def test_a_closed_loop_waits_as_the_machine_repairman_says() -> None:
    found = point(OneByOne(), Closed(5, 10_000, 4.0), np.array([0.0, 1.0]), seeds=20)
    wait = found.figures["wait_mean"]
    assert found.theory_wait_s is not None
    assert abs(wait.mean - found.theory_wait_s) < 3 * wait.half
    assert found.stable
    assert found.rate_per_s == pytest.approx(5 / (4 + 1 + found.theory_wait_s), rel=0.02)
    assert point(OneByOne(), Closed(5, 200, 4.0, "fixed"), TAU[:2], seeds=2).theory_wait_s is None


def test_a_trace_is_run_once_and_whole() -> None:
    """Requests at 0, 0 and 3 s, one by one in a second: waits of 0, 1 and 0 s."""
    trace = Trace(np.array([0.0, 0.0, 3.0]), np.ones(3, np.int64), np.ones(3, np.int64), 1)
    found = point(OneByOne(), Replay(trace, "mine"), np.array([0.0, 1.0]), seeds=10)
    assert found.seeds == 1
    assert found.stable is None
    assert found.figures["wait_mean"].mean == pytest.approx(1 / 3)
    assert math.isnan(found.figures["wait_mean"].half)
    assert found.load.requests == 3
    assert found.batch_sizes is not None
    assert found.batch_sizes.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("policy", "size"),
    [
        (Dynamic(16, preferred=(2, 4)), 4),  # rule 2: the best size goes at once
        (Dynamic(16, 0.001, preferred=(4,)), 16),  # past the delay all that wait go
        (Dynamic(16, math.inf, preferred=(4,)), 4),
        (Dynamic(16, preferred=(4,), prefetch=True), 4),
        (Dynamic(16, 0.02, preferred=(2, 7), prefetch=True, instances=4), 16),
        (Dynamic(16, prefetch=True), 16),
        (Dynamic(16, max_queue=5), 5),
        (Dynamic(16, preferred=(4, 8), max_queue=5), 4),
        (Dynamic(16, preferred=(8,), max_queue=5), 5),
        (Static(3, 2), 3),
        (OneByOne(instances=2), 1),
    ],
)
def test_saturation_is_what_a_crowd_is_served_at(policy: Policy, size: int) -> None:
    most = saturation_per_s(policy, TAU)
    assert most == pytest.approx(policy.instances * size / TAU[size], rel=0.01)
    crowd = point(policy, Load("deterministic", 5 * most, 20_000), TAU)
    assert crowd.figures["throughput_per_s"].mean == pytest.approx(most, rel=0.01)


def test_when_nothing_is_served_it_says_what_became_of_all() -> None:
    with pytest.raises(UsageError, match=r"nothing was served .*: 190 stranded"):
        point(Static(64 * 4, at_end="strand"), Load("poisson", 9.0, 200), np.ones(257), seeds=2)


def test_a_batch_that_never_fills_has_no_saturation() -> None:
    with pytest.raises(UsageError, match="at most 3 never fills a batch of 4"):
        saturation_per_s(Dynamic(4, math.inf, max_queue=3), TAU)


@pytest.mark.parametrize(
    ("limits", "steady"),
    [({"max_queue": 5}, True), ({"timeout_s": 0.005}, True), ({}, False),
     ({"timeout_s": 0.005, "timeout_action": "delay"}, False)],
)  # fmt: skip
def test_a_queue_that_refuses_is_steady_under_any_load(
    limits: dict[str, Any], steady: bool
) -> None:
    found = point(Dynamic(16, **limits), Load("poisson", 1_500.0, 2_000), TAU, seeds=2)
    assert found.stable is steady


@pytest.mark.parametrize("requests", [200, 1_000])
def test_a_server_without_rest_serves_one_after_another(requests: int) -> None:
    """Whatever the warm-up has left is served in the span too: 1 / 12.8 ms."""
    for load in (Closed(64, requests), Load("deterministic", 120.0, requests)):
        served = point(OneByOne(), load, TAU).figures["throughput_per_s"]
        assert served.mean == pytest.approx(1 / 0.0128, rel=0.01)
        assert math.isnan(served.half)


@pytest.mark.parametrize("at_end", ["flush", "strand"])
def test_few_large_batches_are_counted_by_the_times_between_them(at_end: AtEnd) -> None:
    """A request a second; batches of 300 end at 301, 601 and 901, and the rest at 1001 or never."""
    policy = Static(300, at_end=at_end)
    found = point(policy, Load("deterministic", 1.0, 1_000), np.ones(301))
    assert found.figures["throughput_per_s"].mean == pytest.approx(1.0)


def test_loads_say_whether_a_seed_changes_them() -> None:
    drawn = [Load("poisson", 1.0, 100), Load("gamma", 1.0, 100, 2.0), Closed(2, 100, 1.0)]
    fixed = [
        Load("deterministic", 1.0, 100), Load("gamma", 1.0, 100, 0.0), Closed(2, 100),
        Closed(2, 100, 1.0, "fixed"),
    ]  # fmt: skip
    assert [load.drawn for load in (*drawn, *fixed)] == [True] * 3 + [False] * 4
