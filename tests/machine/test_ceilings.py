from __future__ import annotations

import json
import math

import pytest

from perfkit.machine import ceilings
from perfkit.machine.ceilings import Ceilings, Sizes, judge

TINY = Sizes(gemm_n=64, buffer_bytes=2**20, windows=2)
GOOD = {"fp32": 50e12, "bf16": 790e12}


def test_a_well_measured_h200_has_no_reasons() -> None:
    assert judge("NVIDIA H200", GOOD, 4233e9, 4300e9) == ()


@pytest.mark.parametrize(
    ("bf16", "copy", "read", "reason"),
    [
        (749e12, 4233e9, 4300e9, "bf16 GEMM 749.0 TFLOP/s is under 750 on an H200"),
        (790e12, 3999e9, 4300e9, "copy 3999 GB/s is under 4000 on an H200"),
        (790e12, 4233e9, 4232e9, "read 4232 GB/s is under copy 4233 GB/s"),
    ],
)
def test_each_rule_of_the_h200(bf16: float, copy: float, read: float, reason: str) -> None:
    assert judge("NVIDIA H200", {"bf16": bf16}, copy, read) == (reason,)


def test_the_h200_floors_hold_for_no_other_machine() -> None:
    assert judge("NVIDIA A100", {"bf16": 250e12}, 1500e9, 1600e9) == ()
    assert judge("NVIDIA H200", {"fp32": 50e12}, 4233e9, 4300e9) == ()


def test_read_under_copy_counts_on_every_gpu_and_no_cpu() -> None:
    assert len(judge("Tesla T4", {}, 250e9, 240e9)) == 1
    assert judge("AMD EPYC", {}, 35e9, 33e9) == ()


def test_what_was_not_measured_is_a_reason() -> None:
    reasons = judge("NVIDIA H200", GOOD, math.nan, math.nan)
    assert reasons == ("copy was not measured", "read was not measured")


def test_tiny_ceilings_on_the_cpu() -> None:
    measured = ceilings.measure("cpu", ["fp32", "fp16", "bf16"], TINY)
    assert measured.verdict == "ok"
    assert set(measured.gemm_flop_per_s) == {"fp32", "bf16"}
    assert all(rate > 0 for rate in measured.gemm_flop_per_s.values())
    assert measured.copy_bytes_per_s > 0
    assert measured.read_bytes_per_s > 0
    assert measured.method["read_kernel"] in {"sum_fp32", "amax_fp32", "row_sum_fp32"}
    record = json.loads(json.dumps(measured.to_json(), allow_nan=False))
    assert record["copy_bytes_per_s"] == measured.copy_bytes_per_s
    assert record["reasons"] == []


def test_rates_follow_from_the_best_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "host_times", lambda *_: [0.5, 0.25, 1.0])
    measured = ceilings.measure("cpu", ["fp32"], TINY)
    assert measured.gemm_flop_per_s == {"fp32": 2 * 64**3 / 0.25}
    assert measured.copy_bytes_per_s == 2 * 2**20 / 0.25
    assert measured.read_bytes_per_s == 2**20 / 0.25


def test_the_product_grows_until_it_takes_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def product(_bench: object, n: int, _precision: str) -> object:
        sizes.append(n)
        return lambda: None

    def times(_call: object, _window_s: float, windows: int) -> list[float]:
        return [(sizes[-1] / 512) ** 3 * 0.004] * windows

    monkeypatch.setattr(ceilings, "product", product)
    monkeypatch.setattr(ceilings, "host_times", times)
    measured = ceilings.measure("cpu", ["fp32"], Sizes(buffer_bytes=2**20))
    # 0.004 s, 0.032 s, 0.256 s: the third is over 0.2 s.
    assert measured.method["gemm_fp32"] == {"n": 2048, "times_s": [0.256, 0.256, 0.256]}


def test_one_bad_precision_loses_no_other_ceiling() -> None:
    measured = ceilings.measure("cpu", ["fp8", "fp32"], TINY)
    assert measured.verdict == "INVALID"
    assert measured.reasons == (
        "gemm fp8 failed: ValueError: precision 'fp8' is not known: give one of fp32, fp16, bf16",
    )
    assert list(measured.gemm_flop_per_s) == ["fp32"]
    assert measured.read_bytes_per_s > 0


def test_a_failed_copy_leaves_the_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> list[float]:
        raise MemoryError

    monkeypatch.setattr(ceilings, "_copy_times", fail)
    measured = ceilings.measure("cpu", [], TINY)
    assert measured.reasons == ("copy failed: MemoryError: ", "copy was not measured")
    assert measured.to_json()["copy_bytes_per_s"] is None
    assert measured.read_bytes_per_s > 0


def test_an_absent_gpu_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    measured = ceilings.measure("cuda", ["bf16"])
    assert isinstance(measured, Ceilings)
    assert measured.reasons == ("torch sees no CUDA device",)
    assert measured.to_json()["read_bytes_per_s"] is None
