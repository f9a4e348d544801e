from __future__ import annotations

from typing import Any

import pytest

from perfkit.reporting.chart_rows import BEATEN, FRONT
from perfkit.reporting.looks import looks

pytest.importorskip("altair", reason="needs the extra report")

from perfkit.reporting import common_charts


def point(arm: str, seconds: float, rate: float, state: str) -> dict[str, Any]:
    return {"arm": arm, "machine": "H200", "batch": 8, "e2e (s)": seconds, "output token/s": rate,
            "state": state}  # fmt: skip


def test_arms_have_a_shape_each_and_fill_says_what_became_of_a_point() -> None:
    rows = [point("a", 1.0, 9.0, FRONT), point("b", 2.0, 8.0, BEATEN),
            point("b", 3.0, 7.0, "unstable")]  # fmt: skip
    spec = common_charts.pareto(rows, looks(["a", "b"])).to_dict()
    (layer,) = [layer for layer in spec["layer"] if layer["mark"]["type"] == "point"]
    assert layer["encoding"]["shape"]["scale"]["range"] == ["circle", "square"]
    assert layer["encoding"]["color"]["scale"]["domain"] == ["a", "b"]
    grey = layer["encoding"]["color"]["condition"]
    assert grey == {"test": f"datum.state == '{BEATEN}'", "value": common_charts.GREY}
    fill = layer["encoding"]["fill"]
    assert fill["field"] == "arm"
    assert [(one["test"], one["value"]) for one in fill["condition"]] == [
        (f"datum.state == '{BEATEN}'", common_charts.GREY),
        (f"datum.state != '{FRONT}'", "transparent"),
    ]


def test_a_long_interval_does_not_press_the_changes_together() -> None:
    rows: list[dict[str, Any]] = [
        {"pair": "x", "attention": "fmha", "change (%)": -20.0, "low": -90.0, "high": 2e3,
         "runs": 2},
        {"pair": "y", "attention": "fmha", "change (%)": 10.0, "low": 9.0, "high": 11.0, "runs": 5},
    ]  # fmt: skip
    spec = common_charts.changes(rows, "TTFT", looks(["fmha"])).to_dict()
    (domain,) = [
        layer["encoding"]["x"]["scale"]["domain"]
        for layer in spec["layer"]
        if "scale" in layer.get("encoding", {}).get("x", {})
    ]
    assert domain == [pytest.approx(-29.0), pytest.approx(19.0)]


def test_axes_are_logarithmic_over_a_decade() -> None:
    def kind(values: list[float]) -> str | None:
        made = common_charts.axis("x", values)
        found: str | None = made["scale"].to_dict().get("type")
        assert ("log axis" in made["title"]) == (found == "log")
        return found

    assert kind([1.0, 10.0]) == "log"
    assert kind([1.0, 9.0]) is None
    assert kind([0.0, 9.0]) is None
