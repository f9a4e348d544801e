"""A fleet of replicas under one load: simulated over independent seeds, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perfkit.batching.estimate import over_seeds
from perfkit.batching.fleet import Fleet, Served, simulate
from perfkit.batching.loads import AnyLoad, Closed, warm_up
from perfkit.batching.point import Point, is_stable, rates, times, window
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.batching.service import Split


def point(
    fleet: Fleet,
    load: AnyLoad,
    service_s: NDArray[np.float64],
    *,
    split: Split | None = None,
    seeds: int = 10,
    slo_s: float | None = None,
) -> Point:
    """Simulate ``seeds`` independent runs, as ``perfkit.batching.point.point`` does.

    Runs also differ by what a routing draws. Raises UsageError for a closed loop.
    """
    if isinstance(load, Closed):
        raise UsageError("a fleet in a closed loop is not simulated: give open arrivals or a trace")
    alone = not (load.drawn or fleet.drawn)
    rows, sizes, errors = [], np.zeros(fleet.max_batch + 1, np.int64), []
    for seed in range(1 if alone else seeds):
        arrival = load.times(seed)
        run = simulate(fleet, arrival, service_s, seed)
        each, counts = _batches(run, fleet.max_batch)
        busy_s = float(counts[1:] @ service_s[1 : fleet.max_batch + 1])
        span_s = float(run.finish_s.max() - arrival[0])
        rows.append(
            {
                **_row(load, arrival, run, each, split, slo_s),
                "mean_batch": len(arrival) / float(counts.sum()),
                "utilisation": busy_s / (fleet.replicas * span_s),
                "reject_rate": 0.0,
                "timeout_rate": 0.0,
                "stranded_rate": 0.0,
            }
        )
        sizes += counts
        errors.append(run.little_error)
    saturation = saturation_per_s(fleet, service_s)
    return Point(
        policy=fleet,
        load=load,
        seeds=1 if alone else seeds,
        figures=over_seeds(rows, alone=alone),
        batch_sizes=sizes,
        saturation_per_s=saturation,
        stable=is_stable(load, saturation),
        little_error=max(errors),
        theory_wait_s=None,
    )


def saturation_per_s(fleet: Fleet, service_s: NDArray[np.float64]) -> float:
    """Return the requests/s of replicas that are never short of a full batch."""
    return fleet.replicas * fleet.max_batch / float(service_s[fleet.max_batch])


def _row(
    load: AnyLoad,
    arrival: NDArray[np.float64],
    run: Served,
    each: NDArray[np.int64],
    split: Split | None,
    slo_s: float | None,
) -> dict[str, float]:
    first = warm_up(load)
    wait, latency = run.dispatch_s - arrival, run.finish_s - arrival
    inside, span_s = window(load, arrival, run.finish_s, np.ones(len(arrival), bool))
    return {
        **times(wait[first:], latency[first:], each[first:], split),
        **rates(latency[inside], span_s, slo_s),
    }


def _batches(run: Served, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the size of each request's batch, and how many batches there were of each size.

    A replica's batches begin at different times, since each takes some.
    """
    order = np.lexsort((run.dispatch_s, run.replica))
    replica, dispatch = run.replica[order], run.dispatch_s[order]
    begins = np.flatnonzero((np.diff(replica) != 0) | (np.diff(dispatch) != 0)) + 1
    sizes = np.diff(np.concatenate(([0], begins, [len(order)])))
    each = np.empty(len(order), np.int64)
    each[order] = np.repeat(sizes, sizes)
    return each, np.bincount(sizes, minlength=most + 1)
