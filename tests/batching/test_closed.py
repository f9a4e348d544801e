"""Closed loops: by hand, and event by event against the oracle."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from perfkit.batching.closed import Loop, simulate
from perfkit.batching.continuous import StepTime, TrtLlm, VllmLike, simulate_closed
from perfkit.batching.policies import Dynamic, OneByOne, Policy, Static
from perfkit.batching.record import OUTCOMES
from perfkit.batching.theory.closed import repairman
from perfkit.errors import UsageError
from tests.batching.oracle import play_closed
from tests.batching.test_dynamic_oracle import ENDS, TIES, service


def loop(clients: int, requests: int, think_s: float = 0.0) -> Loop:
    return Loop(clients, np.full(clients + requests, think_s))


def draw_policy(draw: random.Random, clients: int) -> Policy:
    kind = draw.randrange(3)
    if kind == 0:
        return OneByOne(instances=draw.randint(1, 3))
    if kind == 1:
        batch = draw.randint(1, clients)
        return Static(batch, draw.randint(1, 3), draw.choice(ENDS), draw.choice(TIES))
    delays = [0.0, 0.5, 1.0, 2.5, 4.0, math.inf]
    return Dynamic(
        draw.randint(1, clients),
        draw.choice(delays),
        instances=draw.randint(1, 3),
        at_end=draw.choice(ENDS),
        tie=draw.choice(TIES),
    )


def compare(seed: int) -> None:
    draw = random.Random(seed)
    clients, sent = draw.randint(1, 7), draw.randint(1, 24)
    policy = draw_policy(draw, clients)
    thinks = [draw.choice([0.0, 0.0, 0.5, 1.0, 3.0]) for _ in range(clients + sent)]
    took = service(draw, 8)
    most = getattr(policy, "batch", policy.max_batch if not isinstance(policy, Static) else 0)
    expected = play_closed(policy, clients, thinks, took)
    run = simulate(policy, Loop(clients, np.array(thinks)), took[: most + 1])
    told = f"{seed}: {policy}, {clients} clients"
    assert run.arrival_s.tolist() == [r.arrival for r in expected], told
    assert [OUTCOMES[code] for code in run.outcome] == [r.outcome for r in expected], told
    assert run.batch.tolist() == [r.batch for r in expected], told
    np.testing.assert_array_equal(run.dispatch_s, [r.dispatch for r in expected], told)
    np.testing.assert_array_equal(run.finish_s, [r.finish for r in expected], told)
    assert run.little_error < 1e-9, told


def test_every_event_is_the_oracles_in_ten_thousand_small_cases() -> None:
    for seed in range(10_000):
        compare(seed)


def test_one_customer_goes_round_in_thinking_and_being_served() -> None:
    """Thinks 2 s, is served for 1 s: comes at 2, 5, 8."""
    run = simulate(OneByOne(), loop(1, 3, 2.0), [0.0, 1.0])
    assert run.arrival_s.tolist() == [2.0, 5.0, 8.0]
    assert run.finish_s.tolist() == [3.0, 6.0, 9.0]
    assert run.wait_s.tolist() == [0.0, 0.0, 0.0]


def test_customers_without_thinking_keep_a_server_busy_and_wait_for_all_others() -> None:
    """Three of them, a second each: from the third request on everyone waits two seconds."""
    run = simulate(OneByOne(), loop(3, 9), [0.0, 1.0])
    assert run.wait_s.tolist() == [0, 1, 2, 2, 2, 2, 2, 2, 2]
    assert run.utilisation == 1.0


@pytest.mark.parametrize("delay_s", [0.0, 5.0])
def test_as_many_customers_as_places_are_served_together_for_ever(delay_s: float) -> None:
    """Four at once, 2 s a batch, 1 s of thought: a cycle of 3 s, whatever the delay."""
    run = simulate(Dynamic(4, delay_s), loop(4, 12, 1.0), [0, 1, 1, 1, 2.0])
    assert run.arrival_s.tolist() == [1.0] * 4 + [4.0] * 4 + [7.0] * 4
    assert run.batch_sizes.tolist() == [0, 0, 0, 0, 3]


def test_the_law_of_response_times_holds() -> None:
    """N / X = R + Z: customers over throughput are response and think time (Little's law)."""
    thinks = np.random.default_rng(3).exponential(0.5, 10 + 50_000)
    run = simulate(Dynamic(4, 0.02, instances=2), Loop(10, thinks), [0, 0.2, 0.3, 0.4, 0.5])
    half = slice(1_000, None)
    per_s = (len(run.arrival_s) - 1_000) / (run.arrival_s[-1] - run.arrival_s[1_000])
    stay_s = float((run.finish_s - run.arrival_s)[half].mean())
    assert 10 / per_s == pytest.approx(stay_s + float(thinks[1_010:].mean()), rel=1e-3)


@pytest.mark.parametrize("clients", [1, 2, 5, 12])
def test_waits_are_those_of_the_machine_repairman(clients: int) -> None:
    """M/D/1//N by Takacs, within three standard errors of twenty seeds."""
    exact = repairman(clients, 4.0, 1.0).wait_s
    waits = []
    for seed in range(20):
        thinks = np.random.default_rng(seed).exponential(4.0, clients + 10_000)
        waits.append(float(simulate(OneByOne(), Loop(clients, thinks), [0, 1.0]).wait_s.mean()))
    assert abs(np.mean(waits) - exact) <= 3 * np.std(waits, ddof=1) / math.sqrt(20) + 1e-12


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (Dynamic(4, preferred=(2,)), "a closed loop with preferred: expected"),
        (Dynamic(4, timeout_s=1.0, max_queue=3), "timeout_s, max_queue"),
        (Dynamic(4, prefetch=True), "prefetch"),
        (Dynamic(4, preserve_ordering=True), "preserve_ordering"),
        (Static(4), "a batch of 4 never fills with 3 clients"),
        (Dynamic(4, math.inf), "never fills with 3 clients"),
    ],
)
def test_what_a_closed_loop_does_not_cover_is_refused(policy: Policy, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        simulate(policy, loop(3, 10), [0, 1, 1, 1, 1.0])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"clients": 0}, "clients 0"),
        ({"thinks_s": np.zeros(2)}, "2 think times for 2 clients"),
        ({"thinks_s": np.array([0.0, 1.0, -1.0])}, "think time 2: -1.0"),
        ({"thinks_s": np.array([0.0, math.nan, 1.0])}, "think time 1: nan"),
    ],
)
def test_a_loop_that_cannot_be_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Loop(**{"clients": 2, "thinks_s": np.zeros(3), **fields})


@pytest.mark.parametrize(
    "policy",
    [
        VllmLike(8, 64, 64),
        VllmLike(8, 64, 64, async_scheduling=True),
        TrtLlm("GUARANTEED_NO_EVICT", 8, 64, 64),
    ],
)
def test_continuous_batching_of_two_who_never_think(policy: VllmLike | TrtLlm) -> None:
    """Steps of a second: two tokens take two, and both come again with the answer; the third of
    three is too long, is refused at once, and its customer sends the fourth then.
    """
    lengths = np.array([4, 4, 5_000, 4]), np.full(4, 2)
    run = simulate_closed(loop(2, 4), *lengths, policy, StepTime(1.0))
    assert run.arrival_s.tolist() == [0.0, 0.0, 2.0, 2.0]
    assert run.outcome.tolist() == [0, 0, 1, 0]
    np.testing.assert_array_equal(run.first_token_s[[0, 1, 3]], [1.0, 1.0, 3.0])
    np.testing.assert_array_equal(run.finish_s[[0, 1, 3]], [2.0, 2.0, 4.0])
