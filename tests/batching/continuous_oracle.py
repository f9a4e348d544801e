"""Continuous batching in plain Python, slow and readable: what the kernels must equal.

Written from the rules (docs/batching-continuous.md), with objects, lists and block numbers where
the kernels have arrays and counts. It checks itself on the way: no step exceeds its budget, no
block is lent twice, all are back at the end.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from perfkit.batching import continuous
from perfkit.batching.continuous import Requests, StepTime, TrtLlm, VllmLike

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(eq=False)
class Job:
    """One request as it goes."""

    arrival: float
    prompt: int
    new: int
    most: int
    outcome: int = continuous.FINISHED
    computed: int = 0
    token_times: list[float] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    decoding: bool = False
    first_scheduled: float | None = None
    preemptions: int = 0

    @property
    def known(self) -> int:
        return self.prompt + len(self.token_times)

    @property
    def to_do(self) -> int:
        return self.known - self.computed

    @property
    def finished(self) -> bool:
        return len(self.token_times) == self.new


class Step(NamedTuple):
    start: float
    end: float
    tokens: int
    seqs: int
    context: int


class Pool:
    """Blocks by number."""

    def __init__(self, blocks: int, size: int) -> None:
        self.total, self.size, self.peak = blocks, size, 0
        self.unused = set(range(blocks))

    def for_tokens(self, tokens: int) -> int:
        return -(-tokens // self.size)

    def missing(self, job: Job, tokens: int) -> int:
        return self.for_tokens(tokens) - len(job.blocks)

    def lend(self, job: Job, count: int) -> None:
        job.blocks += [self.unused.pop() for _ in range(count)]

    def note(self) -> None:
        """Remember the most blocks held while a step runs."""
        self.peak = max(self.peak, self.total - len(self.unused))

    def take_back(self, job: Job) -> None:
        assert self.unused.isdisjoint(job.blocks)
        self.unused.update(job.blocks)
        job.blocks = []


class Clock:
    """Runs steps and remembers them."""

    def __init__(self, step_time: StepTime) -> None:
        self.now, self.model, self.steps = 0.0, step_time, list[Step]()
        self.recomputed = 0

    def run(self, work: list[tuple[Job, int]]) -> None:
        tokens = sum(n for _, n in work)
        context = sum(job.computed + n for job, n in work)
        t = self.model
        end = self.now + (
            t.c0_s
            + t.per_token_s * tokens
            + t.per_seq_s * len(work)
            + t.per_context_token_s * context
        )
        self.steps.append(Step(self.now, end, tokens, len(work), context))
        self.now = end
        for job, n in work:
            job.computed += n
            if job.to_do == 0:
                job.decoding = True
                job.token_times.append(end)

    def preempt(self, job: Job, pool: Pool) -> None:
        pool.take_back(job)
        self.recomputed += job.computed
        job.computed, job.decoding = 0, False
        job.preemptions += 1


class Outcome(NamedTuple):
    jobs: list[Job]
    steps: list[Step]
    recomputed: int
    peak: int


def run(
    requests: Requests,
    policy: VllmLike | TrtLlm,
    step_time: StepTime,
    clients: int = 0,
    thinks: Sequence[float] = (),
) -> Outcome:
    """Play the requests; with ``clients``, as a closed loop, their arrivals being ignored."""
    jobs = [
        Job(*values)
        for values in zip(
            map(float, requests.arrival_s),
            map(int, requests.prompt_tokens),
            map(int, requests.new_tokens),
            map(int, requests.most),
            strict=True,
        )
    ]
    each = _vllm if isinstance(policy, VllmLike) else _trtllm
    for job in jobs:
        job.outcome = _rejection(job, policy)
    coming = ClosedLoop(jobs, clients, thinks) if clients else Given(jobs)
    return each(jobs, coming, policy, Clock(step_time))


class Given:
    """Arrivals that are known beforehand."""

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs = deque(job for job in jobs if job.outcome == continuous.FINISHED)

    def any_left(self) -> bool:
        return bool(self.jobs)

    def next_s(self) -> float:
        return self.jobs[0].arrival

    def until(self, now: float) -> list[Job]:
        came = []
        while self.jobs and self.jobs[0].arrival <= now:
            came.append(self.jobs.popleft())
        return came

    def answered(self, job: Job, now: float) -> None:
        """Nobody waits for the answer."""


class ClosedLoop:
    """Customers who think after each answer, a refusal being one."""

    def __init__(self, jobs: list[Job], clients: int, thinks: Sequence[float]) -> None:
        self.jobs = deque(jobs)
        self.after = dict(zip(jobs, thinks[clients:], strict=True))
        self.sender: dict[Job, int] = {}
        self.thinking = sorted((thinks[client], client) for client in range(clients))

    def any_left(self) -> bool:
        return any(job.outcome == continuous.FINISHED for job in self.jobs)

    def next_s(self) -> float:
        """When the next that is not refused comes, should nobody else get an answer till then."""
        while self.jobs[0].outcome != continuous.FINISHED:
            self.send()
        return self.thinking[0][0]

    def until(self, now: float) -> list[Job]:
        came = []
        while self.jobs and self.thinking and self.thinking[0][0] <= now:
            job = self.send()
            came += [job] if job.outcome == continuous.FINISHED else []
        return came

    def send(self) -> Job:
        job = self.jobs.popleft()
        job.arrival, self.sender[job] = heapq.heappop(self.thinking)
        if job.outcome != continuous.FINISHED:
            self.answered(job, job.arrival)
        return job

    def answered(self, job: Job, now: float) -> None:
        heapq.heappush(self.thinking, (now + self.after[job], self.sender[job]))


def _rejection(job: Job, policy: VllmLike | TrtLlm) -> int:
    in_cache = job.prompt + job.new - 1
    if isinstance(policy, VllmLike):
        if policy.max_model_len and job.prompt + job.most > policy.max_model_len:
            return continuous.REJECTED_LENGTH
        room, whole = policy.kv_blocks * policy.block_size, not policy.chunked_prefill
        budget, largest = policy.token_budget, in_cache
        if policy.long_prefill_threshold:
            largest = min(largest, policy.long_prefill_threshold)
    else:
        room, whole = policy.kv_blocks * policy.tokens_per_block, policy.chunk_unit == 0
        budget, largest = policy.max_num_tokens, in_cache
        if policy.capacity != "MAX_UTILIZATION":
            in_cache, largest = job.prompt + job.most, job.prompt
    if in_cache > room:
        return continuous.REJECTED_KV
    return continuous.REJECTED_BUDGET if whole and largest > budget else continuous.FINISHED


def _vllm(jobs: list[Job], coming: Given | ClosedLoop, policy: VllmLike, clock: Clock) -> Outcome:
    pool = Pool(policy.kv_blocks, policy.block_size)
    waiting: deque[Job] = deque()
    running: list[Job] = []
    leaving: list[Job] = []  # async: finished, but the next schedule was made without knowing
    looked = 0.0

    def let_go() -> None:
        for job in leaving:
            pool.take_back(job)
        leaving.clear()

    def schedule() -> list[tuple[Job, int]]:
        waiting.extend(coming.until(looked))
        return _vllm_step(policy, pool, clock, waiting, running, len(leaving))

    while coming.any_left() or waiting or running:
        if not waiting and not running and (next_s := coming.next_s()) > clock.now:
            let_go()
            clock.now = looked = next_s
        work = schedule()
        if not work and policy.async_scheduling:
            let_go()
            looked = clock.now
            work = schedule()
        assert 0 < sum(n for _, n in work) <= policy.token_budget
        pool.note()
        let_go()
        started = clock.now
        clock.run(work)
        looked = started if policy.async_scheduling else clock.now
        leaving += [job for job in running if job.finished]
        for job in leaving:
            coming.answered(job, clock.now)
        running[:] = [job for job in running if not job.finished]
        if not policy.async_scheduling:
            let_go()
    let_go()
    assert len(pool.unused) == pool.total
    coming.until(math.inf)
    return Outcome(jobs, clock.steps, clock.recomputed, pool.peak)


def _vllm_step(
    policy: VllmLike,
    pool: Pool,
    clock: Clock,
    waiting: deque[Job],
    running: list[Job],
    leaving: int,
) -> list[tuple[Job, int]]:
    work: list[tuple[Job, int]] = []
    budget = policy.token_budget
    longest = policy.long_prefill_threshold or budget
    preempted = False
    for job in list(running):
        if job not in running:
            break  # preempted for one before it, and so is all that follows
        n = min(job.to_do, longest, budget)
        if n == 0:
            continue
        while job in running and pool.missing(job, job.computed + n) > len(pool.unused):
            victim = running.pop()
            clock.preempt(victim, pool)
            waiting.appendleft(victim)
            preempted = True
        if job not in running:
            break
        pool.lend(job, pool.missing(job, job.computed + n))
        work.append((job, n))
        budget -= n
    while waiting and not preempted and budget and len(running) + leaving < policy.max_num_seqs:
        job = waiting[0]
        n = min(job.known, longest)
        if n > budget and not policy.chunked_prefill:
            break
        n = min(n, budget)
        must_fit = job.known if policy.full_sequence_must_fit else n
        kept_free = policy.watermark_blocks if running else 0
        if pool.for_tokens(must_fit) + kept_free > len(pool.unused):
            break
        running.append(waiting.popleft())
        pool.lend(job, pool.for_tokens(n))
        if job.first_scheduled is None:
            job.first_scheduled = clock.now
        work.append((job, n))
        budget -= n
    return work


def _trtllm(jobs: list[Job], coming: Given | ClosedLoop, policy: TrtLlm, clock: Clock) -> Outcome:
    pool = Pool(policy.kv_blocks, policy.tokens_per_block)
    active: list[Job] = []
    while coming.any_left() or active:
        if not active:
            clock.now = max(clock.now, coming.next_s())
        active += coming.until(clock.now)
        if policy.capacity == "MAX_UTILIZATION":
            fitting = _max_utilization(active, policy, pool, clock)
        else:
            fitting = _no_evict(active, policy, pool)
        work = _micro_batch(fitting, policy)
        assert 0 < sum(n for _, n in work) <= policy.max_num_tokens
        for job, _ in work:
            if job.first_scheduled is None:
                job.first_scheduled = clock.now
            pool.lend(job, _one_step(job, pool))
        pool.note()
        clock.run(work)
        for job in [job for job in active if job.finished]:
            pool.take_back(job)
            active.remove(job)
            coming.answered(job, clock.now)
    assert len(pool.unused) == pool.total
    coming.until(math.inf)
    return Outcome(jobs, clock.steps, clock.recomputed, pool.peak)


def _one_step(job: Job, pool: Pool) -> int:
    # A context gets the blocks of its whole prompt with its first chunk.
    return pool.missing(job, job.computed + 1 if job.decoding else job.known)


def _no_evict(active: list[Job], policy: TrtLlm, pool: Pool) -> list[Job]:
    def remaining(job: Job) -> int:
        return pool.missing(job, job.prompt + job.most)

    fitting = [job for job in active if job.decoding][: policy.max_batch_size]
    room = len(pool.unused) - sum(remaining(job) for job in fitting)
    if policy.capacity == "STATIC_BATCH" and fitting:
        return fitting
    for job in active:
        if job.decoding:
            continue
        if len(fitting) == policy.max_batch_size or remaining(job) > room:
            break
        room -= remaining(job)
        fitting.append(job)
    return fitting


def _max_utilization(active: list[Job], policy: TrtLlm, pool: Pool, clock: Clock) -> list[Job]:
    fitting: list[Job] = []
    promised, end, at = 0, len(active), 0
    while at < end:
        job = active[at]
        need = _one_step(job, pool)
        if len(fitting) < policy.max_batch_size and promised + need <= len(pool.unused):
            promised += need
            fitting.append(job)
            at += 1
            continue
        started = [i for i in range(at, end) if active[i].blocks]
        if not started:
            break
        end = started[-1]
        clock.preempt(active[end], pool)
    return fitting


def _micro_batch(fitting: list[Job], policy: TrtLlm) -> list[tuple[Job, int]]:
    work: dict[Job, int] = {}
    budget = policy.max_num_tokens
    contexts: list[Job] = []
    for job in fitting:
        n = 1 if job.decoding else job.to_do
        if not job.decoding and policy.chunk_unit:
            contexts.append(job)
            continue
        if n > budget:
            break
        work[job] = n
        budget -= n
    if sum(job.to_do for job in contexts) <= budget:
        work |= {job: job.to_do for job in contexts}
    elif policy.chunking == "FIRST_COME_FIRST_SERVED":
        for job in contexts:
            n = min(job.to_do, budget)
            work[job] = n if n == job.to_do else n - n % policy.chunk_unit
            budget -= work[job]
    else:
        work |= _equal_progress(contexts, budget, policy.chunk_unit)
    return [(job, n) for job in fitting if (n := work.get(job, 0))]


def _equal_progress(contexts: list[Job], budget: int, unit: int) -> dict[Job, int]:
    share = dict.fromkeys(contexts, 0)
    while True:
        before = budget
        for job in contexts:
            more = min(unit, job.to_do - share[job])
            if more <= budget:
                share[job] += more
                budget -= more
        if budget in {before, 0}:
            return share
