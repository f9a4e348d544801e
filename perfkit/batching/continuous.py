"""Continuous batching: vLLM's and TensorRT-LLM's schedulers over a step-time model.

Values in, arrays out; the rules emulated and what is left out are in docs/batching-continuous.md.
Times are seconds in float64. An arrival at the very moment of a step's scheduling is seen by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from perfkit.batching.histogram import BINS, Histogram
from perfkit.errors import UsageError, unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.batching.closed import Loop

FINISHED = 0
REJECTED_KV = 1  # would not fit into the whole KV pool, so it could never end
REJECTED_LENGTH = 2  # prompt and token limit exceed max_model_len
REJECTED_BUDGET = 3  # prefill in one piece is asked for, and exceeds the tokens of a step

# Requests together at most. What is asked of saturation is simulated with twenty times as many.
MOST_SEATS = 100_000
CAPACITY = ("GUARANTEED_NO_EVICT", "MAX_UTILIZATION", "STATIC_BATCH")
CHUNKING = ("FIRST_COME_FIRST_SERVED", "EQUAL_PROGRESS")


class NoProgressError(RuntimeError):
    """A step scheduled no token while requests were left: the engine would never end."""


@dataclass(frozen=True)
class StepTime:
    """Seconds a step takes: c0 + c1 · tokens + c2 · sequences + c3 · context tokens.

    ``tokens`` are those scheduled in the step (prompt chunks and one a decoding request),
    ``sequences`` the requests that got any, ``context tokens`` the sum over these of all their
    tokens in the KV cache when the step ends. Raises UsageError when one is negative or not finite.
    """

    c0_s: float
    per_token_s: float = 0.0
    per_seq_s: float = 0.0
    per_context_token_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what would turn time back."""
        for name in ("c0_s", "per_token_s", "per_seq_s", "per_context_token_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{name} {value}: expected a finite number of seconds, at least 0")


@dataclass(frozen=True)
class VllmLike:
    """vLLM V1's scheduler, first come first served, preemption by recompute.

    ``token_budget`` is max_num_batched_tokens. Zero turns off ``long_prefill_threshold`` (tokens),
    ``watermark_blocks`` (kept free when a request is admitted beside running ones) and
    ``max_model_len``. With ``full_sequence_must_fit`` a request is admitted only when blocks for
    all its known tokens are free, not for its first chunk alone. ``async_scheduling`` schedules a
    step when the one before it starts. Raises UsageError naming the field and what it got.
    """

    max_num_seqs: int
    token_budget: int
    kv_blocks: int
    block_size: int = 16
    chunked_prefill: bool = True
    long_prefill_threshold: int = 0
    full_sequence_must_fit: bool = False
    watermark_blocks: int = 0
    max_model_len: int = 0
    async_scheduling: bool = False

    def __post_init__(self) -> None:
        """Refuse sizes that no server takes."""
        _whole(self, 1, "max_num_seqs", most=MOST_SEATS)
        _whole(self, 1, "token_budget", "kv_blocks", "block_size")
        _whole(self, 0, "long_prefill_threshold", "watermark_blocks", "max_model_len")


@dataclass(frozen=True)
class TrtLlm:
    """TensorRT-LLM's capacity and micro-batch schedulers, one micro-batch, beam 1, no drafts.

    ``capacity`` is one of CAPACITY. ``chunk_unit`` (tokens) 0 prefills contexts whole; else they
    are cut by ``chunking``, one of CHUNKING. Raises UsageError naming the field and what it got.
    """

    capacity: str
    max_batch_size: int
    max_num_tokens: int
    kv_blocks: int
    tokens_per_block: int = 32
    chunk_unit: int = 0
    chunking: str = "FIRST_COME_FIRST_SERVED"

    def __post_init__(self) -> None:
        """Refuse sizes that no server takes, and a unit that no step could hold."""
        for name, known in (("capacity", CAPACITY), ("chunking", CHUNKING)):
            if getattr(self, name) not in known:
                raise UsageError(unknown(name, getattr(self, name), known))
        _whole(self, 1, "max_batch_size", most=MOST_SEATS)
        _whole(self, 1, "max_num_tokens", "kv_blocks", "tokens_per_block")
        _whole(self, 0, "chunk_unit")
        if self.chunk_unit > self.max_num_tokens:
            raise UsageError(
                f"chunk_unit {self.chunk_unit}: expected at most max_num_tokens"
                f" {self.max_num_tokens}, or no context would ever start"
            )


@dataclass(frozen=True, eq=False)
class Requests:
    """What arrives, in order: times in seconds, lengths in tokens.

    ``max_new_tokens`` is the limit a client sent, which GUARANTEED_NO_EVICT and STATIC_BATCH
    reserve for and which max_model_len is held against; without it, it is ``new_tokens``. Raises
    UsageError naming the first entry that cannot be.
    """

    arrival_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    new_tokens: NDArray[np.int64]
    max_new_tokens: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        """Refuse an empty, unsorted or negative trace."""
        count = len(self.arrival_s)
        if not count:
            raise UsageError("no requests: expected at least one")
        times = np.asarray(self.arrival_s, dtype=np.float64)
        _refuse(~np.isfinite(times) | (times < 0), "arrival_s", times, "finite, at least 0")
        _refuse(np.diff(times, prepend=0.0) < 0, "arrival_s", times, "sorted, earliest first")
        for name in ("prompt_tokens", "new_tokens", "max_new_tokens"):
            values = getattr(self, name)
            if values is None:
                continue
            if len(values) != count:
                raise UsageError(f"{name} has {len(values)} entries, arrival_s {count}")
            _refuse(~(np.asarray(values) >= 1), name, values, "at least 1")
            _refuse(np.asarray(values) % 1 != 0, name, values, "a whole number")
        _refuse(
            self.most < np.asarray(self.new_tokens), "max_new_tokens", self.most, "≥ new_tokens"
        )

    @property
    def most(self) -> NDArray[Any]:
        """The token limit of each request."""
        return np.asarray(self.new_tokens if self.max_new_tokens is None else self.max_new_tokens)


@dataclass(frozen=True, eq=False)
class Run:
    """What came of each request, NaN where it was rejected, and of the whole run.

    Times are seconds on the clock of the arrivals; ``first_scheduled_s`` is the start of the step
    that first computes a request. ``little_error`` is |∫N dt - Σ sojourn| / Σ sojourn, ``N`` being
    the number in the system: only rounding may differ.
    """

    arrival_s: NDArray[np.float64]
    first_scheduled_s: NDArray[np.float64]
    first_token_s: NDArray[np.float64]
    finish_s: NDArray[np.float64]
    preemptions: NDArray[np.int64]
    outcome: NDArray[np.int64]
    itl: Histogram
    steps: int
    busy_s: float
    tokens: int
    recomputed_tokens: int
    peak_blocks: int
    little_error: float


def simulate(requests: Requests, policy: VllmLike | TrtLlm, step_time: StepTime) -> Run:
    """Run every request to its end on an initially empty server.

    Raises NoProgressError should a step schedule nothing while requests are left.
    """
    arrival = np.array(requests.arrival_s, dtype=np.float64)
    return _simulate(requests, policy, step_time, arrival, None)


def simulate_closed(
    loop: Loop,
    prompt_tokens: NDArray[np.int64],
    new_tokens: NDArray[np.int64],
    policy: VllmLike | TrtLlm,
    step_time: StepTime,
) -> Run:
    """Run a closed loop to its last request; lengths in tokens, in the order of arrival.

    A rejected request is answered at once. Raises what ``simulate`` raises.
    """
    requests = Requests(np.zeros(loop.requests), prompt_tokens, new_tokens)
    return _simulate(requests, policy, step_time, np.full(loop.requests, math.inf), loop)


def _simulate(
    requests: Requests,
    policy: VllmLike | TrtLlm,
    step_time: StepTime,
    arrival: NDArray[np.float64],
    loop: Loop | None,
) -> Run:
    from perfkit.batching import continuous_kernel as kernel

    outcome = rejections(requests, policy)
    count = len(outcome)
    times = tuple(np.full(count, math.nan) for _ in range(3))
    preemptions = np.zeros(count, dtype=np.int64)
    itl = np.zeros(BINS, dtype=np.int64)
    seconds, counts = np.zeros(kernel.SECONDS), np.zeros(4, dtype=np.int64)
    seconds[kernel.ITL_MIN] = math.inf
    filled = (*times, preemptions, itl, seconds, counts)
    thinks = np.empty(0) if loop is None else loop.thinks_s
    came = (arrival, 0 if loop is None else loop.clients, thinks)
    if _run(requests, policy, _coefficients(step_time), came, outcome, filled) != kernel.DONE:
        left = int(np.sum(np.isnan(times[2]) & (outcome == FINISHED)))
        raise NoProgressError(f"{policy}: a step scheduled no token with {left} requests left")
    area, stays = seconds[kernel.AREA], seconds[kernel.SOJOURN]
    return Run(
        arrival_s=arrival,
        first_scheduled_s=times[0],
        first_token_s=times[1],
        finish_s=times[2],
        preemptions=preemptions,
        outcome=outcome,
        itl=Histogram(
            itl,
            float(seconds[kernel.ITL_SUM]),
            float(seconds[kernel.ITL_MIN]),
            float(seconds[kernel.ITL_MAX]),
        ),
        steps=int(counts[kernel.STEPS]),
        busy_s=float(seconds[kernel.BUSY]),
        tokens=int(counts[kernel.TOKENS]),
        recomputed_tokens=int(counts[kernel.RECOMPUTED]),
        peak_blocks=int(counts[kernel.PEAK]),
        little_error=float(abs(area - stays) / stays) if stays > 0 else 0.0,
    )


def rejections(requests: Requests, policy: VllmLike | TrtLlm) -> NDArray[np.int64]:
    """Say of each request whether it is admitted (0) or why it never can be.

    The KV cache never holds a request's last token. Without chunks, what a preempted request must
    compute again in one piece counts too: its prompt and all new tokens but the last.
    """
    prompt = np.asarray(requests.prompt_tokens, dtype=np.int64)
    cached = prompt + np.asarray(requests.new_tokens, dtype=np.int64) - 1
    limit = prompt + requests.most
    outcome = np.full(len(prompt), FINISHED, dtype=np.int64)
    if isinstance(policy, VllmLike):
        piece = cached
        if policy.long_prefill_threshold:
            piece = np.minimum(piece, policy.long_prefill_threshold)
        if not policy.chunked_prefill:
            outcome[piece > policy.token_budget] = REJECTED_BUDGET
        outcome[cached > policy.kv_blocks * policy.block_size] = REJECTED_KV
        if policy.max_model_len:
            outcome[limit > policy.max_model_len] = REJECTED_LENGTH
        return outcome
    evicts = policy.capacity == "MAX_UTILIZATION"
    if not policy.chunk_unit:
        outcome[(cached if evicts else prompt) > policy.max_num_tokens] = REJECTED_BUDGET
    stored = cached if evicts else limit
    outcome[stored > policy.kv_blocks * policy.tokens_per_block] = REJECTED_KV
    return outcome


def _run(
    requests: Requests,
    policy: VllmLike | TrtLlm,
    coefficients: tuple[float, float, float, float],
    came: tuple[NDArray[np.float64], int, NDArray[np.float64]],
    outcome: NDArray[np.int64],
    filled: tuple[NDArray[Any], ...],
) -> int:
    prompt, new, most = (
        np.ascontiguousarray(values, dtype=np.int64)
        for values in (requests.prompt_tokens, requests.new_tokens, requests.most)
    )
    if isinstance(policy, VllmLike):
        from perfkit.batching.continuous_kernel import vllm

        sizes = (policy.max_num_seqs, policy.token_budget, policy.block_size, policy.kv_blocks)
        rules = (
            policy.chunked_prefill,
            policy.long_prefill_threshold,
            policy.full_sequence_must_fit,
            policy.watermark_blocks,
            policy.async_scheduling,
        )
        return int(vllm(*came, prompt, new, outcome, coefficients, *sizes, *rules, *filled))
    from perfkit.batching.continuous_trt_kernel import trtllm

    codes = (
        CAPACITY.index(policy.capacity),
        policy.max_batch_size,
        policy.max_num_tokens,
        policy.tokens_per_block,
        policy.kv_blocks,
        policy.chunk_unit,
        CHUNKING.index(policy.chunking),
    )
    return int(trtllm(*came, prompt, new, most, outcome, coefficients, *codes, *filled))


def _coefficients(step_time: StepTime) -> tuple[float, float, float, float]:
    # As floats whatever was given: the kernels are compiled for one set of types.
    return (
        float(step_time.c0_s),
        float(step_time.per_token_s),
        float(step_time.per_seq_s),
        float(step_time.per_context_token_s),
    )


def _whole(policy: VllmLike | TrtLlm, least: int, *names: str, most: int = 2**31 - 1) -> None:
    for name in names:
        value = getattr(policy, name)
        if not isinstance(value, Integral) or not least <= int(value) <= most:
            raise UsageError(f"{name} {value!r}: expected a whole number from {least} to {most}")


def _refuse(bad: NDArray[np.bool_], name: str, values: Any, expected: str) -> None:
    if bad.any():
        place = int(np.argmax(bad))
        raise UsageError(f"{name}[{place}] is {values[place]}: expected {expected}")
