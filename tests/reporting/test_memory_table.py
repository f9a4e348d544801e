"""Memory by what holds it: sums by hand, and dashes where nothing is known."""

from __future__ import annotations

import io
from typing import Any

import pytest

from perfkit.reporting.memory_table import account, memory_table
from tests.reporting.documents import GIB, cell, document, large, small


def printed(made: dict[str, Any]) -> str:
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=160, color_system=None).print(memory_table(made))
    return out.getvalue()


def words(*cells: tuple[str, dict[str, Any]]) -> list[str]:
    """Return what the one row of a cell says, its id left out."""
    (line,) = (line for line in printed(document(*cells)).splitlines() if "/b8/" in line)
    return line.split()[1:]


def counted(verdict: str = "ok", **memory: Any) -> tuple[str, dict[str, Any]]:
    """Return a cell of 12 + 2 + 1 GiB forecast, and 15.5 allocated of 17 that NVML saw."""
    name, body = cell(verdict=verdict)
    body["memory"] = {
        "forecast": {"weights_bytes": 12 * GIB, "kv_bytes": 2 * GIB, "activation_bytes": GIB,
                     "total_bytes": 15 * GIB},
        **memory,
    }  # fmt: skip
    body["metrics"] = {
        "peak_allocated_bytes": int(15.5 * GIB), "peak_reserved_bytes": 16 * GIB,
        "peak_device_bytes": 17 * GIB, "peak_rss_bytes": 3 * GIB,
    }  # fmt: skip
    return name, body


def test_the_account_by_hand() -> None:
    one = account(counted(weights_bytes=int(12.75 * GIB))[1])
    assert one.activations == 15.5 * GIB - 12.75 * GIB - 2 * GIB
    assert one.workspace == 1.5 * GIB
    assert one.error == pytest.approx(-0.5 / 15.5)
    assert one.rss is None


def test_a_row_in_gib() -> None:
    assert words(counted(weights_bytes=int(12.75 * GIB))) == [
        "ok", "12.0", "12.8", "2.0", "1.0", "0.75", "1.5", "15.0", "15.5", "16.0", "17.0", "-3.2",
    ]  # fmt: skip


@pytest.mark.parametrize("memory", [{}, {"weights_bytes": None}])
def test_without_measured_weights_there_are_no_measured_activations(memory: dict[str, Any]) -> None:
    assert words(counted(**memory)) == [
        "ok", "12.0", "–", "2.0", "1.0", "–", "1.5", "15.0", "15.5", "16.0", "17.0", "-3.2",
    ]  # fmt: skip


def test_a_cell_without_figures_has_its_forecast_and_what_was_known_before() -> None:
    row = words(counted("oom", weights_bytes=12 * GIB))
    assert row == ["oom", "12.0", "12.0", "2.0", "1.0", "–", "–", "15.0", "–", "–", "–", "–"]
    assert "oom: made up for a test" in printed(document(counted("oom")))


def test_doubtful_cells_keep_their_peaks() -> None:
    assert words(counted("throttled"))[-5:] == ["15.0", "15.5", "16.0", "17.0", "-3.2"]


def test_on_a_cpu_the_rss_stands_for_what_torch_does_not_count() -> None:
    name, body = counted()
    body["metrics"] = {"peak_allocated_bytes": None, "peak_rss_bytes": GIB // 2}
    assert words((name, body)) == [
        "ok", "12.0", "–", "2.0", "1.0", "–", "–", "15.0", "–", "–", "–", "0.5", "–",
    ]  # fmt: skip
    assert "RSS peak: of the whole process" in printed(document((name, body)))
    assert "RSS" not in printed(document(counted()))


@pytest.mark.parametrize("made", [large(), small()])
def test_every_cell_has_one_line(made: dict[str, Any]) -> None:
    lines = printed(made).splitlines()
    assert "…" not in "".join(lines)
    for name in made["perfkit"]["cells"]:
        assert sum(line.startswith(name.removesuffix("/tp1") + " ") for line in lines) == 1


def test_the_notes_say_how_figures_are_made() -> None:
    text = printed(document(counted()))
    assert "alloc. peak less measured weights and KV" in text
    assert "NVML peak less alloc. peak" in text
    assert "(total forecast - alloc. peak) / alloc. peak" in text


def test_bare_cells_are_dashes() -> None:
    text = printed({"perfkit": {"cells": {"x": {}, "y": {"verdict": "ok", "memory": None}}}})
    rows = [line.split() for line in text.splitlines() if line[:1] in {"x", "y"}]
    assert rows == [["x", "unknown", *["–"] * 11], ["y", "ok", *["–"] * 11]]


def test_tensorrt_llms_parts_are_those_its_log_names() -> None:
    name, body = counted(
        device_before_bytes=GIB, weights_bytes=13 * GIB, kv_bytes=3 * GIB, workspace_bytes=GIB
    )
    body["metrics"] |= {"peak_allocated_bytes": None, "peak_reserved_bytes": None}
    one = account(body)
    assert (one.weights, one.kv, one.workspace) == (13 * GIB, 3 * GIB, GIB)
    assert one.activations is one.error is one.rss is None
    assert words((name, body))[:4] == ["ok", "12.0", "13.0", "3.0"]
