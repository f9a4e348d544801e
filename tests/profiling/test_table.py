from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from perfkit.profiling.table import EVENTS, KERNELS, event_table, finished, kernel_table


def made(seed: int, count: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return event_table(
        (["a_gemm", "flash", "x"], rng.integers(0, 3, count)),
        (["0", "1"], rng.integers(0, 2, count)),
        rng.integers(0, 3, count),
        rng.integers(-1, 4, count),
        rng.uniform(0, 9, count),
        rng.exponential(1e-5, count),
    )


@pytest.mark.parametrize("seed", range(20))
def test_no_launch_is_lost_and_shares_add_up_to_one(seed: int) -> None:
    events = made(seed, 1 + 37 * seed)
    assert tuple(events.columns) == EVENTS
    kernels = kernel_table(events)
    assert tuple(kernels.columns) == KERNELS
    assert kernels["calls"].sum() == len(events)
    assert kernels["total_s"].sum() == pytest.approx(events["duration_s"].sum(), rel=1e-12)
    assert kernels["share"].sum() == pytest.approx(1, abs=1e-12)
    assert not kernels.duplicated(["name", "phase", "device", "stream"]).any()
    assert kernels["total_s"].is_monotonic_decreasing


def test_a_total_that_is_not_known_has_no_share() -> None:
    sums = pd.DataFrame(
        {
            "name": ["a", "b_gemm"], "phase": "", "device": "0", "stream": 7, "calls": [1, 2],
            "total_s": [math.nan, 3.0],
        }
    )  # fmt: skip
    found = finished(sums)
    assert found["name"].tolist() == ["b_gemm", "a"]
    assert found["mean_s"].tolist()[0] == 1.5
    assert found["share"].tolist()[0] == 1.0
    assert found.loc[1, ["total_s", "mean_s", "share"]].isna().all()


def test_work_that_takes_no_time_has_no_share_of_it() -> None:
    events = made(1, 4).assign(duration_s=0.0)
    assert kernel_table(events)["share"].tolist() == pytest.approx([0.0] * 4)
