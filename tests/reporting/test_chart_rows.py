from __future__ import annotations

import pytest

from perfkit.profiling.explain import moved
from perfkit.reporting import chart_rows
from perfkit.reporting.scene import set_scene
from perfkit.results.ablation import ablate
from tests.profiling.test_explain import COMPILED, EAGER
from tests.reporting.documents import GIB, cell, document, matrix, small
from tests.reporting.test_profiling import profiled


def test_a_cell_that_another_of_its_machine_beats_is_told_so() -> None:
    made = document(
        cell("torch-compile", batch=8, rate=900.0),
        cell("torch-eager", batch=8, rate=300.0),
        cell("torch-eager", batch=1, rate=20.0, verdict="unstable"),
    )
    states = {row["arm"]: row["state"] for row in chart_rows.throughput_rows(set_scene([made]))}
    assert states["torch-compile fmha"] == "on the front"
    found = [row["state"] for row in chart_rows.throughput_rows(set_scene([made]))]
    assert found == ["on the front", "beaten by another", "unstable"]


def test_cells_of_two_machines_do_not_beat_each_other() -> None:
    fast, slow = document(cell("torch-compile", rate=900.0)), document(cell(rate=300.0))
    slow["perfkit"]["machine"] = {"key": "h100", "name": "NVIDIA H100", "fields": {}}
    found = chart_rows.throughput_rows(set_scene([fast, slow]))
    assert [row["state"] for row in found] == ["on the front", "on the front"]


def test_a_latency_line_ends_at_the_largest_sample() -> None:
    name, body = cell(new=2, rounds=4)
    body["samples"] |= {"ttft_s": [0.4, 0.1, 0.2, 0.3], "itl_s": [[0.01], [0.02], [0.03], [0.04]]}
    ttft, itl = chart_rows.latency_rows(set_scene([document((name, body))]))
    assert ttft["ms"] == [100, 100, 200, 300, 400]
    assert ttft["share"] == [0, 0.25, 0.5, 0.75, 1]
    assert (itl["latency"], itl["samples"], itl["ms"][-1]) == ("between tokens", 4, 40)


def test_many_lines_have_few_places_each() -> None:
    found = chart_rows.latency_rows(set_scene([matrix()]))
    assert len(found) > 500
    assert sum(len(row["ms"]) for row in found) < 20_000
    assert all(row["share"][-1] == 1 for row in found)


def test_memory_has_the_parts_of_the_forecast_and_the_peak() -> None:
    name, body = cell()
    found = chart_rows.memory_rows(set_scene([document((name, body))]).cells)
    assert [row["part"] for row in found] == [
        "forecast: weights", "forecast: KV cache", "forecast: activations", "measured: peak device",
    ]  # fmt: skip
    assert found[0]["GiB"] == pytest.approx(12.6, abs=1e-6)
    assert found[3]["GiB"] == body["metrics"]["peak_device_bytes"] / GIB
    bars = {row["bar"] for row in chart_rows.memory_rows(set_scene([small()]).cells)
            if "oom" in row["verdict"]}  # fmt: skip
    assert bars == {"forecast"}


def test_a_pair_without_an_interval_has_a_point_for_one() -> None:
    plain, fused = cell(attention="nofmha", rate=100.0), cell(rate=150.0)
    for (_, body), kernel in ((plain, "softmax_kernel"), (fused, "flash_fwd_kernel")):
        told = {"attention_kernels": {kernel: 32}}
        body["attention"] = {"prefill": told, "decode": told}
    pairs = ablate([document(plain, fused)])
    (row,) = chart_rows.ablation_rows(pairs, {"output_tokens_per_s": "throughput"})
    assert (row["change (%)"], row["low"], row["high"], row["runs"]) == (
        pytest.approx(50), pytest.approx(50), pytest.approx(50), 1,
    )  # fmt: skip


def test_a_breakdown_adds_up_to_the_whole() -> None:
    found = chart_rows.breakdown_rows([{"perfkit": {"cells": {"it": profiled()}}}])
    prefill = [row for row in found if row["cell"].endswith("prefill")]
    assert {row["class"]: row["ms"] for row in prefill} == {
        "gemm": 2000, "fmha": 1000, "idle gaps": 1000
    }  # fmt: skip
    assert sum(row["share (%)"] for row in prefill) == pytest.approx(100)


def test_a_waterfall_ends_where_b_stands() -> None:
    told = moved(EAGER, COMPILED, "decode")
    found = chart_rows.waterfall_rows(told)
    assert found[0]["to"] == 1e3 * told.a.wall_s
    assert found[-2]["to"] == pytest.approx(found[-1]["to"])
    assert found[-1]["to"] == 1e3 * told.b.wall_s
    assert [row["label"] for row in found] == ["20", "+0.5", "+0.2", "-2", "-13.7", "5"]
