"""Many points: the grid of policies, delays, batches and rates, and its table."""

from __future__ import annotations

import csv
import io
import itertools
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.batching.point import Load, Point, largest, point, saturation_per_s
from perfkit.batching.policies import Dynamic, OneByOne, Static
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from perfkit.batching.point import Process
    from perfkit.batching.policies import Policy

COLUMNS = (
    "policy", "tie", "arrival", "cv", "rate", "rho", "max_batch", "delay_us", "preferred",
    "timeout_us", "max_queue", "servers", "service_model", "n", "seed_count", "throughput",
    "mean_batch", "batch_p50", "util", "wait_mean", "wait_ci", "lat_mean", "lat_ci", "lat_p50",
    "lat_p90", "lat_p95", "lat_p99", "lat_p999", "p99_ci", "reject_rate", "timeout_rate", "slo",
    "goodput", "little_err", "sat_rate", "stable", "theory_wait", "theory_err", "sim_req_per_s",
)  # fmt: skip


SIZES = ("policy", "max_batch", "delay_us", "rho", "size", "share")


@dataclass(frozen=True)
class Grid:
    """What to sweep: every delay and largest batch as a dynamic policy, and static batches.

    ``loads`` are shares of each policy's own saturation rate. Times are in seconds.
    """

    max_batches: tuple[int, ...]
    delays_s: tuple[float, ...]
    loads: tuple[float, ...]
    process: Process = "poisson"
    cv: float = 1.0
    instances: int = 1
    requests: int = 100_000
    seeds: int = 10
    slo_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse a grid without points, and loads that are no shares."""
        for name in ("max_batches", "delays_s", "loads"):
            if not getattr(self, name):
                raise UsageError(f"{name} is empty: nothing to sweep")
        for share in self.loads:
            if not 0 < share < math.inf:
                raise UsageError(f"load {share!r}: expected a share of saturation over 0")

    def policies(self) -> tuple[Policy, ...]:
        """Return one by one, then static and dynamic policies of each largest batch."""
        found: list[Policy] = [OneByOne(instances=self.instances)]
        for most in self.max_batches:
            found.append(Static(most, self.instances))
            found += [Dynamic(most, delay, instances=self.instances) for delay in self.delays_s]
        return tuple(found)


def points(grid: Grid, service_s: NDArray[np.float64]) -> Iterator[tuple[Point, float]]:
    """Yield each point and the requests simulated a second, in the grid's order."""
    for policy, share in itertools.product(grid.policies(), grid.loads):
        rate = share * saturation_per_s(policy, service_s)
        load = Load(grid.process, rate, grid.requests, grid.cv)
        start = time.perf_counter()
        found = point(policy, load, service_s, seeds=grid.seeds, slo_s=grid.slo_s)
        yield found, grid.requests * grid.seeds / (time.perf_counter() - start)


def size(grid: Grid) -> int:
    """Return how many points a grid has."""
    return len(grid.policies()) * len(grid.loads)


def line(found: Point, number: int, of: int) -> str:
    """Return a finished point in one line."""
    p99, policy = found.figures["latency_p99"], found.policy
    delay = f", delay {policy.delay_s * 1e3:g} ms" if isinstance(policy, Dynamic) else ""
    most = "" if isinstance(policy, OneByOne) else f" {largest(policy)}"
    return (
        f"[{number:>{len(str(of))}}/{of}] {name(policy)}{most}{delay} at "
        f"{found.load.rate_per_s:.4g}/s: p99 {p99.mean * 1e3:.4g} ms +- {p99.half * 1e3:.2g}"
        + ("" if found.stable else " (not steady: 98 % of saturation or more)")
    )


def row(found: Point, grid: Grid, service: str, per_s: float) -> dict[str, object]:
    """Return a point's row of the table; times in seconds, delays in microseconds."""
    figures, policy = found.figures, found.policy
    theory = found.theory_wait_s
    wait = figures["wait_mean"]
    return {
        "policy": name(policy),
        "tie": getattr(policy, "tie", ""),
        "arrival": grid.process,
        "cv": grid.cv,
        "rate": found.load.rate_per_s,
        "rho": found.load.rate_per_s / found.saturation_per_s,
        "max_batch": 1 if isinstance(policy, OneByOne) else largest(policy),
        "delay_us": _microseconds(getattr(policy, "delay_s", None)),
        "preferred": " ".join(map(str, policy.preferred)) if isinstance(policy, Dynamic) else "",
        "timeout_us": _microseconds(getattr(policy, "timeout_s", None)),
        "max_queue": policy.max_queue if isinstance(policy, Dynamic) else 0,
        "servers": policy.instances,
        "service_model": service,
        "n": found.load.requests,
        "seed_count": grid.seeds,
        "throughput": figures["throughput_per_s"].mean,
        "mean_batch": figures["mean_batch"].mean,
        "batch_p50": middle_batch(found.batch_sizes),
        "util": figures["utilisation"].mean,
        "wait_mean": wait.mean,
        "wait_ci": wait.half,
        "lat_mean": figures["latency_mean"].mean,
        "lat_ci": figures["latency_mean"].half,
        **{f"lat_{q}": figures[f"latency_{q}"].mean for q in ("p50", "p90", "p95", "p99", "p999")},
        "p99_ci": figures["latency_p99"].half,
        "reject_rate": figures["reject_rate"].mean,
        "timeout_rate": figures["timeout_rate"].mean,
        "slo": "" if grid.slo_s is None else grid.slo_s,
        "goodput": figures["goodput_per_s"].mean,
        "little_err": found.little_error,
        "sat_rate": found.saturation_per_s,
        "stable": found.stable,
        "theory_wait": "" if theory is None else theory,
        "theory_err": "" if not theory else wait.mean / theory - 1,
        "sim_req_per_s": per_s,
    }


def _microseconds(seconds: float | None) -> float | str:
    return "" if seconds is None else seconds * 1e6


def name(policy: Policy) -> str:
    """Return a policy's kind, as in "dynamic"."""
    return {OneByOne: "one-by-one", Static: "static", Dynamic: "dynamic"}[type(policy)]


def middle_batch(batch_sizes: NDArray[np.int64]) -> int:
    """Return the size that half of the batches have at most."""
    upto = batch_sizes.cumsum()
    return int((upto * 2 >= upto[-1]).argmax())


def sizes(found: Point) -> list[dict[str, object]]:
    """Return the rows of a point in the table of batch sizes: the share of batches of each size."""
    policy, total = found.policy, int(found.batch_sizes.sum())
    about = {
        "policy": name(policy),
        "max_batch": 1 if isinstance(policy, OneByOne) else largest(policy),
        "delay_us": _microseconds(getattr(policy, "delay_s", None)),
        "rho": found.load.rate_per_s / found.saturation_per_s,
    }
    return [
        {**about, "size": size, "share": count / total}
        for size, count in enumerate(found.batch_sizes.tolist())
        if count
    ]


def table(rows: Sequence[dict[str, object]], columns: Sequence[str] = COLUMNS) -> str:
    """Return the rows as CSV, the columns in order."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
