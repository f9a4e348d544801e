from __future__ import annotations

import numpy as np

from perfkit.profiling.phases import Range, at_times, of_launches, on_threads


def test_a_range_holds_its_start_and_not_its_end() -> None:
    ranges = [Range("prefill", 10, 20, 1), Range("decode", 20, 30, 1)]
    times = np.array([29.0, 9.0, 10.0, 30.0, 20.0])
    assert at_times(times, ranges).tolist() == [2, 0, 1, 0, 2]


def test_the_inner_range_counts() -> None:
    ranges = [Range("decode", 12, 15, 1), Range("prefill", 10, 20, 1)]
    assert at_times(np.array([11.0, 13.0, 16.0]), ranges).tolist() == [1, 2, 1]


def test_a_range_is_of_its_own_thread() -> None:
    ranges = [Range("prefill", 0, 10, "a")]
    found = on_threads(np.array([5.0, 5.0]), np.array([0, 1]), ["a", "b"], ranges)
    assert found.tolist() == [1, 0]


def test_work_has_the_phase_of_its_call_and_without_one_of_its_time() -> None:
    """Work 5 was called outside every phase, and ran within one; work 6 has no call."""
    found = of_launches(
        ids=np.array([4, 5, 6, -1]),
        starts=np.array([1.0, 1.0, 1.0, 99.0]),
        call_ids=np.array([5, 4]),
        call_codes=np.array([0, 2], np.int8),
        ranges=[Range("prefill", 0, 10, 1)],
    )
    assert found.tolist() == [2, 0, 1, 0]
