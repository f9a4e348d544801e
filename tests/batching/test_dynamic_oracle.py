from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from perfkit.batching.dynamic import simulate
from perfkit.batching.policies import Dynamic, OneByOne, Policy, Static
from perfkit.batching.record import OUTCOMES
from tests.batching.amounts import CASES
from tests.batching.oracle import play

if TYPE_CHECKING:
    from collections.abc import Callable

TIES = ("arrivals_first", "dispatch_first")
ENDS = ("flush", "strand")


class Work(NamedTuple):
    policy: Policy
    arrivals: list[float]
    service: list[float]
    sizes: list[int] | None = None
    levels: list[int] | None = None


def static(draw: random.Random) -> Work:
    batch = draw.randint(1, 6)
    policy = Static(batch, draw.randint(1, 3), draw.choice(ENDS), draw.choice(TIES))
    return Work(policy, arrivals(draw), service(draw, batch))


def one_by_one(draw: random.Random) -> Work:
    policy = OneByOne(draw.randint(1, 3), draw.randint(1, 3))
    times = arrivals(draw)
    sizes = [draw.randint(1, 4) for _ in times] if draw.random() < 0.5 else None
    return Work(policy, times, service(draw, policy.max_batch), sizes)


def plain(draw: random.Random) -> Work:
    policy = Dynamic(
        draw.randint(1, 6),
        draw.choice([0.0, 0.5, 1.0, 2.5, 4.0, math.inf]),
        instances=draw.randint(1, 3),
        at_end=draw.choice(ENDS),
        tie=draw.choice(TIES),
    )
    return Work(policy, arrivals(draw), service(draw, policy.max_batch))


def limited(draw: random.Random) -> Work:
    largest = draw.randint(1, 8)
    policy = Dynamic(
        largest,
        draw.choice([0.0, 0.5, 1.0, 2.5, 4.0, math.inf]),
        preferred(draw, largest),
        draw.randint(1, 3),
        max_queue=draw.choice([0, 0, 1, 2, 4]),
        timeout_s=draw.choice([None, 0.5, 1.0, 2.0, 3.5]),
        timeout_action=draw.choice(["reject", "delay"]),
        levels=(levels := draw.choice([0, 0, 1, 2, 3])),
        at_end=draw.choice(ENDS),
        tie=draw.choice(TIES),
    )
    times = arrivals(draw)
    return Work(
        policy,
        times,
        service(draw, largest),
        sizes(draw, len(times), largest),
        [draw.randint(1, levels) for _ in times] if levels else None,
    )


def prefetched(draw: random.Random) -> Work:
    largest = draw.randint(1, 8)
    policy = Dynamic(
        largest,
        draw.choice([0.0, 0.5, 1.0, 2.5, 4.0]),
        preferred(draw, largest),
        draw.randint(1, 3),
        prefetch=True,
        tie=draw.choice(TIES),
    )
    times = arrivals(draw)
    return Work(policy, times, service(draw, largest), sizes(draw, len(times), largest))


def arrivals(draw: random.Random) -> list[float]:
    """Up to 24 arrivals on halves of a second, many at once, at a load from light to heavy."""
    gaps = draw.choice([[0, 0, 0, 0.5], [0, 0, 0.5, 1], [0, 0.5, 1, 3], [0.5, 1.5, 4]])
    times = np.cumsum([draw.choice(gaps) for _ in range(draw.randint(1, 24))])
    return [float(time) for time in times]


def service(draw: random.Random, largest: int) -> list[float]:
    base, slope = draw.choice([0.5, 1.0, 3.0]), draw.choice([0.0, 0.25, 0.5])
    return [base + slope * b for b in range(largest + 1)]


def sizes(draw: random.Random, number: int, largest: int) -> list[int] | None:
    if draw.random() < 0.3:
        return None
    return [draw.randint(1, draw.choice([2, 3, largest + 1])) for _ in range(number)]


def preferred(draw: random.Random, largest: int) -> tuple[int, ...]:
    return tuple(draw.sample(range(1, largest + 1), draw.randint(0, min(2, largest))))


DRAWN = (static, one_by_one, plain, limited, prefetched)


def compare(work: Work) -> None:
    expected = play(*work)
    run = simulate(work.policy, work.arrivals, work.service, sizes=work.sizes,
                   priorities=work.levels)  # fmt: skip
    assert [OUTCOMES[code] for code in run.outcome] == [r.outcome for r in expected], work
    assert run.batch.tolist() == [r.batch for r in expected], work
    np.testing.assert_array_equal(run.dispatch_s, [r.dispatch for r in expected], str(work))
    np.testing.assert_array_equal(run.finish_s, [r.finish for r in expected], str(work))
    assert run.little_error < 1e-9, work


def compare_all(draw_work: Callable[[random.Random], Work], seeds: range) -> None:
    for seed in seeds:
        compare(draw_work(random.Random(seed)))


@pytest.mark.parametrize("drawn", DRAWN)
def test_every_event_is_the_oracles_in_some_small_cases(
    drawn: Callable[[random.Random], Work],
) -> None:
    compare_all(drawn, range(300))


def test_formed_ahead_without_delay_or_preferred_sizes_changes_nothing() -> None:
    for seed in range(300):
        policy, times, took, *_ = plain(random.Random(seed))
        assert isinstance(policy, Dynamic)
        idle = simulate(replace(policy, delay_s=0.0), times, took)
        ahead = simulate(replace(policy, delay_s=0.0, prefetch=True), times, took)
        assert np.array_equal(idle.finish_s, ahead.finish_s)
        assert np.array_equal(idle.batch, ahead.batch)


@CASES
@pytest.mark.parametrize("drawn", DRAWN)
def test_every_event_is_the_oracles_in_many_small_cases(
    drawn: Callable[[random.Random], Work], cases: int
) -> None:
    compare_all(drawn, range(cases))
