from __future__ import annotations

import time
from typing import Any

import pytest

from perfkit.errors import UsageError
from perfkit.starting.generation import generate
from perfkit.starting.worker import Phases


def asked(case: str) -> dict[str, Any]:
    return {"case": case, "device": "cpu", "model": None, "seed": 0}


def test_a_report_has_every_phase_and_steady_figures() -> None:
    now = time.monotonic()
    told = generate(asked("torch-eager/llama-tiny/fp32/fmha/b2/p8/n3/tp1"), Phases(now - 1, now))
    assert list(told["phases"]) == [
        "interpreter", "device", "prompts", "load", "build", "first_token", "further_tokens",
    ]  # fmt: skip
    assert sum(told["phases"].values()) <= time.monotonic() - now + 1
    assert told["phases"]["interpreter"] == 1
    assert all(seconds > 0 for seconds in told["phases"].values())
    assert told["steady"]["tpot_s"] > 0
    assert told["compiled"]["triton"] == {"hits": 0, "misses": 0}
    assert told["engine"]["cache"] == "dynamic"


def test_what_cannot_run_says_why() -> None:
    now = time.monotonic()
    with pytest.raises(UsageError, match="cannot run here: fp16 on a CPU"):
        generate(asked("torch-eager/llama-tiny/fp16/fmha/b1/p8/n3/tp1"), Phases(now, now))
