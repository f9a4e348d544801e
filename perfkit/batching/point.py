"""One configuration under one load: simulated over independent seeds, with intervals."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from perfkit.batching import arrivals
from perfkit.batching.dynamic import simulate
from perfkit.batching.policies import Dynamic, OneByOne, Static
from perfkit.batching.record import OUTCOMES
from perfkit.errors import UsageError, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from perfkit.batching.policies import Policy
    from perfkit.batching.record import Run

Process = Literal["poisson", "deterministic", "gamma"]
QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)
FEWEST_SEEDS = 2
CONFIDENCE = 0.95
# The first requests find an empty system, which steady state does not have.
WARM_UP = 0.05
# Nearer to saturation than this, no run is long enough to be called steady.
STABLE = 0.98


@dataclass(frozen=True)
class Load:
    """``requests`` of one item each that arrive at ``rate_per_s``; ``cv`` is of gamma's gaps."""

    process: Process
    rate_per_s: float
    requests: int
    cv: float = 1.0

    def __post_init__(self) -> None:
        """Refuse loads that cannot be."""
        if self.process not in get_args(Process):
            raise UsageError(unknown("arrival process", self.process, get_args(Process)))
        if not 0 < self.rate_per_s < math.inf:
            raise UsageError(f"rate {self.rate_per_s!r}: expected requests/s, over 0 and finite")
        if not 0 <= self.cv < math.inf:
            raise UsageError(f"cv {self.cv!r}: expected a finite number, 0 or more")
        if self.requests < 100:
            raise UsageError(f"requests {self.requests}: expected 100 or more")

    def times(self, seed: int) -> NDArray[np.float64]:
        """Return when the requests of one seed come, in s; the same for every policy."""
        if self.process == "poisson":
            return arrivals.poisson(self.rate_per_s, self.requests, seed)
        if self.process == "gamma":
            return arrivals.gamma(self.rate_per_s, self.requests, seed, cv=self.cv)
        return arrivals.deterministic(self.rate_per_s, self.requests)


@dataclass(frozen=True)
class Estimate:
    """Mean over seeds, and the half width of its 95 % t-interval; NaN where nothing was served."""

    mean: float
    half: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Estimate from one value a seed. Raises UsageError for fewer than two."""
        if len(values) < FEWEST_SEEDS:
            raise UsageError(f"an interval needs {FEWEST_SEEDS} seeds or more, got {len(values)}")
        from scipy import stats

        mean, deviation = statistics.fmean(values), statistics.stdev(values)
        t = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
        return cls(mean, t * deviation / math.sqrt(len(values)))


@dataclass(frozen=True)
class Point:
    """What a policy does with a load. ``figures`` by name, seconds unless named otherwise:
    ``wait_mean``, ``latency_mean``, ``latency_p50`` to ``latency_p999``, ``throughput_per_s``,
    ``mean_batch``, ``utilisation``, ``reject_rate``, ``timeout_rate``, ``goodput_per_s``.

    ``batch_sizes[b]`` counts batches of b over all seeds. ``stable`` is False at 98 % of the
    saturation rate or more: the figures then grow with the run. ``little_error`` is the worst
    seed's.
    """  # noqa: D205

    policy: Policy
    load: Load
    figures: Mapping[str, Estimate]
    batch_sizes: NDArray[np.int64]
    saturation_per_s: float
    stable: bool
    little_error: float
    theory_wait_s: float | None


def point(
    policy: Policy,
    load: Load,
    service_s: NDArray[np.float64],
    *,
    seeds: int = 10,
    slo_s: float | None = None,
) -> Point:
    """Simulate ``seeds`` independent runs; ``service_s[b]`` is how long a batch of b takes, in s.

    Goodput counts requests whose latency is ``slo_s`` or less; all served ones where it is None.
    """
    table = service_s[: largest(policy) + 1]
    runs = [simulate(policy, load.times(seed), table) for seed in range(seeds)]
    rows = [_row(run, slo_s) for run in runs]
    saturation = saturation_per_s(policy, service_s)
    return Point(
        policy=policy,
        load=load,
        figures={name: Estimate.of([row[name] for row in rows]) for name in rows[0]},
        batch_sizes=np.sum([run.batch_sizes for run in runs], axis=0),
        saturation_per_s=saturation,
        stable=load.rate_per_s < STABLE * saturation,
        little_error=max(run.little_error for run in runs),
        theory_wait_s=theory_wait_s(policy, load, service_s),
    )


def saturation_per_s(policy: Policy, service_s: NDArray[np.float64]) -> float:
    """Return the rate at which a policy that takes all it may has no idle time: c * B / tau(B)."""
    most = 1 if isinstance(policy, OneByOne) else largest(policy)
    return policy.instances * most / float(service_s[most])


def largest(policy: Policy) -> int:
    """Return the most requests of a batch."""
    return policy.batch if isinstance(policy, Static) else policy.max_batch


def theory_wait_s(policy: Policy, load: Load, service_s: NDArray[np.float64]) -> float | None:
    """Return the exact mean wait where a model covers the configuration, else None.

    Poisson arrivals and no delay: greedy batching on one instance, M/D/c without batching.
    """
    from perfkit.batching.theory import bulk, queues
    from perfkit.batching.theory.values import UnstableError

    plain = isinstance(policy, OneByOne) or (
        isinstance(policy, Dynamic)
        and policy.delay_s == 0
        and not policy.limits
        and policy.preferred_sizes == (policy.max_batch,)
    )
    if load.process != "poisson" or not plain:
        return None
    most = 1 if isinstance(policy, OneByOne) else largest(policy)
    try:
        if most == 1:
            return queues.mdc(load.rate_per_s, float(service_s[1]), policy.instances).wait_s
        if policy.instances == 1:
            return bulk.greedy(load.rate_per_s, service_s[1 : most + 1].tolist()).wait_s
    except UnstableError:
        return None
    return None


def _row(run: Run, slo_s: float | None) -> dict[str, float]:
    """Return one seed's figures, its first arrivals left out."""
    first = int(len(run.arrival_s) * WARM_UP)
    outcome = run.outcome[first:]
    served = outcome == OUTCOMES.index("served")
    if not served.any():
        raise UsageError(f"{run.policy}: nothing was served, so there is nothing to report")
    wait = run.wait_s[first:][served]
    latency = (run.finish_s - run.arrival_s)[first:][served]
    span = float(run.finish_s[first:][served].max() - run.arrival_s[first])
    good = len(latency) if slo_s is None else int((latency <= slo_s).sum())
    marks = np.quantile(latency, QUANTILES)
    return {
        "wait_mean": float(wait.mean()),
        "latency_mean": float(latency.mean()),
        **{
            f"latency_p{str(q)[2:].ljust(2, '0')}": float(mark)
            for q, mark in zip(QUANTILES, marks, strict=True)
        },
        "throughput_per_s": len(latency) / span,
        "mean_batch": run.mean_batch,
        "utilisation": run.utilisation,
        "reject_rate": float(np.isin(outcome, _codes("too_large", "queue_full")).mean()),
        "timeout_rate": float(np.isin(outcome, _codes("timed_out")).mean()),
        "goodput_per_s": good / span,
    }


def _codes(*names: str) -> list[int]:
    return [OUTCOMES.index(name) for name in names]
