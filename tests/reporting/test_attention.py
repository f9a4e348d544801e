from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from perfkit.errors import UsageError
from perfkit.reporting.attention import (
    figure,
    geometric_mean,
    has_picture,
    has_speed,
    rows,
    tables,
)

LONG = "bf16/causal/b1/h16/kv16/q16384/k16384/d128"
SHORT = "bf16/causal/b32/h16/kv16/q512/k512/d128"
DECODE = "bf16/full/b1/h32/kv8/q1/k4096/d128"


def cell(provider: str, problem: str, rate: float | None, **changes: Any) -> dict[str, Any]:
    rates = {"flop_per_s": rate, "kv_bytes_per_s": rate, "median_s": rate and 1 / rate}
    made = {"provider": provider, "problem": problem, "cache": "cold", "verdict": "ok",
            "reason": None, "share_of_ceiling": rate and rate / 8e14, "accuracy": None}  # fmt: skip
    return made | rates | changes


def document(*cells: dict[str, Any]) -> dict[str, Any]:
    keyed = {f"{c['provider']}/{c['problem']}/{c['cache']}": c for c in cells}
    both = keyed | {
        name.replace("/cold", "/hot"): c | {"cache": "hot"} for name, c in keyed.items()
    }
    return {
        "perfkit_attention": {
            "cells": both,
            "machine": {"name": "NVIDIA H200"},
            "session": {"started": "2026-11-24T08:00:00+00:00"},
            "ceilings": {"gemm_flop_per_s": {"bf16": 8e14}},
        }
    }


TIMED = document(
    cell("triton", LONG, 5e14),
    cell("triton-hopper", LONG, 6.6e14, verdict="unstable"),
    cell("torch-cudnn", LONG, 6e14),
    cell("flex", LONG, None, verdict="crash", reason="RuntimeError"),
    cell("triton-hopper", SHORT, 3e14),
    cell("torch-cudnn", SHORT, 4e14),
    cell("triton-decode", DECODE, 2.6e12),
    cell("torch-flash", DECODE, 2e12),
)


def printed(shown: dict[str, Any]) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    for table in tables(shown):
        console.print(table)
    return console.export_text()


def test_the_ratio_is_our_best_kernel_over_the_best_peer() -> None:
    long, short, decode = rows(TIMED, "cold")
    assert long.best(("triton", "triton-hopper")) == ("triton-hopper", 6.6e14)
    assert long.ratio == pytest.approx(1.1)
    assert short.ratio == pytest.approx(0.75)
    assert decode.ratio == pytest.approx(1.3)


def test_the_geometric_mean_by_hand() -> None:
    assert geometric_mean([0.5, 2.0, 8.0]) == pytest.approx(2.0)
    assert geometric_mean([]) is None


def test_the_table_shows_rates_doubts_verdicts_and_the_mean() -> None:
    text = printed(TIMED)
    assert "bf16 d128 causal b1 h16 s16384" in text
    assert "~660" in text
    assert "crash" in text
    assert "1.100" in text
    assert f"{(1.1 * 0.75) ** 0.5:.3f}" in text
    assert "2,600" in text
    assert "L2 flushed before each call" in text
    assert "L2 just used" in text


def test_a_peer_without_a_rate_takes_no_part_in_the_ratio() -> None:
    alone = document(cell("triton", SHORT, 3e14), cell("flex", SHORT, None, verdict="oom"))
    assert rows(alone, "cold")[0].ratio is None


def test_the_interpreter_has_errors_and_no_speed() -> None:
    accuracy = {"max_abs": 1e-7, "max_abs_limit": 1e-6, "rel_l2": 2e-7}
    checked = document(cell("triton", SHORT, None, accuracy=accuracy))
    assert not has_speed(checked)
    text = printed(checked)
    assert "no speed" in text
    assert "TFLOP" not in text
    assert "2.0e-07" in text
    with pytest.raises(UsageError, match="timed on a GPU"):
        figure(checked)


def test_decode_alone_has_a_table_and_no_picture() -> None:
    decode = document(cell("triton-decode", DECODE, 2.6e12))
    assert has_speed(decode)
    assert not has_picture(decode)
    assert has_picture(TIMED)


def test_the_picture_has_a_panel_a_mask_and_head_dim() -> None:
    drawn = figure(TIMED)
    assert [axes.get_title(loc="left") for axes in drawn.axes] == [
        "head_dim 128, causal, half the FLOPs counted"
    ]
    curves = {tuple(line.get_ydata()) for line in drawn.axes[0].lines}
    assert (660.0, 300.0) in curves or (300.0, 660.0) in curves
    assert "NVIDIA H200" in drawn.get_suptitle()


def test_a_document_without_attention_says_so() -> None:
    with pytest.raises(UsageError, match="no attention cells"):
        rows({"perfkit": {"cells": {}}}, "cold")


def test_what_nobody_measured_says_so_in_every_table() -> None:
    made = {"perfkit_attention": TIMED["perfkit_attention"] | {"synthetic": "a script"}}
    assert all("SYNTHETIC" in str(table.title) for table in tables(made))
    assert not any("SYNTHETIC" in str(table.title) for table in tables(TIMED))
