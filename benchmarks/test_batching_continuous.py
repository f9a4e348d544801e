"""Speed of the continuous batching simulator on one core, beside the plain oracle's.

    python -m pytest benchmarks/test_batching_continuous.py -m slow --benchmark-json=OUT.json

Targets stand beside the figures and are not asserted. Ratios are of one run on one machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from perfkit.batching.continuous import Requests, StepTime, TrtLlm, VllmLike, simulate
from tests.batching import continuous_oracle

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.cpu, pytest.mark.slow]

_STEP_TIME = StepTime(6e-3, 20e-6, 10e-6, 10e-9)
_POLICIES = {
    "vllm": VllmLike(256, 2048, 20_000),
    "vllm, memory short": VllmLike(256, 2048, 1_000),
    "GUARANTEED_NO_EVICT": TrtLlm("GUARANTEED_NO_EVICT", 256, 2048, 10_000, chunk_unit=64),
    "MAX_UTILIZATION": TrtLlm("MAX_UTILIZATION", 256, 2048, 10_000, chunk_unit=64),
    "MAX_UTILIZATION, memory short": TrtLlm("MAX_UTILIZATION", 256, 2048, 500, chunk_unit=64),
}


def _load(rate: float, count: int) -> Requests:
    """Poisson arrivals of 512 prompt and 128 new tokens."""
    gaps = np.random.default_rng(0).exponential(1 / rate, count)
    return Requests(np.cumsum(gaps), np.full(count, 512), np.full(count, 128))


@pytest.mark.parametrize("rate", [8, 24, 40])
@pytest.mark.parametrize("policy", _POLICIES)
def test_requests_per_second(benchmark: Any, policy: str, rate: float) -> None:
    """Simulated requests a second, KV blocks and every token's latency included."""
    count, few = 200_000, 300
    requests = _load(rate, count)
    simulate(_load(rate, 2), _POLICIES[policy], _STEP_TIME)
    run = benchmark.pedantic(
        simulate, args=(requests, _POLICIES[policy], _STEP_TIME), rounds=3, warmup_rounds=1
    )
    start = time.perf_counter()
    continuous_oracle.run(_load(rate, few), _POLICIES[policy], _STEP_TIME)
    oracle = few / (time.perf_counter() - start)
    speed = count / benchmark.stats.stats.median
    benchmark.extra_info.update(
        requests_per_s=speed,
        target_requests_per_s=200e3,
        oracle_requests_per_s=oracle,
        times_the_oracle=speed / oracle,
        tokens_per_step=run.tokens / run.steps,
        preemptions=int(run.preemptions.sum()),
        little_error=run.little_error,
    )


_COMPILE = """
import time
import numpy as np
from perfkit.batching.continuous import Requests, StepTime, TrtLlm, VllmLike, simulate
one = Requests(np.zeros(1), np.ones(1, int), np.ones(1, int))
start = time.perf_counter()
for policy in (VllmLike(1, 1, 1), TrtLlm("STATIC_BATCH", 1, 1, 1)):
    simulate(one, policy, StepTime(1.0))
print(time.perf_counter() - start)
"""


def _first_calls(folder: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _COMPILE],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PERFKIT_CACHE": str(folder)},
    )
    return float(done.stdout)


def test_compiling(benchmark: Any, tmp_path: Path) -> None:
    """Seconds that the first call of both kernels takes, and again with the cache on disk."""
    seconds: list[float] = []
    benchmark.pedantic(lambda: seconds.append(_first_calls(tmp_path)), rounds=1)
    cached = _first_calls(tmp_path)
    benchmark.extra_info.update(compile_s=seconds[0], cached_s=cached)
    assert cached < seconds[0], "the first call found a cache, so nothing was compiled"
