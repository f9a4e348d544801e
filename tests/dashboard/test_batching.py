from __future__ import annotations

import pandas as pd
import pytest

from perfkit.dashboard import batching
from perfkit.dashboard.index import parse
from perfkit.errors import UsageError
from tests.dashboard.files import SWEEP, validation


def frame() -> pd.DataFrame:
    source = parse("a.csv", SWEEP.encode())
    assert source is not None
    assert source.frame is not None
    return source.frame


def test_lines_are_policies_and_delays_in_ms_with_their_intervals() -> None:
    made = batching.lines(frame())
    assert list(made["line"]) == ["dynamic, 0 ms", "dynamic, 0 ms", "dynamic, 20 ms", "one-by-one"]
    row = made.iloc[0]
    assert (row["p99_ms"], row["low_ms"]) == (pytest.approx(20.0), pytest.approx(19.0))
    assert row["high_ms"] == pytest.approx(21.0)
    assert list(made["steady"]) == [True, False, True, True]


def test_the_map_is_of_dynamic_batching_at_shares_of_saturation() -> None:
    made = batching.dynamic(batching.lines(frame()))
    assert set(made["policy"]) == {"dynamic"}
    assert len(made) == 3
    closed = batching.lines(frame().assign(arrival="closed"))
    assert batching.dynamic(closed).empty


def test_errors_are_in_percent_and_an_absent_figure_has_no_row() -> None:
    made = batching.errors(validation())
    assert list(made["figure"]) == ["wait", "TTFT", "E2E"]
    row = made.iloc[0]
    assert (row["load"], row["measured ms"], row["predicted ms"]) == (0.3, 20.0, 18.0)
    assert (row["mean off %"], row["p50 off %"], row["p99 off %"]) == (-10.0, -20.0, 30.0)
    assert pd.isna(row["p90 off %"])


def test_a_damaged_validation_says_so() -> None:
    with pytest.raises(UsageError, match=r"is damaged: .*KeyError"):
        batching.errors({"compared": [{"load": 1}]})
