"""Static and dynamic batching simulated: arrivals and service times in, runs or histograms out.

Service times are a table: ``service_s[b]`` seconds for a batch of b items, b from 0 (unused) to the
largest. Arrivals at one instant keep their order. docs/batching-dynamic.md has the rules.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from perfkit.batching import histogram, requests
from perfkit.batching.histogram import Histogram
from perfkit.batching.policies import Dynamic, OneByOne, Static
from perfkit.batching.record import OUTCOMES, Run, Totals, in_order, little_error
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

    from perfkit.batching.policies import Policy

_SERVED, _TIMED_OUT, _STRANDED = map(OUTCOMES.index, ("served", "timed_out", "stranded"))


def simulate(
    policy: Policy,
    arrival_s: ArrayLike,
    service_s: ArrayLike,
    *,
    sizes: ArrayLike | None = None,
    priorities: ArrayLike | None = None,
) -> Run:
    """Serve these arrivals (seconds, ascending) to the end and return every request's times.

    ``sizes``: items a request, one each where it is None. ``priorities``: levels, 1 the first
    served, for a policy that has levels. Memory grows with the requests; see ``simulate_long``.
    """
    arrivals = requests.arrivals(arrival_s)
    if not len(arrivals):
        raise UsageError("no arrivals: expected one at least")
    asked = as_dynamic(policy)
    tau = requests.service(service_s, asked.max_batch)
    items = requests.sizes(sizes, len(arrivals))
    if isinstance(policy, Static) and (items != 1).any():
        raise UsageError("a static batch is of requests of one item each: expected no larger size")
    levels = requests.levels(priorities, len(arrivals), asked.levels)
    if asked.prefetch:
        return _prefetched(asked, arrivals, items, tau)
    if _is_plain(asked) and (items == 1).all():
        return _plain(policy, arrivals, tau)
    return _queued(policy, arrivals, items, levels, tau)


def simulate_long(policy: Policy, pieces: Iterable[ArrayLike], service_s: ArrayLike) -> Totals:
    """Serve arrivals that come piece by piece, in memory that does not grow with their number.

    The pieces (seconds, ascending) follow on each other in time. Only what waits is kept from one
    to the next, so an unstable load does grow. Requests are of one item, and the policy has no
    preferred size but the largest, no prefetch, levels, limit, timeout or ordering: else use
    ``simulate``.
    """
    asked = as_dynamic(policy)
    if not _is_plain(asked) or asked.preserve_ordering:
        raise UsageError(
            f"{policy}: needs a row a request: simulate it, or leave these options out"
        )
    stream = _Stream(policy, requests.service(service_s, asked.max_batch), tally=True)
    rest = np.empty(0)
    begin = math.nan
    for piece in pieces:
        arrivals = requests.arrivals(np.concatenate((rest, np.asarray(piece, np.float64))))
        if math.isnan(begin) and len(arrivals):
            begin = float(arrivals[0])
        rest = arrivals[stream.serve(arrivals, final=False) :]
    if math.isnan(begin):
        raise UsageError("no arrivals: expected one at least")
    rest = rest[stream.serve(rest, final=True) :]
    return stream.totals(begin, rest)


def as_dynamic(policy: Policy) -> Dynamic:
    """Say a policy in the terms of the dynamic batcher, which the others are special cases of."""
    if isinstance(policy, Static):
        return Dynamic(
            policy.batch,
            math.inf,
            instances=policy.instances,
            at_end=policy.at_end,
            tie=policy.tie,
        )
    if isinstance(policy, OneByOne):
        return Dynamic(policy.max_batch, instances=policy.instances)
    return policy


def _is_plain(asked: Dynamic) -> bool:
    """Whether requests of one item leave in order, in batches that only size and delay decide."""
    return not asked.prefetch and not asked.limits and asked.preferred_sizes == (asked.max_batch,)


@dataclass(frozen=True)
class _Rows:
    """Arrays of a row a request that a kernel fills; of no rows, it leaves them."""

    dispatch: NDArray[np.float64]
    finish: NDArray[np.float64]
    batch: NDArray[np.int64]

    @classmethod
    def of(cls, number: int) -> _Rows:
        return cls(np.full(number, math.nan), np.full(number, math.nan), np.full(number, -1))


@dataclass
class _Stream:
    """The fast path between pieces: what waits, when instances are free, and the sums so far."""

    policy: Policy
    tau: NDArray[np.float64]
    tally: bool
    waiting: int = 0
    counts: NDArray[np.int64] = field(init=False)
    free: NDArray[np.float64] = field(init=False)
    state: NDArray[np.float64] = field(init=False)
    wait_bins: NDArray[np.int64] = field(init=False)
    latency_bins: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        from perfkit.batching import dynamic_kernel as kernel

        self.counts = np.zeros(len(self.tau), np.int64)
        self.free = np.full(self.policy.instances, -math.inf)
        self.state = np.zeros(kernel.FLOATS)
        self.state[[kernel.WAIT_MIN, kernel.LAT_MIN]] = math.inf
        self.state[[kernel.WAIT_MAX, kernel.LAT_MAX]] = -math.inf
        bins = histogram.BINS if self.tally else 0
        self.wait_bins, self.latency_bins = np.zeros(bins, np.int64), np.zeros(bins, np.int64)

    @property
    def served(self) -> int:
        return int(self.counts @ np.arange(len(self.counts)))

    def serve(
        self, arrivals: NDArray[np.float64], *, final: bool, rows: _Rows | None = None
    ) -> int:
        """Serve what can be known; return how many of ``arrivals`` that is."""
        from perfkit.batching.dynamic_kernel import fifo

        asked = as_dynamic(self.policy)
        rows = rows or _Rows.of(0)
        done, self.waiting = fifo(
            arrivals,
            final,
            1 if isinstance(self.policy, OneByOne) else asked.max_batch,
            float(asked.delay_s),
            asked.at_end == "flush",
            asked.tie == "dispatch_first",
            self.tau,
            self.free,
            self.state,
            self.waiting,
            rows.dispatch,
            rows.finish,
            rows.batch,
            self.wait_bins,
            self.latency_bins,
            self.counts,
        )
        return int(done)

    def error(self, stranded: NDArray[np.float64]) -> float:
        """Return Little's error; those ``stranded`` waited to the last dispatch."""
        from perfkit.batching import dynamic_kernel as kernel

        s = self.state
        waited = float((s[kernel.LAST] - stranded[: self.waiting]).sum())
        return little_error(float(s[kernel.AREA]), float(s[kernel.WAIT_SUM]) + waited)

    def totals(self, begin_s: float, stranded: NDArray[np.float64]) -> Totals:
        from perfkit.batching import dynamic_kernel as kernel

        s = self.state.tolist()
        waits = s[kernel.WAIT_SUM], s[kernel.WAIT_MIN], s[kernel.WAIT_MAX]
        latencies = s[kernel.LAT_SUM], s[kernel.LAT_MIN], s[kernel.LAT_MAX]
        return Totals(
            self.policy,
            self.served,
            len(stranded),
            Histogram(self.wait_bins, *waits),
            Histogram(self.latency_bins, *latencies),
            self.counts,
            s[kernel.BUSY],
            begin_s,
            max(begin_s, s[kernel.END]),
            self.error(stranded),
        )


def _plain(policy: Policy, arrivals: NDArray[np.float64], tau: NDArray[np.float64]) -> Run:
    stream = _Stream(policy, tau, tally=False)
    rows = _Rows.of(len(arrivals))
    done = stream.serve(arrivals, final=True, rows=rows)
    outcome = np.full(len(arrivals), _SERVED, np.int8)
    outcome[done:] = _STRANDED
    return _run(policy, arrivals, rows, outcome, stream.counts, tau, stream.error(arrivals[done:]))


def _queued(
    policy: Policy,
    arrivals: NDArray[np.float64],
    items: NDArray[np.int64],
    levels: NDArray[np.int64],
    tau: NDArray[np.float64],
) -> Run:
    from perfkit.batching.dynamic_kernel import queued

    asked = as_dynamic(policy)
    rows = _Rows.of(len(arrivals))
    outcome = np.zeros(len(arrivals), np.int8)
    counts = np.zeros(len(tau), np.int64)
    area, last = queued(
        arrivals,
        items,
        levels,
        max(1, asked.levels),
        asked.max_batch,
        _preferred(asked),
        asked.preferred_sizes[-1],
        float(asked.delay_s),
        asked.instances,
        asked.max_queue,
        math.inf if asked.timeout_s is None else float(asked.timeout_s),
        asked.timeout_action == "delay",
        isinstance(policy, OneByOne),
        asked.at_end == "flush",
        asked.tie == "dispatch_first",
        tau,
        rows.dispatch,
        rows.finish,
        rows.batch,
        outcome,
        counts,
    )
    left = np.where(outcome == _TIMED_OUT, rows.finish, rows.dispatch)
    left[outcome == _STRANDED] = last
    waited = float(np.nansum(left - arrivals))
    return _run(policy, arrivals, rows, outcome, counts, tau, little_error(area, waited))


def _prefetched(
    policy: Dynamic,
    arrivals: NDArray[np.float64],
    items: NDArray[np.int64],
    tau: NDArray[np.float64],
) -> Run:
    from perfkit.batching.payload_kernel import prefetched

    fits = items <= policy.max_batch
    some = _Rows.of(int(fits.sum()))
    counts = np.zeros(len(tau), np.int64)
    area, _ = prefetched(
        arrivals[fits],
        items[fits],
        policy.max_batch,
        _preferred(policy),
        policy.preferred_sizes[-1],
        float(policy.delay_s),
        policy.instances,
        policy.tie == "dispatch_first",
        tau,
        some.dispatch,
        some.finish,
        some.batch,
        counts,
    )
    rows = _Rows.of(len(arrivals))
    rows.dispatch[fits], rows.batch[fits] = some.dispatch, some.batch
    rows.finish[:] = arrivals
    rows.finish[fits] = some.finish
    outcome = np.where(fits, _SERVED, OUTCOMES.index("too_large")).astype(np.int8)
    error = little_error(area, float((some.dispatch - arrivals[fits]).sum()))
    return _run(policy, arrivals, rows, outcome, counts, tau, error)


def _preferred(asked: Dynamic) -> NDArray[np.bool_]:
    return np.isin(np.arange(asked.max_batch + 1), asked.preferred_sizes)


def _run(
    policy: Policy,
    arrivals: NDArray[np.float64],
    rows: _Rows,
    outcome: NDArray[np.int8],
    counts: NDArray[np.int64],
    tau: NDArray[np.float64],
    error: float,
) -> Run:
    finish = rows.finish
    if isinstance(policy, Dynamic) and policy.preserve_ordering:
        finish = in_order(finish, outcome == _SERVED)
    return Run(
        policy,
        arrivals,
        rows.dispatch,
        finish,
        rows.batch,
        outcome,
        counts,
        float(counts[1:] @ tau[1:]),
        error,
    )
