from __future__ import annotations

import pytest
import torch

from perfkit.machine.windows import host_times, product


def test_a_window_holds_a_call_at_least_and_gives_the_time_of_one() -> None:
    calls: list[int] = []
    assert len(host_times(lambda: calls.append(1), 0.0, 3)) == 3
    assert len(calls) == 3
    (mean,) = host_times(lambda: calls.append(1), 0.01, 1)
    assert len(calls) > 4
    assert 0 < mean < 0.01


def test_the_product_is_of_the_size_and_precision_asked_for() -> None:
    out = product("cpu", 8, "bf16")()
    assert isinstance(out, torch.Tensor)
    assert (tuple(out.shape), out.dtype) == ((8, 8), torch.bfloat16)
    with pytest.raises(ValueError, match="precision 'fp8' is not known: give one of fp32"):
        product("cpu", 8, "fp8")
