"""One configuration under one load: simulated over independent seeds, with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from perfkit.batching import closed
from perfkit.batching.dynamic import simulate
from perfkit.batching.estimate import STABLE, Estimate, marks, over_seeds
from perfkit.batching.loads import AnyLoad, Closed, Load, Replay, warm_up
from perfkit.batching.policies import Dynamic, OneByOne, Static
from perfkit.batching.record import OUTCOMES
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from perfkit.batching.continuous import TrtLlm, VllmLike
    from perfkit.batching.fleet import Fleet
    from perfkit.batching.policies import Policy
    from perfkit.batching.record import Run
    from perfkit.batching.service import Split


@dataclass(frozen=True)
class Point:
    """What a policy does with a load; ``seeds`` runs were simulated.

    ``figures`` by name, seconds unless named otherwise: ``wait``, ``latency``, ``ttft``, ``itl``,
    each with ``_mean``, ``_p50``, ``_p90``, ``_p95``, ``_p99`` and ``_p999``; ``throughput_per_s``,
    ``utilisation``, ``reject_rate``, ``timeout_rate``, ``stranded_rate`` (never served),
    ``goodput_per_s``. Of batches
    ``mean_batch``; of continuous batching ``output_tokens_per_s`` and ``preemptions`` a request.
    NaN where a run does not have it: there were too few requests for a quantile, or nothing says
    how long a prefill takes.

    ``batch_sizes[b]`` counts batches of b over all seeds. ``stable`` is False at 98 % of the
    saturation rate or more: the figures then grow with the run. A closed loop is always stable, as
    is a queue that refuses; of a trace, which ends, it is None. ``little_error`` is the worst
    seed's.
    """

    policy: Policy | VllmLike | TrtLlm | Fleet
    load: AnyLoad
    seeds: int
    figures: Mapping[str, Estimate]
    batch_sizes: NDArray[np.int64] | None
    saturation_per_s: float
    stable: bool | None
    little_error: float
    theory_wait_s: float | None

    @property
    def rate_per_s(self) -> float:
        """Requests a second that come; of a closed loop, which has no rate, those served."""
        if isinstance(self.load, Closed):
            return self.figures["throughput_per_s"].mean
        return self.load.rate_per_s


def point(
    policy: Policy,
    load: AnyLoad,
    service_s: NDArray[np.float64],
    *,
    split: Split | None = None,
    seeds: int = 10,
    slo_s: float | None = None,
) -> Point:
    """Simulate ``seeds`` independent runs; ``service_s[b]`` is how long a batch of b takes, in s.

    Goodput counts requests whose latency is ``slo_s`` or less; all served ones where it is None.
    TTFT and ITL need the ``split`` of a batch into prefill and steps. Where no seed changes
    anything, as with a trace, there is one run.
    """
    table = service_s[: largest(policy) + 1]
    rows, sizes, errors = [], np.zeros(len(table), np.int64), []
    for seed in range(seeds if load.drawn else 1):
        if isinstance(load, Closed):
            run = closed.simulate(policy, load.loop(seed), table)
        else:
            run = simulate(policy, load.times(seed), table)
        rows.append(_row(run, load, split, slo_s))
        sizes += run.batch_sizes
        errors.append(run.little_error)
    saturation = saturation_per_s(policy, service_s)
    return Point(
        policy=policy,
        load=load,
        seeds=len(rows),
        figures=over_seeds(rows, alone=not load.drawn),
        batch_sizes=sizes,
        saturation_per_s=saturation,
        stable=True if _refuses(policy) else is_stable(load, saturation),
        little_error=max(errors),
        theory_wait_s=theory_wait_s(policy, load, service_s),
    )


def is_stable(load: AnyLoad, saturation: float) -> bool | None:
    """Whether a load is far enough under the saturation rate (both in 1/s) to be steady.

    None for a trace, which ends.
    """
    if isinstance(load, Replay):
        return None
    return isinstance(load, Closed) or load.rate_per_s < STABLE * saturation


def _refuses(policy: Policy) -> bool:
    """Whether requests are refused before the queue grows without end."""
    return isinstance(policy, Dynamic) and (
        policy.max_queue > 0 or (policy.timeout_s is not None and policy.timeout_action == "reject")
    )


def saturation_per_s(policy: Policy, service_s: NDArray[np.float64]) -> float:
    """Return the rate at which a policy has no idle time: c * b / tau(b), of b in a crowd."""
    most = _in_a_crowd(policy)
    return policy.instances * most / float(service_s[most])


def _in_a_crowd(policy: Policy) -> int:
    """Return the size of batches when there is always another request to take.

    Rules 2 and 4 of docs/batching-dynamic.md: the largest preferred size, but the largest of all
    once the delay is past, as it always is in a crowd where there is one. No more wait than the
    queue's limit. Raises UsageError where no batch would ever go.
    """
    if not isinstance(policy, Dynamic):
        return 1 if isinstance(policy, OneByOne) else policy.batch
    most = min(policy.max_batch, policy.max_queue or policy.max_batch)
    if 0 < policy.delay_s < math.inf:
        return most
    preferred = [size for size in policy.preferred_sizes if size <= most]
    if not preferred and math.isinf(policy.delay_s):
        raise UsageError(
            f"a queue of at most {policy.max_queue} never fills a batch of "
            f"{policy.preferred_sizes[0]}, which an infinite delay waits for: allow more"
        )
    return max(preferred, default=most)


def largest(policy: Policy) -> int:
    """Return the most requests of a batch."""
    return policy.batch if isinstance(policy, Static) else policy.max_batch


def theory_wait_s(policy: Policy, load: AnyLoad, service_s: NDArray[np.float64]) -> float | None:
    """Return the exact mean wait where a model covers the configuration, else None.

    Poisson arrivals and no delay: greedy batching on one instance, M/D/c without batching. A closed
    loop of exponential thinking on one instance without batching: the machine repairman.
    """
    from perfkit.batching.theory import bulk, queues
    from perfkit.batching.theory.closed import repairman
    from perfkit.batching.theory.values import UnstableError

    plain = isinstance(policy, OneByOne) or (
        isinstance(policy, Dynamic)
        and policy.delay_s == 0
        and not policy.limits
        and policy.preferred_sizes == (policy.max_batch,)
    )
    most = 1 if isinstance(policy, OneByOne) else largest(policy)
    if plain and isinstance(load, Closed):
        exact = load.think == "exponential" and load.think_s > 0 and most == policy.instances == 1
        return repairman(load.clients, load.think_s, float(service_s[1])).wait_s if exact else None
    if not plain or not isinstance(load, Load) or load.process != "poisson":
        return None
    try:
        if most == 1:
            return queues.mdc(load.rate_per_s, float(service_s[1]), policy.instances).wait_s
        if policy.instances == 1:
            return bulk.greedy(load.rate_per_s, service_s[1 : most + 1].tolist()).wait_s
    except UnstableError:
        return None
    return None


def _row(run: Run, load: AnyLoad, split: Split | None, slo_s: float | None) -> dict[str, float]:
    """Return one seed's figures, its first arrivals left out."""
    first = warm_up(load)
    outcome = run.outcome[first:]
    served = run.outcome == OUTCOMES.index("served")
    kept = served.copy()
    kept[:first] = False
    if not kept.any():
        counts = np.bincount(outcome, minlength=len(OUTCOMES)).tolist()
        told = ", ".join(f"{n} {name}" for n, name in zip(counts, OUTCOMES, strict=True) if n)
        raise UsageError(
            f"nothing was served after the warm-up, so there is nothing to report: {told}"
        )
    sizes = np.bincount(run.batch[run.batch >= 0])[run.batch[kept]]
    latency = run.finish_s - run.arrival_s
    inside, span_s = window(load, run.arrival_s, run.finish_s, served)
    return {
        **times(run.wait_s[kept], latency[kept], sizes, split),
        **rates(latency[inside], span_s, slo_s),
        "mean_batch": run.mean_batch,
        "utilisation": run.utilisation,
        "reject_rate": float(np.isin(outcome, _codes("too_large", "queue_full")).mean()),
        "timeout_rate": float(np.isin(outcome, _codes("timed_out")).mean()),
        "stranded_rate": float(np.isin(outcome, _codes("stranded")).mean()),
    }


def times(
    wait_s: NDArray[np.float64],
    latency_s: NDArray[np.float64],
    sizes: NDArray[np.int64],
    split: Split | None,
) -> dict[str, float]:
    """Return the marks of waits and latencies, and of TTFT and ITL where the split is known.

    A batch's first tokens come with the end of its prefill, and then one a step; ``sizes`` are
    those of the requests' batches.
    """
    steps = None if split is None else split.step_s
    return {
        **marks("wait", wait_s),
        **marks("latency", latency_s),
        **marks("ttft", None if split is None else wait_s + split.prefill_s[sizes]),
        **marks("itl", None if steps is None else steps[sizes]),
    }


def window(
    load: AnyLoad,
    arrival_s: NDArray[np.float64],
    finish_s: NDArray[np.float64],
    served: NDArray[np.bool_],
) -> tuple[NDArray[np.bool_], float]:
    """Return which served requests end in the span that rates are counted over, and its seconds.

    From the first that ends after the first arrival past the warm-up, itself not counted, to the
    first that ends at the last arrival or later: what waited at its begin and ends in it is served
    in it too, the emptying at the end is no part of it, and many that end together are counted by
    the times between. In a closed loop it begins with the first answer at the earliest, and as many
    are counted as make every customer's turn whole, for they may all keep step. Of a trace, and
    where that leaves nothing, it is the whole run.
    """
    first = warm_up(load)
    if isinstance(load, Closed):
        first = max(first, load.clients)
    if not isinstance(load, Replay) and first < len(arrival_s):
        ends = np.sort(finish_s[served])
        last = len(ends) - 1
        low, high = np.minimum(np.searchsorted(ends, arrival_s[[first, -1]]), last).tolist()
        if isinstance(load, Closed):
            high = low + (high - low) // load.clients * load.clients
        begin, end = float(ends[low]), float(ends[high])
        if end > begin:
            return served & (finish_s > begin) & (finish_s <= end), end - begin
    return served, float(finish_s[served].max() - arrival_s[0])


def rates(latency_s: NDArray[np.float64], span_s: float, slo_s: float | None) -> dict[str, float]:
    """Return requests a second over ``span_s`` of those that ended in it, and those in time."""
    good = len(latency_s) if slo_s is None else int((latency_s <= slo_s).sum())
    return {"throughput_per_s": len(latency_s) / span_s, "goodput_per_s": good / span_s}


def _codes(*names: str) -> list[int]:
    return [OUTCOMES.index(name) for name in names]
