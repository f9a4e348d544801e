"""One configuration under one load: simulated over independent seeds, with intervals."""

from __future__ import annotations

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
    ``utilisation``, ``reject_rate``, ``timeout_rate``, ``goodput_per_s``. Of batches
    ``mean_batch``; of continuous batching ``output_tokens_per_s`` and ``preemptions`` a request.
    NaN where a run does not have it: there were too few requests for a quantile, or nothing says
    how long a prefill takes.

    ``batch_sizes[b]`` counts batches of b over all seeds. ``stable`` is False at 98 % of the
    saturation rate or more: the figures then grow with the run; a closed loop is always stable.
    ``little_error`` is the worst seed's.
    """

    policy: Policy | VllmLike | TrtLlm | Fleet
    load: AnyLoad
    seeds: int
    figures: Mapping[str, Estimate]
    batch_sizes: NDArray[np.int64] | None
    saturation_per_s: float
    stable: bool
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
    TTFT and ITL need the ``split`` of a batch into prefill and steps. A trace is run once: it has
    no other seed.
    """
    table = service_s[: largest(policy) + 1]
    if isinstance(load, Replay):
        seeds = 1
    runs = [
        closed.simulate(policy, load.loop(seed), table)
        if isinstance(load, Closed)
        else simulate(policy, load.times(seed), table)
        for seed in range(seeds)
    ]
    saturation = saturation_per_s(policy, service_s)
    return Point(
        policy=policy,
        load=load,
        seeds=seeds,
        figures=over_seeds(
            [_row(run, load, split, slo_s) for run in runs], alone=isinstance(load, Replay)
        ),
        batch_sizes=np.sum([run.batch_sizes for run in runs], axis=0),
        saturation_per_s=saturation,
        stable=is_stable(load, saturation),
        little_error=max(run.little_error for run in runs),
        theory_wait_s=theory_wait_s(policy, load, service_s),
    )


def is_stable(load: AnyLoad, saturation: float) -> bool:
    """Whether a load is far enough under the saturation rate (both in 1/s) to be steady."""
    return isinstance(load, Closed) or load.rate_per_s < STABLE * saturation


def saturation_per_s(policy: Policy, service_s: NDArray[np.float64]) -> float:
    """Return the rate at which a policy that takes all it may has no idle time: c * B / tau(B)."""
    most = 1 if isinstance(policy, OneByOne) else largest(policy)
    return policy.instances * most / float(service_s[most])


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
    served = outcome == OUTCOMES.index("served")
    if not served.any():
        raise UsageError(f"{run.policy}: nothing was served, so there is nothing to report")
    wait = run.wait_s[first:][served]
    sizes = np.bincount(run.batch[run.batch >= 0])[run.batch[first:][served]]
    arrival, finish = run.arrival_s[first:][served], run.finish_s[first:][served]
    return {
        **times(wait, finish - arrival, sizes, split),
        **rates(finish - arrival, float(finish.max() - run.arrival_s[first]), slo_s),
        "mean_batch": run.mean_batch,
        "utilisation": run.utilisation,
        "reject_rate": float(np.isin(outcome, _codes("too_large", "queue_full")).mean()),
        "timeout_rate": float(np.isin(outcome, _codes("timed_out")).mean()),
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


def rates(latency_s: NDArray[np.float64], span_s: float, slo_s: float | None) -> dict[str, float]:
    """Return requests served a second over ``span_s``, and those in time."""
    good = len(latency_s) if slo_s is None else int((latency_s <= slo_s).sum())
    return {"throughput_per_s": len(latency_s) / span_s, "goodput_per_s": good / span_s}


def _codes(*names: str) -> list[int]:
    return [OUTCOMES.index(name) for name in names]
