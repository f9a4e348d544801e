"""Documents of runs with chosen times, as a gate reads them."""

from __future__ import annotations

from typing import Any

CELL = "torch-eager/llama-mini/fp32/fmha/b2/p8/n3/tp1"
KEY = "cpu-test_1-cores"
CANARY = 0.010


def run(
    *,
    e2e_s: tuple[float, ...] = (0.30, 0.31),
    ttft_s: float = 0.10,
    cells: tuple[str, ...] = (CELL,),
    key: str = KEY,
    canary: tuple[float, float] = (CANARY, CANARY),
    verdict: str = "ok",
    agreement: str = "agrees",
    peak: int | None = None,
) -> dict[str, Any]:
    """Return a run whose rounds of every cell took ``e2e_s`` seconds, each step alike."""
    body = {
        "case": {"batch": 2, "prompt_len": 8, "new_tokens": 3},
        "verdict": verdict,
        "reason": None if verdict == "ok" else "for a test",
        "agreement": {"status": agreement, "reason": None},
        "metrics": {"peak_allocated_bytes": peak},
        "samples": {
            "ttft_s": [ttft_s] * len(e2e_s),
            "e2e_s": list(e2e_s),
            "itl_s": [[(one - ttft_s) / 2] * 2 for one in e2e_s],
        },
    }
    return {
        "commit_info": {"id": "0123456789abcdef", "dirty": False},
        "benchmarks": [],
        "perfkit": {
            "schema": 1,
            "session": {"matrices": ["gate-cpu"], "device": "cpu", "rounds": 2, "max_warmup": 1},
            "machine": {"key": key, "name": "a test"},
            "canaries": [{"gemm": [one] * 3} for one in canary],
            "cells": dict.fromkeys(cells, body),
        },
    }


def stored(count: int, *, spread: float = 0.01, **other: Any) -> list[dict[str, Any]]:
    """Return runs whose times lie evenly within ``spread`` above 0.3 s, canaries within 1 %."""
    made = []
    for k in range(count):
        share = k / max(1, count - 1)
        factor, canary = 1 + spread * share, CANARY * (1 + 0.01 * share)
        times = (0.30 * factor, 0.31 * factor)
        made.append(run(e2e_s=times, ttft_s=0.1 * factor, canary=(canary, canary), **other))
    return made
