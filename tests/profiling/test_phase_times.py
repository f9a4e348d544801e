from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from perfkit.profiling.phase_times import exclusive, phase_times
from perfkit.profiling.table import EVENTS, RANGES, Profile, kernel_table


def profile(events: list[tuple[Any, ...]], ranges: list[tuple[Any, ...]]) -> Profile:
    frame = pd.DataFrame(events, columns=list(EVENTS))
    return Profile(
        "torch", "made up", kernel_table(frame), frame, pd.DataFrame(ranges, columns=list(RANGES))
    )


# A prefill submitted at 1 s, whose kernels run from 2 to 5; two steps to 6 and to 8.
TWO_STEPS = profile(
    [
        ("nvjet_gemm", "prefill", "0", 7, 2.0, 2.0),
        ("flash_fwd_kernel", "prefill", "0", 7, 4.0, 1.0),
        ("nvjet_gemm", "decode", "0", 7, 5.25, 0.75),
        ("nvjet_gemm", "decode", "0", 7, 7.0, 0.5),
        ("argmax_kernel", "decode", "0", 7, 7.5, 0.5),
        ("nvjet_gemm", "", "0", 7, 9.0, 1.0),
        ("nvjet_gemm", "decode", "1", 7, 5.0, 0.1),
    ],
    [("prefill", 1.0, 1.5), ("decode", 1.5, 2.0), ("decode", 2.0, 2.5)],
)


def test_a_phase_is_its_kernels_by_class_and_the_window_that_they_lie_in() -> None:
    found = phase_times(TWO_STEPS)
    prefill, decode = found["prefill"], found["decode"]
    assert (prefill.calls, prefill.launches, prefill.window_s) == (1, 2, 4.0)
    assert prefill.classes == {"gemm": 2.0, "fmha": 1.0}
    # From the end of the prefill's last kernel to the end of the second step's: 3 s of two steps.
    assert (decode.calls, decode.launches, decode.window_s) == (2, 1.5, 1.5)
    assert decode.classes == {"gemm": 0.625, "sampling": 0.25}
    assert decode.busy_s == pytest.approx(0.875)
    assert decode.to_json()["shares"]["gemm"] == pytest.approx(0.625 / 0.875)


def test_a_moment_is_counted_once_where_streams_overlap() -> None:
    events = pd.DataFrame(
        {"start_s": [0.0, 1.0, 1.5, 5.0], "duration_s": [2.0, 3.0, 0.5, 1.0], "device": "0"}
    )
    # The second adds from 2 to 4, the third lies within it.
    assert exclusive(events).tolist() == [2.0, 2.0, 0.0, 1.0]


def test_self_times_of_operators_are_summed_as_they_are() -> None:
    # A parent from 0 to 3 whose child runs from 1 to 2: 2 s of its own, and 1 s.
    events = pd.DataFrame({"start_s": [0.0, 1.0], "duration_s": [2.0, 1.0], "device": "cpu"})
    assert exclusive(events).tolist() == [2.0, 1.0]


def test_without_ranges_or_events_there_are_no_phases() -> None:
    assert phase_times(profile([("k", "", "0", 1, 0.0, 1.0)], [])) == {}
    sums = Profile("nsys-stats", "x", kernel_table(pd.DataFrame(columns=list(EVENTS))))
    assert phase_times(sums) == {}
