"""Kernels against the plain oracle: every request's every time, to the last bit."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from perfkit.batching.closed import Loop
from perfkit.batching.continuous import (
    Requests,
    Run,
    StepTime,
    TrtLlm,
    VllmLike,
    simulate,
    simulate_closed,
)
from tests.batching import continuous_oracle as oracle
from tests.batching.amounts import CASES

_FEW = 300


def _case(rng: random.Random) -> tuple[Requests, StepTime]:
    """Draw a few requests in dyadic times, often at one moment, some too large."""
    count = rng.randint(1, 12)
    spread = rng.choice((0, 4, 40))
    arrivals = sorted(rng.randint(0, spread) / 8 for _ in range(count))
    prompt = [rng.randint(1, rng.choice((2, 8, 24))) for _ in range(count)]
    new = [rng.randint(1, rng.choice((1, 12, 24))) for _ in range(count)]
    most = [n + rng.choice((0, 0, rng.randint(0, 8))) for n in new]
    tau = [rng.randint(0, top) / 64 for top in (8, 4, 2, 1)]
    requests = Requests(
        np.array(arrivals), np.array(prompt), np.array(new), np.array(most) if count % 2 else None
    )
    return requests, StepTime(*tau)


def _pool(rng: random.Random) -> tuple[int, int]:
    """Draw blocks and their size: room for two to four of the requests drawn."""
    size = rng.choice((1, 2, 4))
    return 1 + rng.randint(16, 48) // size, size


def _vllm(rng: random.Random) -> VllmLike:
    blocks, size = _pool(rng)
    return VllmLike(
        max_num_seqs=rng.randint(1, 6),
        token_budget=rng.choice((1, 3, 8, 16, 40)),
        kv_blocks=blocks,
        block_size=size,
        chunked_prefill=rng.random() < 0.7,
        long_prefill_threshold=rng.choice((0, 0, 3, 7)),
        full_sequence_must_fit=rng.random() < 0.3,
        watermark_blocks=rng.choice((0, 0, 1, 2)),
        max_model_len=rng.choice((0, 0, 0, 25)),
        async_scheduling=rng.random() < 0.3,
    )


def _trt(capacity: str, rng: random.Random) -> TrtLlm:
    tokens = rng.choice((2, 8, 16, 40))
    blocks, size = _pool(rng)
    return TrtLlm(
        capacity=capacity,
        max_batch_size=rng.randint(1, 6),
        max_num_tokens=tokens,
        kv_blocks=blocks,
        tokens_per_block=size,
        chunk_unit=min(tokens, rng.choice((0, 1, 2, 4))),
        chunking=rng.choice(("FIRST_COME_FIRST_SERVED", "EQUAL_PROGRESS")),
    )


def _policy(name: str, rng: random.Random) -> VllmLike | TrtLlm:
    return _vllm(rng) if name == "vllm" else _trt(name, rng)


def _assert_equal(requests: Requests, policy: VllmLike | TrtLlm, step_time: StepTime) -> int:
    run = simulate(requests, policy, step_time)
    return _assert_same(run, oracle.run(requests, policy, step_time))


def _assert_same(run: Run, told: oracle.Outcome) -> int:
    jobs = told.jobs
    assert run.arrival_s.tolist() == [job.arrival for job in jobs]
    assert run.outcome.tolist() == [job.outcome for job in jobs]
    for mine, theirs in (
        (run.first_scheduled_s, [job.first_scheduled for job in jobs]),
        (run.first_token_s, [job.token_times[0] if job.token_times else None for job in jobs]),
        (run.finish_s, [job.token_times[-1] if job.token_times else None for job in jobs]),
    ):
        assert [None if math.isnan(t) else t for t in mine.tolist()] == theirs
    assert run.preemptions.tolist() == [job.preemptions for job in jobs]
    assert (run.steps, run.recomputed_tokens, run.peak_blocks) == (
        len(told.steps),
        told.recomputed,
        told.peak,
    )
    assert run.tokens == sum(step.tokens for step in told.steps)
    assert run.busy_s == sum(step.end - step.start for step in told.steps)
    gaps = [gap for job in jobs for gap in np.diff(job.token_times).tolist()]
    assert run.itl.count == len(gaps)
    if gaps:
        assert run.itl.max_s == max(gaps)
        assert run.itl.mean_s == sum(gaps) / len(gaps)
    assert run.little_error < 1e-9
    return int(run.preemptions.sum())


def _compare(name: str, count: int) -> None:
    preempted = 0
    for seed in range(count):
        rng = random.Random(f"{name} {seed}")
        policy = _policy(name, rng)
        requests, step_time = _case(rng)
        try:
            preempted += _assert_equal(requests, policy, step_time)
        except AssertionError as error:
            raise AssertionError(f"case {seed}: {policy}, {step_time}, {requests}") from error
    if name in {"vllm", "MAX_UTILIZATION"}:
        assert preempted > count / 4  # the cases do what they are drawn for
    else:
        assert preempted == 0


def _compare_closed(name: str, count: int) -> None:
    rejected = preempted = 0
    for seed in range(count):
        rng = random.Random(f"closed {name} {seed}")
        policy = _policy(name, rng)
        requests, step_time = _case(rng)
        requests = replace(requests, max_new_tokens=None)
        clients, sent = rng.randint(1, 6), len(requests.arrival_s)
        thinks = [rng.choice((0.0, 0.0, 0.125, 0.5, 2.0)) for _ in range(clients + sent)]
        loop = Loop(clients, np.array(thinks))
        run = simulate_closed(loop, requests.prompt_tokens, requests.new_tokens, policy, step_time)
        try:
            told = oracle.run(requests, policy, step_time, clients, thinks)
            preempted += _assert_same(run, told)
        except AssertionError as error:
            raise AssertionError(f"case {seed}: {policy}, {loop}, {requests}") from error
        rejected += int((run.outcome != 0).sum())
    assert rejected > count / 10
    assert preempted > count / 10 or name in {"GUARANTEED_NO_EVICT", "STATIC_BATCH"}


_NAMES = ("vllm", "GUARANTEED_NO_EVICT", "MAX_UTILIZATION", "STATIC_BATCH")


@pytest.mark.parametrize("name", _NAMES)
def test_equal_to_the_oracle(name: str) -> None:
    _compare(name, _FEW)


@pytest.mark.parametrize("name", _NAMES)
def test_closed_loops_are_equal_to_the_oracle(name: str) -> None:
    _compare_closed(name, _FEW)


@CASES
@pytest.mark.parametrize("name", _NAMES)
def test_closed_loops_are_equal_to_the_oracle_on_many_cases(name: str, cases: int) -> None:
    _compare_closed(name, cases)


@CASES
@pytest.mark.parametrize("name", _NAMES)
def test_equal_to_the_oracle_on_many_cases(name: str, cases: int) -> None:
    _compare(name, cases)


def test_equal_on_one_long_case_with_every_option() -> None:
    rng = np.random.default_rng(5)
    count = 400
    requests = Requests(
        np.cumsum(rng.integers(0, 8, count)) / 64,
        rng.integers(1, 200, count),
        rng.integers(1, 60, count),
    )
    policy = VllmLike(32, 128, 60, long_prefill_threshold=64)
    step_time = StepTime(1 / 64, 1 / 4096, 1 / 4096, 1 / 2**20)
    for asynchronous in (False, True):
        each = replace(policy, async_scheduling=asynchronous)
        assert _assert_equal(requests, each, step_time) > 20
