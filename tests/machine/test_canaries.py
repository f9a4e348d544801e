from __future__ import annotations

import pytest

from perfkit.machine import canaries


def test_every_canary_is_timed_in_windows() -> None:
    found = canaries.measure("cpu")
    assert set(found) == {"gemm", "copy", "host"}
    for times in found.values():
        assert len(times) == 12
        assert min(times) > 0


@pytest.mark.gpu
def test_canaries_of_a_gpu_are_timed_on_the_device() -> None:
    found = canaries.measure("cuda")
    assert set(found) == {"gemm", "copy", "host"}
    # 2 x 8192 cubed in bf16, at less than 5 PFLOP/s.
    assert min(found["gemm"]) > 2 * 8192**3 / 5e15
