"""The dynamic batcher's speed on one core: requests a second, and how often SimPy's.

Rates are of this machine at this minute; the ratios are of one run, and are what to compare.
"""

from __future__ import annotations

import collections
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import simpy

from perfkit.batching.dynamic import simulate, simulate_long
from perfkit.batching.policies import Dynamic, Policy
from tests.batching.oracle import play

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

pytestmark = [pytest.mark.cpu, pytest.mark.slow]

_RATE = 45.0  # requests a second, of 61.5 that batches of 8 sustain
_SERVICE = 0.05 + 0.01 * np.arange(9)
_ROUNDS = 5
_FIRST_CALL = """
import time, perfkit.batching.dynamic as dynamic, perfkit.batching.policies as policies
import numba
for policy in (policies.Dynamic(2), policies.Dynamic(2, preferred=(1,)),
               policies.Dynamic(2, preferred=(1,), prefetch=True)):
    start = time.perf_counter()
    dynamic.simulate(policy, [0.0, 1.0], [0.0, 1.0, 1.0])
    print(time.perf_counter() - start)
"""


def _arrivals(number: int) -> np.ndarray:
    return np.cumsum(np.random.default_rng(1).exponential(1 / _RATE, number))


def _by_pieces(policy: Policy, arrivals: np.ndarray) -> object:
    pieces = (arrivals[i : i + 100_000] for i in range(0, len(arrivals), 100_000))
    return simulate_long(policy, pieces, _SERVICE)


def _by_rows(policy: Policy, arrivals: np.ndarray) -> object:
    return simulate(policy, arrivals, _SERVICE)


def _two_processes(policy: Dynamic, arrivals: np.ndarray) -> list[tuple[float, int]]:
    """SimPy as one would write it: requests arrive in one process, another serves them."""
    env = simpy.Environment()
    queue, sent = collections.deque[float](), []
    came = env.event()

    def arrive() -> Generator[simpy.Event, None, None]:
        nonlocal came
        for time_s in arrivals.tolist():
            yield env.timeout(time_s - env.now)
            queue.append(time_s)
            if len(queue) in {1, policy.max_batch} and not came.triggered:
                came.succeed()

    def serve() -> Generator[simpy.Event, None, None]:
        nonlocal came
        for _ in iter(int, 1):
            while len(queue) < policy.max_batch:
                left = queue[0] + policy.delay_s - env.now if queue else 1.0
                if left <= 0:
                    break
                came = env.event()
                yield came | env.timeout(left) if queue else came
            k = min(policy.max_batch, len(queue))
            for _ in range(k):
                queue.popleft()
            sent.append((env.now, k))
            yield env.timeout(_SERVICE[k])

    env.process(arrive())
    env.process(serve())
    env.run()
    return sent


def _tell(benchmark: Any, found: dict[str, float]) -> None:
    benchmark.extra_info |= found
    sys.stdout.write(f"\n{benchmark.extra_info}\n")


def _rate(call: Callable[[], object], number: int) -> float:
    """Return the median rate of several calls: of one, a neighbour's turn makes another number."""
    took = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return number / statistics.median(took)


@pytest.mark.parametrize(
    ("policy", "serve", "number"),
    [
        pytest.param(Dynamic(8, 0.02), _by_pieces, 10_000_000, id="histograms"),
        pytest.param(Dynamic(8, 0.02), _by_rows, 5_000_000, id="rows"),
        pytest.param(Dynamic(8, 0.02, instances=4), _by_pieces, 10_000_000, id="four-instances"),
        pytest.param(Dynamic(8, 0.02, (4, 8), timeout_s=0.5), _by_rows, 1_000_000, id="general"),
        pytest.param(Dynamic(8, 0.02, (4,), prefetch=True), _by_rows, 1_000_000, id="prefetched"),
    ],
)
def test_requests_a_second(
    benchmark: Any,
    policy: Dynamic,
    serve: Callable[[Policy, np.ndarray], object],
    number: int,
) -> None:
    """Requests a second, and over SimPy's: the tests' oracle; for plain policies two processes."""
    arrivals = _arrivals(number)
    few = arrivals[:20_000]
    serve(policy, few)  # compiles
    oracle = _rate(lambda: play(policy, few.tolist(), _SERVICE.tolist()), len(few))
    benchmark.pedantic(serve, (policy, arrivals), rounds=_ROUNDS)
    rate = number / benchmark.stats.stats.median
    found = {"requests_per_s": rate, "times_the_oracle": rate / oracle}
    if policy == Dynamic(8, 0.02):
        found["times_two_processes"] = rate / _rate(lambda: _two_processes(policy, few), len(few))
    _tell(benchmark, found)


def test_the_two_processes_are_the_policy() -> None:
    """What the ratio is taken to does the same work: the same batches at the same times."""
    policy, arrivals = Dynamic(8, 0.02), _arrivals(5_000)
    run = simulate(policy, arrivals, _SERVICE)
    sent = _two_processes(policy, arrivals)
    assert [k for _, k in sent] == np.bincount(run.batch).tolist()
    assert np.allclose([t for t, _ in sent], np.unique(run.dispatch_s), rtol=0, atol=1e-9)


def test_compile_time(benchmark: Any, tmp_path: Path) -> None:
    """Seconds of each kernel's first call in a fresh process: compiled, then from the disk."""
    env = os.environ | {"PERFKIT_CACHE": str(tmp_path)}

    def first_calls() -> list[float]:
        done = subprocess.run(
            [sys.executable, "-c", _FIRST_CALL], env=env, capture_output=True, text=True, check=True
        )
        return [float(line) for line in done.stdout.split()]

    compiled = first_calls()
    cached = benchmark.pedantic(first_calls, rounds=1)
    names = ("fifo", "queued", "prefetched")
    benchmark.extra_info |= {
        "compiled_s": dict(zip(names, compiled, strict=True)),
        "cached_s": dict(zip(names, cached, strict=True)),
    }
    _tell(benchmark, {})
