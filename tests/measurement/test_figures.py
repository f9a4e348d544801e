from __future__ import annotations

from typing import Any

import pytest

from perfkit.architectures import ARCHITECTURES
from perfkit.cases import Case
from perfkit.measurement import figures
from tests.measurement.fake_backend import fake_lab

CASE = Case.parse("torch-eager/llama-tiny/bf16/fmha/b2/p11/n5/tp1")


def used(tp: int, device: str) -> dict[str, Any]:
    lab = fake_lab()
    lab.device = device
    row = {"ttft_s": 0.5, "e2e_s": 1.5}
    return figures._utilisation(
        CASE.but(tp=tp), lab, ARCHITECTURES["llama-tiny"], row, {"phases": {}}, {}
    )


def test_two_gpus_have_two_ceilings_and_two_processes_on_a_cpu_one() -> None:
    one = used(1, "cuda")
    assert used(1, "cpu") == used(2, "cpu") == one
    assert used(2, "cuda") == {name: pytest.approx(value / 2) for name, value in one.items()}


def test_what_processes_tell_of_their_memory_stands_for_perfkits_own() -> None:
    measured = figures.Measured((), (), (), None, ("none", "none"), ("none", "none"), 1.0)
    absent: dict[str, str] = {}
    row = figures._memory(CASE, fake_lab(), measured, {"peak_rss_bytes": 7}, absent)
    assert row["peak_rss_bytes"] == 7
    assert "peak_rss_bytes" not in absent
    assert "peak_device_bytes" in absent
    assert figures._memory(CASE, fake_lab(), measured, {}, absent)["peak_rss_bytes"] is None
