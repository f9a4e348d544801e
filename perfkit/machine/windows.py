"""Timed windows of back-to-back calls, and the matrix product that ceilings and canaries share."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def host_times(call: Callable[[], object], window_s: float, windows: int) -> list[float]:
    """Return the seconds one call takes by the host's clock, once per window; a call at least."""
    times = []
    for _ in range(windows):
        start, calls = time.perf_counter(), 0
        while calls == 0 or time.perf_counter() - start < window_s:
            call()
            calls += 1
        times.append((time.perf_counter() - start) / calls)
    return times


def device_times(
    call: Callable[[], object], window_s: float, windows: int, pause_s: float = 0.0
) -> list[float]:
    """Return the seconds one call takes by CUDA events, once per window, idle ``pause_s`` before.

    Windows hold back-to-back calls, because single launches would show their gaps.
    """
    call()
    once = _events_s(call, 2, 0.0)
    calls = max(2, math.ceil(window_s / max(once, 1e-6)))
    return [_events_s(call, calls, pause_s) for _ in range(windows)]


def _events_s(call: Callable[[], object], calls: int, pause_s: float) -> float:
    import torch

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    time.sleep(pause_s)
    call()
    start.record()
    for _ in range(calls):
        call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000 / calls


def product(device: str, n: int, precision: str) -> Callable[[], object]:
    """Return a call that multiplies two n by n matrices. Raises ValueError for the precision."""
    import torch

    kinds = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    if precision not in kinds:
        message = f"precision {precision!r} is not known: give one of {', '.join(kinds)}"
        raise ValueError(message)
    # N(0,1) inputs, because products of zeros draw less power and so run at higher clocks.
    left, right = (torch.randn(n, n, device=device, dtype=kinds[precision]) for _ in range(2))
    out = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=out)
