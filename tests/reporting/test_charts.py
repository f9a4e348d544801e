from __future__ import annotations

import json
from typing import Any

import pytest

from perfkit.profiling.explain import moved
from perfkit.reporting import chart_rows, charts, pooled, profiling, roofline
from perfkit.reporting.scene import set_scene
from tests.profiling.test_explain import COMPILED, EAGER
from tests.reporting.documents import cell, document, large
from tests.reporting.test_profiling import profiled

pytest.importorskip("altair", reason="needs the extra report")
vl_convert = pytest.importorskip("vl_convert", reason="needs the extra report")


def drawn() -> dict[str, Any]:
    made = large()
    scene = set_scene([made])
    shown, over = roofline.points(scene.cells, on_gpu=True), roofline.roofs([made])
    roofs = chart_rows.roof_rows(over, roofline.span(shown, over))
    told = chart_rows.breakdown_rows([{"perfkit": {"cells": {"it": profiled()}}}])
    steps = chart_rows.waterfall_rows(moved(EAGER, COMPILED, "decode"))
    rows = [{"pair": "a pair", "attention": "fmha", "figure": "TTFT", "change (%)": -40.0,
             "low": -45.0, "high": -35.0, "runs": 4}]  # fmt: skip
    points = [{"panel": "head_dim 128, full", "provider": "triton", "length": length,
               "TFLOP/s": 400.0, "verdict": "ok"} for length in (512, 1024)]  # fmt: skip
    both = document(cell(attention="nofmha", rate=100.0), cell(rate=150.0))
    return {
        "effects": charts.effects(chart_rows.effect_rows(pooled.rows([both]))),
        "pareto": charts.pareto(chart_rows.throughput_rows(scene), scene),
        "latency": charts.latency(chart_rows.latency_rows(scene), scene),
        "roofline": charts.roofline(chart_rows.roofline_rows(shown), roofs, scene),
        "memory": charts.memory(chart_rows.memory_rows(scene.cells)),
        "ablation": charts.ablation(rows),
        "breakdown": charts.breakdown(told, profiling.COLOURS),
        "waterfall": charts.waterfall(steps, profiling.COLOURS),
        "attention": charts.attention(points, {"triton": "#E69F00"}),
    }


def test_every_chart_compiles_and_brings_its_data_with_it() -> None:
    for name, chart in drawn().items():
        spec = chart.to_dict()
        assert spec["description"], name
        assert '"url"' not in json.dumps(spec), name
        compiled = vl_convert.vegalite_to_vega(spec)
        assert compiled["marks"], name


def test_arms_have_the_colours_of_the_pictures() -> None:
    scene = set_scene([large()])
    spec = json.dumps(drawn()["pareto"].to_dict())
    assert all(colour in spec for colour in scene.colours.values())


def test_without_rows_there_is_no_chart() -> None:
    scene = set_scene([large()])
    made = [charts.effects([]), charts.pareto([], scene)]
    made += [charts.latency([], scene), charts.memory([]),
            charts.ablation([]),
            charts.breakdown([], {}), charts.attention([], {})]  # fmt: skip
    assert made == [None] * 7
