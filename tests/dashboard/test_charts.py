from __future__ import annotations

import pandas as pd
import pytest

pytest.importorskip("altair")

from perfkit.dashboard import batching, charts, fronts, history, table
from perfkit.dashboard.index import parse
from perfkit.dashboard.slim import slim
from tests.dashboard.files import SWEEP, run, validation


def cells() -> pd.DataFrame:
    runs = (("a", run(day=1)), ("b", run(day=2, rate=110.0, commit="def456")))
    return table.cells_frame((label, slim(one, "perfkit")) for label, one in runs)


def test_arms_differ_in_shape_where_colours_come_again() -> None:
    colour, shape = charts._looks([f"arm {at:02}" for at in range(36)], "arm")
    pairs = zip(colour.to_dict()["scale"]["range"], shape.to_dict()["scale"]["range"], strict=True)
    assert len(set(pairs)) == 36


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
        charts.pareto(fronts.placed(rows)),
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


def test_a_long_interval_does_not_press_the_changes_together() -> None:
    rows = pd.DataFrame(
        {
            "pair": ["x", "y"], "attention": ["fmha", "fmha"], "change": [-20.0, 10.0],
            "low": [-90.0, 9.0], "high": [2000.0, 11.0], "runs": [2, 5],
        }
    )  # fmt: skip
    (domain,) = [
        layer["encoding"]["x"]["scale"]["domain"]
        for layer in charts.changes(rows, "TTFT").to_dict()["layer"]
        if "scale" in layer.get("encoding", {}).get("x", {})
    ]
    assert domain == [pytest.approx(-29.0), pytest.approx(19.0)]


def test_axes_are_logarithmic_over_a_decade() -> None:
    assert charts._scale(pd.Series([1.0, 10.0])).to_dict()["type"] == "log"
    assert "type" not in charts._scale(pd.Series([1.0, 9.0])).to_dict()
    assert "type" not in charts._scale(pd.Series([0.0, 9.0])).to_dict()
