"""The edge cases of the batcher by hand; (a) to (h) as the notes on Triton have them."""

from __future__ import annotations

import math
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from perfkit.batching.dynamic import simulate, simulate_long
from perfkit.batching.policies import Dynamic, OneByOne, Static
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perfkit.batching.policies import Policy
    from perfkit.batching.record import Run


def run(policy: Policy, arrivals: Sequence[float], took: float = 1.0, **more: list[int]) -> Run:
    most = policy.batch if isinstance(policy, Static) else policy.max_batch
    return simulate(policy, arrivals, [took] * (most + 1), **more)


def sent(found: Run) -> list[tuple[float, list[int]]]:
    """Each batch: when it was sent, and which requests it held."""
    return [
        (float(found.dispatch_s[found.batch == b][0]), np.flatnonzero(found.batch == b).tolist())
        for b in range(found.batch.max() + 1)
    ]


# Case (a) of the notes:
@pytest.mark.parametrize("prefetch", [False, True])
def test_five_at_once_without_delay_go_together_or_one_and_four(prefetch: bool) -> None:
    policy = Dynamic(8, prefetch=prefetch)
    assert sent(run(policy, [0] * 5)) == [(0, [0, 1, 2, 3, 4])]
    late = replace(policy, tie="dispatch_first")
    assert sent(run(late, [0] * 5)) == [(0, [0]), (1, [1, 2, 3, 4])]


# Case (b) of the notes:
@pytest.mark.parametrize("tie", ["arrivals_first", "dispatch_first"])
def test_a_full_batch_never_waits_and_the_next_request_has_a_timer_of_its_own(tie: str) -> None:
    policy = Dynamic(4, 10.0, instances=2, tie=tie)  # type: ignore[arg-type]
    assert sent(run(policy, [3, 3, 3, 3])) == [(3, [0, 1, 2, 3])]
    assert sent(run(policy, [0, 3, 3, 3, 3])) == [(3, [0, 1, 2, 3]), (13, [4])]


# Case (c) of the notes:
def test_what_is_due_while_the_server_is_busy_goes_when_it_falls_free() -> None:
    # Request 0 is due at 1 and runs to 11; 1 and 2 are due at 3 and 6.
    found = run(Dynamic(8, 1.0), [0, 2, 5], took=10.0)
    assert sent(found) == [(1, [0]), (11, [1, 2])]


# Case (d) of the notes:
def test_a_server_that_falls_free_early_keeps_waiting_for_the_oldest_to_be_due() -> None:
    # Free at 2; request 1 came at 1.5 and is due at 2.5. The one of 2.25 comes along.
    found = run(Dynamic(8, 1.0), [0, 1.5, 2.25])
    assert sent(found) == [(1, [0]), (2.5, [1, 2])]


# Case (e) of the notes:
@pytest.mark.parametrize("policy", [Static(2), Dynamic(2, math.inf)])
def test_the_last_batch_that_never_fills_is_flushed_or_reported(policy: Policy) -> None:
    flushed = run(policy, [0, 1, 4])
    assert sent(flushed) == [(1, [0, 1]), (4, [2])]
    stranded = run(replace(policy, at_end="strand"), [0, 1, 4])
    assert sent(stranded) == [(1, [0, 1])]
    assert stranded.count("stranded") == 1
    assert math.isnan(stranded.finish_s[2])
    assert stranded.little_error < 1e-9


# Case (f) of the notes:
@pytest.mark.parametrize("prefetch", [False, True])
def test_a_request_is_never_split_and_one_that_is_too_large_is_refused(prefetch: bool) -> None:
    policy = Dynamic(8, prefetch=prefetch)
    found = run(policy, [0, 0, 0], sizes=[3, 3, 3])
    assert sent(found) == [(0, [0, 1]), (1, [2])]
    assert found.batch_sizes.nonzero()[0].tolist() == [3, 6]
    refused = run(policy, [0, 1], sizes=[9, 8])
    assert [refused.count("too_large"), refused.count("served")] == [1, 1]
    assert refused.finish_s.tolist() == [0, 2]


# Case (g) of the notes:
@pytest.mark.parametrize("tie", ["arrivals_first", "dispatch_first"])
def test_a_deadline_at_the_instant_of_dispatch_is_met(tie: str) -> None:
    # Busy from 0 to 1; request 1 came at 0.5 and may wait to 1, request 2 to 1.25.
    policy = Dynamic(1, timeout_s=0.5, tie=tie)  # type: ignore[arg-type]
    found = run(policy, [0, 0.5, 0.75])
    assert sent(found) == [(0, [0]), (1, [1])]
    assert found.count("timed_out") == 1
    assert found.finish_s.tolist() == [1, 2, 1.25]


# Case (h) of the notes:
def test_a_lone_request_times_out_where_the_delay_is_longer_than_its_timeout() -> None:
    found = run(Dynamic(4, 2.0, timeout_s=1.0), [0, 5, 10])
    assert found.count("timed_out") == 3
    assert found.finish_s.tolist() == [1, 6, 11]
    # Both at one instant: (g) decides, on exact times.
    assert run(Dynamic(4, 1.0, timeout_s=1.0), [0, 5]).dispatch_s.tolist() == [1, 6]


def test_an_expired_batch_may_be_larger_than_any_preferred_size() -> None:
    # Busy to 10; by then five wait, all past their delay: 4 is preferred, five go.
    policy = Dynamic(8, 1.0, preferred=(4,), timeout_s=100.0)
    assert sent(run(policy, [0, 0, 0, 0, 1, 2, 3, 4, 5], took=10.0))[1] == (10, [4, 5, 6, 7, 8])


def test_a_preferred_batch_goes_at_once_and_the_rest_waits() -> None:
    # Of five the first four go at 0 and the fifth when it is due, at 9.
    found = run(Dynamic(8, 9.0, preferred=(4,)), [0, 0, 0, 0, 0])
    assert sent(found) == [(0, [0, 1, 2, 3]), (9, [4])]


def test_what_would_pass_the_largest_preferred_size_is_left_for_the_next_batch() -> None:
    # 3 + 3 passes 4, so 3 goes alone, although 8 would fit; the other is due at 5.
    found = run(Dynamic(8, 5.0, preferred=(4,)), [0, 0], sizes=[3, 3])
    assert sent(found) == [(0, [0]), (5, [1])]


def test_batches_formed_ahead_stop_at_the_largest_preferred_size() -> None:
    # Busy to 4 with no delay. Formed ahead: 4 are full and closed, 2 follow. Formed when idle: 4.
    # Then with a delay of 1, past: ahead, 4 merge with the 2 that are overdue; when idle, all 6.
    arrivals = [0, 1, 1, 1, 1, 1, 1]
    for prefetch, delay, expected in (
        (True, 0.0, [1, 4, 2]),
        (False, 0.0, [1, 4, 2]),
        (True, 0.5, [1, 6]),
        (False, 0.5, [1, 6]),
    ):
        policy = Dynamic(8, delay, preferred=(4,), prefetch=prefetch)
        found = run(policy, arrivals, took=4.0)
        assert np.bincount(found.batch).tolist() == expected


def test_a_batch_formed_ahead_and_looked_at_too_early_grows_no_more() -> None:
    # B=4, delay 1, 10 s a batch. Request 0 runs 1-11. 1-4 (at 2) fill a payload; 5 (at 3) is due
    # at 4 and waits in one of its own. At 11 the full one leaves, 5's is overdue but does not fit:
    # it is closed to 6 (at 12), which alone is due at 13, so at 21 it has waited and is merged;
    # 7 (at 20.5) is not due before 21.5 and goes at 31, where it could have gone at 21.
    arrivals = [0, 2, 2, 2, 2, 3, 12, 20.5]
    ahead = run(Dynamic(4, 1.0, prefetch=True), arrivals, took=10.0)
    assert sent(ahead) == [(1, [0]), (11, [1, 2, 3, 4]), (21, [5, 6]), (31, [7])]
    plain = run(Dynamic(4, 1.0), arrivals, took=10.0)
    assert sent(plain) == [(1, [0]), (11, [1, 2, 3, 4]), (21, [5, 6, 7])]


def test_a_full_queue_refuses_and_what_runs_does_not_count() -> None:
    # 0 runs; 1 and 2 wait; 3 is refused at 0.5. At 1.5 only 2 waits: 4 is taken.
    found = run(Dynamic(1, max_queue=2), [0, 0.25, 0.25, 0.5, 1.5])
    assert [found.count("queue_full"), found.count("served")] == [1, 4]
    assert found.finish_s.tolist() == [1, 2, 3, 0.5, 4]


def test_the_delayed_come_after_all_others_of_their_level() -> None:
    # Busy 0-4. Request 1 (at 0.5) passes its 2 s at 2.5; 2 (at 3) does not: 0, 2, 1.
    found = run(Dynamic(1, timeout_s=2.0, timeout_action="delay"), [0, 0.5, 3], took=4.0)
    assert found.dispatch_s.tolist() == [0, 8, 4]


def test_a_level_is_served_before_the_next() -> None:
    found = run(Dynamic(1, levels=2), [0, 0.25, 0.5, 0.75], priorities=[2, 2, 1, 2])
    assert found.dispatch_s.tolist() == [0, 2, 1, 3]


def test_utilisation_is_counted_from_the_first_arrival() -> None:
    # Two instances, one busy for 4 s of the 8 from 100 to 108, the other for 4.
    policy = Dynamic(1, instances=2)
    assert run(policy, [100, 104], took=4.0).utilisation == 0.5
    assert simulate_long(policy, [[100.0], [104.0]], [0.0, 4.0]).utilisation == 0.5


def test_the_earliest_free_of_several_instances_takes_the_batch() -> None:
    # Two instances, 4 s each: free at 4 and 5.
    assert run(Dynamic(1, instances=2), [0, 1, 2, 3], took=4.0).dispatch_s.tolist() == [0, 1, 4, 5]


def test_ordered_answers_wait_for_those_before_them() -> None:
    # Requests of 2 items take 5 s, of 1 item 1 s; both start at once.
    policy = Dynamic(2, instances=2, preferred=(1, 2))
    late = replace(policy, tie="dispatch_first", preserve_ordering=True)
    found = simulate(late, [0, 0.5], [0, 1, 5], sizes=[2, 1])
    assert found.dispatch_s.tolist() == [0, 0.5]
    assert found.finish_s.tolist() == [5, 5]
    free = simulate(replace(late, preserve_ordering=False), [0, 0.5], [0, 1, 5], sizes=[2, 1])
    assert free.finish_s.tolist() == [5, 1.5]


def test_without_dynamic_batching_each_request_runs_alone() -> None:
    assert run(OneByOne(4), [0, 0, 0]).dispatch_s.tolist() == [0, 1, 2]
    found = run(OneByOne(4), [0, 0, 0], sizes=[2, 4, 5])
    assert found.dispatch_s.tolist()[:2] == [0, 1]
    assert found.count("too_large") == 1


def poisson(number: int, rate: float, seed: int = 3) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, number))


LINEAR = 0.05 + 0.01 * np.arange(9)


def test_little_holds_in_the_same_run() -> None:
    arrivals = poisson(100_000, 45.0)
    sizes = np.random.default_rng(4).integers(1, 3, len(arrivals)).tolist()
    for policy, more in (
        (Dynamic(8, 0.02, instances=2), {}),
        (Dynamic(8, 0.02, preferred=(4,), timeout_s=0.1), {"sizes": sizes}),
        (Dynamic(8, 0.02, preferred=(4,), prefetch=True, instances=2), {"sizes": sizes}),
        (Static(5), {}),
    ):
        assert simulate(policy, arrivals, LINEAR[: 6 if policy == Static(5) else 9],
                        **more).little_error < 1e-9  # fmt: skip


def test_a_longer_delay_makes_larger_batches() -> None:
    arrivals = poisson(200_000, 20.0)
    means = [
        simulate(Dynamic(8, delay), arrivals, LINEAR).mean_batch
        for delay in (0.0, 0.01, 0.05, 0.1, 0.2, 0.5, math.inf)
    ]
    assert means == sorted(means)
    assert means[-1] == 8.0


@pytest.mark.parametrize(
    ("policy", "rate", "base", "slope", "mean_wait", "mean_batch"),
    [
        (Dynamic(8), 20.0, 0.05, 0.01, 0.027841862517620088, 1.5896690171179912),
        (Dynamic(4), 3.0, 1.0, 0.0, 0.7584272898885525, 3.0337561826092756),
        (Dynamic(8, 0.02), 100.0, 0.01, 0.002, 0.013316509989196628, 3.0007461355265987),
        (Dynamic(32, 0.05), 300.0, 0.02, 0.001, 0.02656327240425953, 15.997555573508368),
    ],
)
def test_means_are_those_of_chains_and_of_another_simulator(
    policy: Dynamic, rate: float, base: float, slope: float, mean_wait: float, mean_batch: float
) -> None:
    # Exact chains (lin_b8_l20, md_bulk_4_3.0) and runs of 4e7 (delay_*), from the notes' reference.
    service = base + slope * np.arange(policy.max_batch + 1)
    found = simulate_long(policy, pieces(2_000_000, rate), service)
    assert found.wait.mean_s == pytest.approx(mean_wait, rel=0.01)
    assert found.mean_batch == pytest.approx(mean_batch, rel=0.005)


def pieces(number: int, rate: float, piece: int = 50_000) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(5)
    last = 0.0
    for _ in range(number // piece):
        times = last + np.cumsum(rng.exponential(1 / rate, piece))
        last = float(times[-1])
        yield times


@pytest.mark.parametrize(
    "policy",
    [
        Dynamic(8),
        Dynamic(8, 0.05, instances=3, tie="dispatch_first"),
        Static(8, at_end="strand"),
        Static(8, 2),
        OneByOne(8, instances=5),
    ],
)
def test_a_long_run_in_pieces_is_the_run_of_all_at_once(policy: Policy) -> None:
    arrivals = np.round(poisson(5003, 45.0) * 64) / 64
    whole = simulate(policy, arrivals, LINEAR)
    served = whole.outcome == 0
    for width in (1, 7, 1000):
        found = simulate_long(
            policy, (arrivals[i : i + width] for i in range(0, len(arrivals), width)), LINEAR
        )
        assert (found.served, found.stranded) == (served.sum(), (~served).sum())
        assert np.array_equal(found.batch_sizes, whole.batch_sizes)
        assert found.wait.count == found.latency.count == found.served
        assert found.wait.sum_s == pytest.approx(whole.wait_s[served].sum(), rel=1e-12)
        assert found.wait.max_s == whole.wait_s[served].max()
        assert found.wait.min_s == whole.wait_s[served].min()
        assert found.latency.quantile(0.99) == pytest.approx(
            np.quantile((whole.finish_s - arrivals)[served], 0.99), rel=1e-3
        )
        assert found.end_s == whole.finish_s[served].max()
        assert found.busy_s == pytest.approx(whole.busy_s, rel=1e-12)
        assert found.utilisation == pytest.approx(whole.utilisation, rel=1e-12)
        assert found.little_error < 1e-9


def test_memory_of_a_long_run_does_not_grow_with_it() -> None:
    def peak(number: int) -> int:
        tracemalloc.start()
        simulate_long(Dynamic(8, 0.01), pieces(number, 45.0), LINEAR)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(100_000)  # compiled, caches filled
    assert peak(4_000_000) < 1.2 * peak(400_000)


def test_a_long_run_is_only_of_what_size_and_delay_decide() -> None:
    with pytest.raises(UsageError, match="needs a row a request"):
        simulate_long(Dynamic(8, max_queue=3), [[0.0]], LINEAR)
    with pytest.raises(UsageError, match="no arrivals"):
        simulate_long(Dynamic(8), [], LINEAR)
    with pytest.raises(UsageError, match="no arrivals"):
        simulate_long(Dynamic(8), [[], []], LINEAR)
    with pytest.raises(UsageError, match="comes before"):
        simulate_long(Dynamic(8), [[1.0], [0.5]], LINEAR)
