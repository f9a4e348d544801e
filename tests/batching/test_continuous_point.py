from __future__ import annotations

import math

import numpy as np
import pytest

from perfkit.batching.continuous import CAPACITY, StepTime, TrtLlm, VllmLike
from perfkit.batching.continuous_point import Work, point, saturation_per_s
from perfkit.batching.loads import Closed, Length, Load, Replay
from perfkit.batching.traces import Trace
from perfkit.errors import UsageError

# A step takes a second, whatever is in it.
SECOND = Work(StepTime(1.0), Length(4), Length(3))
ROOMY = VllmLike(8, 64, 1_000)


def test_figures_of_a_clock_by_hand() -> None:
    """A request every ten seconds: its prefill takes a step, and two more tokens one each."""
    found = point(ROOMY, Load("deterministic", 0.1, 2_000), SECOND, seeds=2, slo_s=2.9)
    figures = {name: one.mean for name, one in found.figures.items()}
    assert figures["wait_p999"] == figures["preemptions"] == figures["reject_rate"] == 0.0
    assert figures["ttft_p99"] == figures["ttft_mean"] == pytest.approx(1.0)
    assert figures["itl_p50"] == figures["itl_mean"] == pytest.approx(1.0)
    assert figures["latency_mean"] == pytest.approx(3.0)
    assert figures["throughput_per_s"] == pytest.approx(0.1, rel=0.01)
    assert figures["output_tokens_per_s"] == pytest.approx(0.3, rel=0.01)
    assert figures["utilisation"] == pytest.approx(0.3, rel=0.01)
    assert figures["goodput_per_s"] == 0.0
    assert found.stable
    assert found.batch_sizes is None
    assert math.isnan(point(ROOMY, Load("poisson", 0.1, 900), SECOND).figures["latency_p999"].mean)


def test_a_full_house_is_served_at_its_seats_over_its_steps() -> None:
    """Eight seats, three steps of a second a request: 8 / 3 a second; a closed loop has it too."""
    assert saturation_per_s(ROOMY, None, SECOND) == pytest.approx(8 / 3, rel=0.02)
    trt = TrtLlm("GUARANTEED_NO_EVICT", 8, 64, 1_000)
    assert saturation_per_s(trt, None, SECOND) == pytest.approx(8 / 3, rel=0.02)
    loop = point(ROOMY, Closed(16, 4_000), SECOND, seeds=2)
    assert loop.rate_per_s == pytest.approx(8 / 3, rel=0.01)
    assert loop.stable


@pytest.mark.parametrize("capacity", [None, *CAPACITY])
def test_houses_that_end_together_are_counted_by_their_intervals(capacity: str | None) -> None:
    """All prompts in one step, then 49 more: sixteen requests every fifty seconds."""
    policy = VllmLike(16, 64, 99) if capacity is None else TrtLlm(capacity, 16, 64, 99)
    work = Work(StepTime(1.0), Length(4), Length(50))
    assert saturation_per_s(policy, None, work) == pytest.approx(16 / 50)
    loop = point(policy, Closed(64, 1_000), work)
    assert loop.rate_per_s == pytest.approx(16 / 50)
    assert loop.seeds == 1


def test_customers_in_step_are_counted_by_whole_turns() -> None:
    """Their prefills come one after another, and then all decode: short loops are right too."""
    work = Work(StepTime(1.0), Length(40), Length(51))
    rates = [point(VllmLike(30, 64, 9_999), Closed(30, n), work).rate_per_s for n in (120, 3_000)]
    assert rates[0] == pytest.approx(rates[1], rel=0.01)


def test_saturation_of_few_seats_is_of_many_lengths() -> None:
    work = Work(StepTime(1.0), Length(4, 0.5), Length(50, 0.5))
    policy = VllmLike(4, 64, 9_999)
    loop = point(policy, Closed(16, 8_000), work, seeds=4)
    assert saturation_per_s(policy, None, work) == pytest.approx(loop.rate_per_s, rel=0.015)


def test_saturation_is_what_an_overload_gets() -> None:
    work = Work(StepTime(13e-3, 40e-6, 0.0, 73e-9), Length(512, 0.5), Length(64, 0.5))
    policy = VllmLike(64, 1_024, 1_500)  # blocks lack before seats do
    most = saturation_per_s(policy, None, work)
    over = point(policy, Load("poisson", 3 * most, 40_000), work, seeds=2)
    assert over.figures["throughput_per_s"].mean == pytest.approx(most, rel=0.05)
    assert not over.stable
    assert over.figures["preemptions"].mean > 0


def test_what_is_too_large_is_rejected_and_counted() -> None:
    work = Work(StepTime(1.0), Length(64, 1.0), Length(8))
    small = VllmLike(8, 64, 5)  # 80 tokens
    found = point(small, Load("poisson", 0.1, 500), work, seeds=2)
    assert 0 < found.figures["reject_rate"].mean < 1
    with pytest.raises(UsageError, match="every request is rejected as too large"):
        point(
            VllmLike(8, 64, 1),
            Load("poisson", 0.1, 500),
            Work(StepTime(1.0), Length(64), Length(8)),
        )


def test_a_trace_brings_its_lengths_and_is_run_once() -> None:
    """Two requests at 0 and 10 s, of 4 + 2 and 4 + 5 tokens: 2 s and 5 s, all counted."""
    trace = Trace(np.array([0.0, 10.0]), np.array([4, 4]), np.array([2, 5]), 0)
    found = point(ROOMY, Replay(trace, "mine"), SECOND)
    assert found.seeds == 1
    assert found.figures["latency_mean"].mean == pytest.approx(3.5)
    assert math.isnan(found.figures["latency_mean"].half)
    assert math.isnan(found.figures["latency_p90"].mean)
    assert found.rate_per_s == pytest.approx(0.1)


def test_what_is_rejected_at_once_takes_nothing_from_saturation() -> None:
    """Every other request is too large: twice as many may come as are served."""
    lengths = np.tile([4, 10**6], 50), np.full(100, 3)
    trace = Replay(Trace(np.arange(100.0), *lengths, 0), "t")
    assert saturation_per_s(ROOMY, trace, SECOND) == pytest.approx(2 * 8 / 3, rel=0.05)


def test_lengths_are_the_same_for_every_policy() -> None:
    load, work = Load("poisson", 1.0, 300), Work(StepTime(0.1), Length(9, 1.0), Length(5, 1.0))
    tokens = [
        point(policy, load, work, seeds=2).figures["output_tokens_per_s"].mean
        for policy in (VllmLike(300, 10**6, 10**5), TrtLlm("MAX_UTILIZATION", 300, 10**6, 10**5))
    ]
    assert tokens[0] == tokens[1]
