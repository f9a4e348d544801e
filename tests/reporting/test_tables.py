"""Ratios only between cells that may be compared; dashes where nothing was measured."""

from __future__ import annotations

import io
from typing import Any

import pytest

from perfkit.reporting.tables import headline, peak, ratio, reference_arm, results_table
from tests.reporting.documents import cell, document, large, small


def printed(made: dict[str, Any], width: int = 120) -> str:
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(results_table(made))
    return out.getvalue()


def test_the_ratio_is_throughput_over_the_reference_arms() -> None:
    assert ratio(cell(rate=300.0)[1], cell(attention="nofmha", rate=120.0)[1]) == 2.5
    assert ratio(cell(rate=60.0)[1], cell(attention="nofmha", rate=120.0)[1]) == 0.5


@pytest.mark.parametrize("verdict", ["unstable", "throttled", "clock_mismatch", "diverged", "oom"])
def test_no_ratio_across_a_verdict_that_is_not_ok(verdict: str) -> None:
    good, bad = cell(rate=300.0)[1], cell(rate=120.0, verdict=verdict)[1]
    assert ratio(good, bad) is None
    assert ratio(bad, good) is None


def test_one_device_is_no_reference_for_two() -> None:
    one, two = cell(attention="nofmha")[1], cell(attention="nofmha")[1]
    two["case"] |= {"tp": 2}
    assert reference_arm(two, {"one": one}) is None
    assert reference_arm(two, {"one": one, "two": two}) is two


@pytest.mark.parametrize("status", ["diverged", "unchecked"])
def test_no_ratio_without_agreement(status: str) -> None:
    good, bad = cell(rate=300.0)[1], cell(rate=120.0, status=status)[1]
    assert ratio(good, bad) is None
    assert ratio(bad, good) is None


def test_no_ratio_across_sessions() -> None:
    _, one = cell(rate=100.0)
    _, two = cell(attention="nofmha", rate=50.0)
    assert ratio(one | {"session": "a"}, two | {"session": "a"}) == 2.0
    assert ratio(one | {"session": "a"}, two | {"session": "b"}) is None


def test_no_ratio_without_figures_or_reference() -> None:
    null = cell()[1]
    null["metrics"]["output_tokens_per_s"] = None
    assert ratio(cell()[1], None) is None
    assert ratio(cell()[1], null) is None
    assert ratio(null, cell()[1]) is None
    assert ratio({}, {}) is None


@pytest.mark.parametrize(
    "other", [{"batch": 16}, {"prompt": 128}, {"new": 8}, {"precision": "fp16"}, {"model": "opt"}]
)
def test_the_reference_arm_has_the_same_shape_model_and_precision(other: dict[str, Any]) -> None:
    cells = dict([cell(attention="nofmha", **other), cell("torch-compile", attention="nofmha")])
    mine = cell("torch-compile")[1]
    assert reference_arm(mine, cells) is None
    right = cell(attention="nofmha")
    assert reference_arm(mine, {**cells, right[0]: right[1]}) is right[1]


def test_the_table_shows_ratios_where_allowed() -> None:
    text = printed(
        document(
            cell(attention="nofmha", rate=100.0),
            cell(rate=175.0),
            cell("torch-compile", rate=333.0, status="diverged"),
        )
    )
    lines = {line.split()[0]: line.split()[-1] for line in text.splitlines() if "/b8/" in line}
    assert list(lines.values()) == ["1.00", "1.75", "–"]


@pytest.mark.parametrize("made", [large(), small()])
def test_every_cell_stands_on_one_line_at_120_columns(made: dict[str, Any]) -> None:
    lines = printed(made).splitlines()
    assert max(map(len, lines)) <= 120
    assert "…" not in "".join(lines)
    for name in made["perfkit"]["cells"]:
        assert sum(line.startswith(name.removesuffix("/tp1") + " ") for line in lines) == 1


def test_null_figures_are_dashes_and_reasons_are_told() -> None:
    text = printed(document(cell(verdict="oom")))
    (line,) = (line for line in text.splitlines() if "/b8/" in line)
    assert line.split()[1:] == ["oom", *["–"] * 10]
    assert "oom: made up for a test" in text
    assert all(unit in text for unit in ("ms", "tok/s", "%", "GiB"))


def test_a_reason_in_brackets_is_no_markup() -> None:
    name, body = cell(verdict="crash")
    body["reason"] = "signal [red]11[/red]"
    assert "signal [red]11[/red]" in printed(document((name, body)))


def test_units_are_converted_for_people() -> None:
    name, body = cell(rate=1234.0)
    body["metrics"] |= {"ttft_s": 0.0525, "tpot_s": 0.00125, "e2e_s": 2.0, "mfu": 0.456,
                        "mbu": 0.5, "peak_device_bytes": None}  # fmt: skip
    (line,) = (line for line in printed(document((name, body))).splitlines() if "/b8/" in line)
    assert line.split()[2:9] == ["52.50", "1.250", "2000", "1234", "45.6", "50.0", "13.0"]


def test_the_best_peak_is_taken() -> None:
    metrics = {"peak_rss_bytes": 3, "peak_allocated_bytes": 2, "peak_device_bytes": 1}
    assert peak({"metrics": metrics}) == ("peak_device_bytes", 1)
    assert peak({"metrics": {**metrics, "peak_device_bytes": None}}) == ("peak_allocated_bytes", 2)
    assert peak({"metrics": {"peak_rss_bytes": 3}}) == ("peak_rss_bytes", 3)
    assert peak({}) is None


def test_the_headline() -> None:
    assert headline(document()) == (
        "NVIDIA H200 | 2026-11-24 | "
        "ceilings: GEMM bf16 760.0 TFLOP/s, copy 4,200 GB/s, read 4,400 GB/s"
    )
    bad = {"verdict": "INVALID", "reasons": ["copy under 4,000 GB/s", "read under copy"]}
    assert headline(document(ceilings=bad)).endswith(
        "ceilings INVALID: copy under 4,000 GB/s; read under copy"
    )
    assert headline(document(ceilings=None)).endswith("ceilings not measured")
    kinds = [
        {
            "case": {"precision": "bf16"},
            "ceilings": {"gemm_flop_per_s": gemm, "copy_bytes_per_s": 4.2e12},
        }
        for gemm in (7.6e14, 8.0e14)
    ]
    swept = document(("a", kinds[0]), ("b", kinds[1]), ceilings=None)
    assert headline(swept).endswith("ceilings: GEMM bf16 760.0 to 800.0 TFLOP/s, copy 4,200 GB/s")
    assert headline({}) == "unknown machine | unknown date | ceilings not measured"
