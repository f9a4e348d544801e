from __future__ import annotations

import pytest
import torch

from perfkit.machine import windows
from perfkit.machine.windows import host_times, product


def test_a_window_holds_a_call_at_least_and_gives_the_time_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]

    def call() -> None:
        now[0] += 0.25

    monkeypatch.setattr(windows.time, "perf_counter", lambda: now[0])
    assert host_times(call, 0.0, 3) == [0.25] * 3
    assert now == [0.75]
    # Four calls fill a second.
    assert host_times(call, 1.0, 1) == [0.25]
    assert now == [1.75]


def test_the_product_is_of_the_size_and_precision_asked_for() -> None:
    out = product("cpu", 8, "bf16")()
    assert isinstance(out, torch.Tensor)
    assert (tuple(out.shape), out.dtype) == ((8, 8), torch.bfloat16)
    with pytest.raises(ValueError, match="precision 'fp8' is not known: give one of fp32"):
        product("cpu", 8, "fp8")
