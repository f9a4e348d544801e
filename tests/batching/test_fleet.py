from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from perfkit.batching import seeds
from perfkit.batching.fleet import Fleet, simulate

ONE = [0.0, 1.0]


def served(fleet: Fleet, arrivals: list[float], tau: list[float]) -> tuple[list[float], list[int]]:
    found = simulate(fleet, np.array(arrivals), tau)
    return found.finish_s.tolist(), found.replica.tolist()


def test_one_replica_by_hand() -> None:
    """Two fill a batch at 1; the third waits its delay from 2 to 6; the server is free by then."""
    fleet = Fleet(1, "round-robin", max_batch=2, delay_s=4.0)
    found = simulate(fleet, np.array([0.0, 1.0, 2.0]), [0.0, 1.0, 3.0])
    assert found.dispatch_s.tolist() == [1.0, 1.0, 6.0]
    assert found.finish_s.tolist() == [4.0, 4.0, 7.0]


def test_whoever_waits_past_the_delay_goes_when_the_server_is_free() -> None:
    fleet = Fleet(1, "round-robin", max_batch=8, delay_s=1.0)
    found = simulate(fleet, np.array([0.0, 2.0, 3.0, 10.0]), [0.0, 9.0, 9.0, 9.0, 9.0, 9, 9, 9, 9])
    # The first goes at 1 and ends at 10, where the arrival of that instant joins those of 2 and 3.
    assert found.dispatch_s.tolist() == [1.0, 10.0, 10.0, 10.0]


def test_routes_are_drawn_from_a_stream_of_their_own() -> None:
    """Else a burst's phases would say where its requests go."""
    times, streams = np.arange(1.0, 9.0), range(seeds.ROUTES + 1)
    found = simulate(Fleet(100, "random", 1, 0.0), times, ONE, seed=3).replica.tolist()
    same = [
        of
        for of in streams
        if seeds.stream(3, of).integers(0, 100, (8, 1), dtype=np.int32)[:, 0].tolist() == found
    ]
    assert same == [seeds.ROUTES]
    assert seeds.ROUTES not in (seeds.GAPS, seeds.PHASES, seeds.THINKS)


def test_round_robin_takes_turns_and_the_shortest_line_is_joined() -> None:
    arrivals = [0.0, 0.0, 0.0, 0.0]
    assert served(Fleet(2, "round-robin", 1, 0.0), arrivals, ONE)[1] == [0, 1, 0, 1]
    assert served(Fleet(3, "shortest", 1, 0.0), arrivals, ONE)[1] == [0, 1, 2, 0]


def test_what_has_finished_counts_no_more() -> None:
    # At 1.0 the first replica has just finished, so both are empty: the first is taken again.
    assert served(Fleet(2, "shortest", 1, 0.0), [0.0, 1.0], ONE)[1] == [0, 0]
    assert served(Fleet(2, "shortest", 1, 0.0), [0.0, 0.5], ONE)[1] == [0, 1]


def oracle(fleet: Fleet, arrivals: list[float], tau: list[float]) -> list[float]:
    """The same by the plainest means: every replica stepped through every instant."""
    n = len(arrivals)
    finish = [0.0] * n
    queues: list[list[int]] = [[] for _ in range(fleet.replicas)]
    free, serving = [float("-inf")] * fleet.replicas, [0] * fleet.replicas

    def due(r: int) -> float:
        if not queues[r]:
            return float("inf")
        full = len(queues[r]) >= fleet.max_batch
        ready = (
            arrivals[queues[r][fleet.max_batch - 1]]
            if full
            else arrivals[queues[r][0]] + fleet.delay_s
        )
        return max(free[r], ready)

    def serve(r: int, now: float) -> None:
        batch = queues[r][: fleet.max_batch]
        queues[r] = queues[r][fleet.max_batch :]
        free[r], serving[r] = now + tau[len(batch)], len(batch)
        for one in batch:
            finish[one] = free[r]

    for i, now in enumerate([*arrivals, float("inf")]):
        while True:
            times = [due(r) for r in range(fleet.replicas)]
            r = min(range(fleet.replicas), key=times.__getitem__)
            # At the instant of an arrival only a batch that is full already goes before it.
            if times[r] >= now and not (times[r] == now < float("inf")
                                        and len(queues[r]) >= fleet.max_batch):  # fmt: skip
                break
            if times[r] == float("inf"):
                break
            serve(r, times[r])
        if i == n:
            break
        lengths = [
            len(queues[r]) + (serving[r] if free[r] > now else 0) for r in range(fleet.replicas)
        ]
        place = i % fleet.replicas if fleet.routing == "round-robin" else int(np.argmin(lengths))
        queues[place].append(i)
    return finish


@pytest.mark.parametrize("cases", [300, pytest.param(10_000, marks=pytest.mark.thorough)])
def test_equal_to_the_plainest_simulation_event_by_event(cases: int) -> None:
    """Times are multiples of 1/4, so that ties happen and sums are exact."""
    draw = random.Random(11)
    for _ in range(cases):
        n, most = draw.randint(1, 14), draw.randint(1, 4)
        arrivals = sorted(draw.randint(0, 24) / 4 for _ in range(n))
        tau = [0.0, *sorted(draw.randint(1, 12) / 4 for _ in range(most))]
        routing: Any = draw.choice(("round-robin", "shortest"))
        fleet = Fleet(draw.randint(1, 3), routing, most, draw.randint(0, 8) / 4)
        assert served(fleet, arrivals, tau)[0] == oracle(fleet, arrivals, tau), (
            fleet, arrivals, tau,
        )  # fmt: skip


def mean_wait(routing: Any, replicas: int, rho: float, n: int, seed: int, d: int = 2) -> float:
    draw = np.random.default_rng(seed)
    arrivals = np.cumsum(draw.exponential(1 / (rho * replicas), n))
    found = simulate(Fleet(replicas, routing, 1, 0.0, d), arrivals, ONE, seed)
    return float((found.dispatch_s - arrivals)[n // 10 :].mean())


def test_a_random_split_is_so_many_queues_of_their_own() -> None:
    """M/D/1 at 0.8 waits rho / (2 (1 - rho)) = 2 services; a hundred of them no less."""
    waits = [mean_wait("random", 100, 0.8, 1_000_000, seed) for seed in range(10)]
    error = 3 * float(np.std(waits, ddof=1)) / np.sqrt(10)
    assert abs(np.mean(waits) - 2.0) < max(0.01, error)


def test_two_choices_wait_far_less_than_one_and_all_least() -> None:
    one, two, all_ = (mean_wait(rule, 50, 0.9, 100_000, 3) for rule in
                      ("random", "power-of-d", "shortest"))  # fmt: skip
    assert all_ < two < one / 4


def test_the_same_seed_is_the_same_run() -> None:
    arrivals = np.arange(100) / 10
    fleet = Fleet(5, "power-of-d", 2, 0.1)
    first, second = (simulate(fleet, arrivals, [0, 1, 1], seed=4) for _ in range(2))
    assert np.array_equal(first.replica, second.replica)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"replicas": 0}, "replicas is 0"),
        ({"max_batch": -1}, "max_batch is -1"),
        ({"delay_s": float("nan")}, "delay_s is nan"),
        ({"delay_s": -0.1}, "delay_s is -0.1"),
        ({"routing": "nearest"}, "unknown routing 'nearest'"),
    ],
)
def test_a_fleet_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    fields: dict[str, Any] = {"replicas": 2, "routing": "random", "max_batch": 1, "delay_s": 0.0}
    with pytest.raises(ValueError, match=words):
        Fleet(**{**fields, **changes})


@pytest.mark.parametrize(
    ("arrivals", "tau", "words"),
    [
        ([], ONE, "0 arrivals: expected from 1"),
        ([1.0, 0.5], ONE, "in order of time"),
        ([0.0, float("nan")], ONE, "finite"),
        ([0.0], [0.0], "service times of batches up to 0, max_batch is 1"),
        ([0.0], [0.0, 0.0], "over 0"),
    ],
)
def test_input_that_cannot_be_is_refused(
    arrivals: list[float], tau: list[float], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        simulate(Fleet(1, "random", 1, 0.0), np.array(arrivals), tau)
