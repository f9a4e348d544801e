from __future__ import annotations

import pandas as pd
import pytest

pytest.importorskip("altair")

from perfkit.dashboard import batching, charts, history, table
from perfkit.dashboard.index import parse
from perfkit.dashboard.slim import slim
from tests.dashboard.files import SWEEP, run, validation


def cells() -> pd.DataFrame:
    runs = (("a", run(day=1)), ("b", run(day=2, rate=110.0, commit="def456")))
    return table.cells_frame((label, slim(one, "perfkit")) for label, one in runs)


def test_every_chart_is_of_vega_lites_grammar() -> None:
    rows = cells()
    source = parse("a.csv", SWEEP.encode())
    assert source is not None
    assert source.frame is not None
    lines = batching.lines(source.frame)
    runs = history.runs_of(rows, str(rows["cell"].iloc[1]))
    ratios = pd.DataFrame({"cell": ["x"], "A": [1.0], "B": [2.0], "ratio": [2.0], "note": [""]})
    made = [
        charts.by_batch(rows),
        charts.history(runs, "TTFT ms"),
        charts.ratios(ratios, "output_tokens_per_s", "output tok/s"),
        charts.p99_over_rate(lines),
        charts.p99_map(batching.dynamic(lines)),
        charts.errors(batching.errors(validation())),
    ]
    assert all(chart.to_dict()["layer"] for chart in made)  # validated as it is made


def test_a_ratio_says_which_way_is_better() -> None:
    rows = pd.DataFrame({"cell": ["x"], "A": [1.0], "B": [2.0], "ratio": [2.0], "note": [""]})
    assert "B ÷ A, less is better" in charts.ratios(rows, "ttft_s", "TTFT ms").to_json()
    more = charts.ratios(rows, "output_tokens_per_s", "output tok/s")
    assert "B ÷ A, more is better" in more.to_json()
