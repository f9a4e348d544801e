"""TensorRT-LLM's policies when KV memory is short: who loses throughput, and why."""

from __future__ import annotations

import numpy as np
import pytest

from perfkit.batching.continuous import Requests, Run, StepTime, TrtLlm, simulate

# Round numbers of a 70B model in FP8: 15 ms a step, 0.14 ms a token, 34 ns a context token.
_STEP_TIME = StepTime(15e-3, 0.14e-3, 0.0, 34e-9)


def _run(capacity: str, requests: Requests, blocks: int) -> Run:
    policy = TrtLlm(capacity, 32, 8192, blocks, tokens_per_block=32, chunk_unit=32)
    return simulate(requests, policy, _STEP_TIME)


def _loss(requests: Requests, blocks: int) -> float:
    """Return the share of throughput that MAX_UTILIZATION loses against GUARANTEED_NO_EVICT."""
    calm = _run("GUARANTEED_NO_EVICT", requests, blocks)
    greedy = _run("MAX_UTILIZATION", requests, blocks)
    return 1 - float(calm.finish_s.max() / greedy.finish_s.max())


def _alike(new: int) -> Requests:
    """128 requests of 16,384 prompt tokens, all there from the start: 32 run if memory allows."""
    return Requests(np.zeros(128), np.full(128, 16_384), np.full(128, new))


def test_with_memory_for_all_the_policies_are_one() -> None:
    assert _loss(_alike(512), 32 * 528) == 0.0


@pytest.mark.parametrize(
    ("new", "blocks", "least", "most"),
    [(512, 8384, 0.03, 0.08), (512, 1548, 0.2, 0.3), (64, 1539, 0.4, 0.5)],
)
def test_short_of_memory_max_utilization_loses_by_recomputing(
    new: int, blocks: int, least: float, most: float
) -> None:
    # 32 · (16,384 + new) / 32 tokens over the pool: 2.0, 10.9 and 10.7 times.
    assert least <= _loss(_alike(new), blocks) <= most
    greedy = _run("MAX_UTILIZATION", _alike(new), blocks)
    assert greedy.preemptions.sum() > 0
    assert greedy.tokens == 128 * (16_384 + new - 1) + greedy.recomputed_tokens


def test_lengths_that_differ_make_the_loss_smaller() -> None:
    rng = np.random.default_rng(0)
    prompt, new = rng.integers(14_746, 18_022, 128), rng.integers(461, 563, 128)  # ±10 %
    assert 0 < _loss(Requests(np.zeros(128), prompt, new), 1548) < _loss(_alike(512), 1548) / 4


def test_limits_that_nobody_reaches_make_guaranteed_no_evict_lose() -> None:
    # Each may take 8,192 tokens and takes 64: two are admitted at a time where 16 would fit.
    count = np.full(64, 1)
    requests = Requests(np.zeros(64), 1024 * count, 64 * count, 8192 * count)
    assert _loss(requests, 16 * 34) < -0.5
