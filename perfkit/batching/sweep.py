"""Many points: a grid of policies and loads, and its table."""

from __future__ import annotations

import csv
import io
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.batching.continuous import TrtLlm, VllmLike
from perfkit.batching.fleet import Fleet
from perfkit.batching.job import Batches, Job, most_together, name, run
from perfkit.batching.loads import Closed, Load, Replay, Share
from perfkit.batching.policies import Dynamic, OneByOne, Static
from perfkit.errors import UsageError, first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from perfkit.batching.continuous_point import Work
    from perfkit.batching.job import AnyPolicy
    from perfkit.batching.loads import AnyLoad
    from perfkit.batching.point import Point

_QUANTILES = ("p50", "p90", "p95", "p99", "p999")
COLUMNS = (
    "policy", "tie", "arrival", "cv", "rate", "rho", "max_batch", "delay_us", "preferred",
    "timeout_us", "max_queue", "servers", "service_model", "n", "seed_count", "throughput",
    "mean_batch", "batch_p50", "util", "wait_mean", "wait_ci", "lat_mean", "lat_ci", "lat_p50",
    "lat_p90", "lat_p95", "lat_p99", "lat_p999", "p99_ci", "ttft_p50", "ttft_p99", "itl_p50",
    "itl_p99", "reject_rate", "timeout_rate", "slo", "goodput", "little_err", "sat_rate", "stable",
    "theory_wait", "theory_err", "sim_req_per_s", "routing", "token_budget", "kv_blocks", "clients",
    "think", "think_s", "output_tokens_per_s", "preemptions",
    *(f"wait_{q}" for q in _QUANTILES), "wait_p99_ci",
    "ttft_mean", "ttft_ci", "ttft_p90", "ttft_p95", "ttft_p999", "ttft_p99_ci",
    "itl_mean", "itl_ci", "itl_p90", "itl_p95", "itl_p999", "itl_p99_ci", "stranded_rate",
    "problem",
)  # fmt: skip


SIZES = ("policy", "max_batch", "delay_us", "rho", "size", "share")
Row = dict[str, object]


@dataclass(frozen=True)
class Grid:
    """What to sweep: every policy under every load. ``batches`` and ``work`` are the service times
    of policies of whole batches and of continuous ones, with what they are in words.
    """  # noqa: D205

    policies: tuple[AnyPolicy, ...]
    loads: tuple[Share | Closed | Replay, ...]
    batches: tuple[Batches, str] | None = None
    work: tuple[Work, str] | None = None
    seeds: int = 10
    slo_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse a grid without points."""
        for field in ("policies", "loads"):
            if not getattr(self, field):
                raise UsageError(f"{field} is empty: nothing to sweep")


@dataclass(frozen=True)
class Done:
    """A finished point: its rows of the two tables, and what to say of it."""

    row: Row
    sizes: list[Row]
    line: str


def batching(
    max_batches: Sequence[int], delays_s: Sequence[float], instances: int = 1
) -> tuple[AnyPolicy, ...]:
    """Return one by one, then static and dynamic policies of each largest batch."""
    found: list[AnyPolicy] = [OneByOne(instances=instances)]
    for most in max_batches:
        found.append(Static(most, instances))
        found += [Dynamic(most, delay, instances=instances) for delay in delays_s]
    return tuple(found)


def jobs(grid: Grid) -> list[Job]:
    """Return a grid's points in order. Raises UsageError where a policy has no service times."""
    found = []
    for policy in grid.policies:
        given = grid.work if isinstance(policy, VllmLike | TrtLlm) else grid.batches
        if given is None:
            raise UsageError(f"no service times for {policy}")
        service, words = given
        found += [Job(policy, load, service, words, grid.seeds, grid.slo_s) for load in grid.loads]
    return found


def measure(job: Job) -> Done:
    """Simulate one point; what cannot be simulated is a row that says why."""
    start = time.perf_counter()
    try:
        found = run(job)
    except (ValueError, ArithmeticError, MemoryError, RuntimeError) as error:
        # None of them may lose the points that are finished.
        kind = "" if isinstance(error, UsageError) else f"{type(error).__name__}: "
        problem = f"{kind}{first_line(error)}"
        about = {**_policy(job.policy), **_load(job.load), "service_model": job.about}
        return Done(
            {**about, "stable": False, "problem": problem}, [], f"{words(job.policy)}: {problem}"
        )
    per_s = found.load.requests * found.seeds / (time.perf_counter() - start)
    return Done(row(found, job, per_s), sizes(found), line(found))


def line(found: Point) -> str:
    """Return a finished point in one line."""
    p99 = found.figures["latency_p99"]
    if isinstance(found.load, Closed):
        come = f"{found.load.clients} clients, {found.rate_per_s:.4g}/s"
    else:
        come = f"{found.rate_per_s:.4g}/s"
    told = "too few requests for p99" if math.isnan(p99.mean) else f"p99 {p99.mean * 1e3:.4g} ms"
    return (
        f"{words(found.policy)} at {come}: {told}"
        + ("" if math.isnan(p99.half) else f" +- {p99.half * 1e3:.2g}")
        + (" (not steady: 98 % of saturation or more)" if found.stable is False else "")
    )


def words(policy: AnyPolicy) -> str:
    """Return a policy's kind, largest batch and delay, as in "dynamic 64, delay 20 ms"."""
    most = "" if isinstance(policy, OneByOne) else f" {most_together(policy)}"
    delay_s = getattr(policy, "delay_s", None)
    delay = "" if delay_s is None else f", delay {delay_s * 1e3:g} ms"
    many = f", {policy.replicas} replicas, {policy.routing}" if isinstance(policy, Fleet) else ""
    return f"{name(policy)}{most}{delay}{many}"


def row(found: Point, job: Job, per_s: float) -> Row:
    """Return a point's row of the table; times in seconds, delays in microseconds."""
    theory = found.theory_wait_s
    mean = {figure: one.mean for figure, one in found.figures.items()}
    half = {figure: one.half for figure, one in found.figures.items()}
    told: Row = {
        **_policy(found.policy),
        **_load(found.load),
        "rate": found.rate_per_s,
        "rho": found.rate_per_s / found.saturation_per_s,
        "service_model": job.about,
        "seed_count": found.seeds,
        "throughput": mean["throughput_per_s"],
        "mean_batch": mean.get("mean_batch"),
        "batch_p50": None if found.batch_sizes is None else middle_batch(found.batch_sizes),
        "util": mean["utilisation"],
        "p99_ci": half["latency_p99"],
        "reject_rate": mean["reject_rate"],
        "timeout_rate": mean["timeout_rate"],
        "stranded_rate": mean["stranded_rate"],
        "slo": job.slo_s,
        "goodput": mean["goodput_per_s"],
        "little_err": found.little_error,
        "sat_rate": found.saturation_per_s,
        "stable": found.stable,
        "theory_wait": theory,
        "theory_err": mean["wait_mean"] / theory - 1 if theory else None,
        "sim_req_per_s": per_s,
        "output_tokens_per_s": mean.get("output_tokens_per_s"),
        "preemptions": mean.get("preemptions"),
    }
    for short, figure in (("wait", "wait"), ("lat", "latency"), ("ttft", "ttft"), ("itl", "itl")):
        told |= {f"{short}_mean": mean[f"{figure}_mean"], f"{short}_ci": half[f"{figure}_mean"]}
        told |= {f"{short}_{q}": mean[f"{figure}_{q}"] for q in _QUANTILES}
        if short != "lat":
            told[f"{short}_p99_ci"] = half[f"{figure}_p99"]
    return told


def _policy(policy: AnyPolicy) -> Row:
    fleet = isinstance(policy, Fleet)
    servers = policy.replicas if isinstance(policy, Fleet) else getattr(policy, "instances", 1)
    return {
        "policy": name(policy),
        "tie": "arrivals_first" if fleet else getattr(policy, "tie", None),
        "max_batch": most_together(policy),
        "delay_us": _microseconds(getattr(policy, "delay_s", None)),
        "preferred": " ".join(map(str, policy.preferred)) if isinstance(policy, Dynamic) else None,
        "timeout_us": _microseconds(getattr(policy, "timeout_s", None)),
        "max_queue": getattr(policy, "max_queue", 0),
        "servers": servers,
        "routing": getattr(policy, "routing", None),
        "token_budget": getattr(policy, "token_budget", getattr(policy, "max_num_tokens", None)),
        "kv_blocks": getattr(policy, "kv_blocks", None),
    }


def _load(load: AnyLoad | Share) -> Row:
    if isinstance(load, Share):
        return {**_load(load.load), "rate": None, "rho": load.of_saturation}
    told: Row = {"n": load.requests}
    if not isinstance(load, Closed):
        told["rate"] = load.rate_per_s
    if isinstance(load, Load):
        cvs = {"poisson": 1.0, "deterministic": 0.0, "gamma": load.cv}
        return {**told, "arrival": load.process, "cv": cvs.get(load.process)}
    if isinstance(load, Closed):
        closed = {"clients": load.clients, "think": load.think, "think_s": load.think_s}
        return {**told, "arrival": "closed", **closed}
    return {**told, "arrival": "trace"}


def _microseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e6


def middle_batch(batch_sizes: NDArray[np.int64]) -> int:
    """Return the size that half of the batches have at most."""
    upto = batch_sizes.cumsum()
    return int((upto * 2 >= upto[-1]).argmax())


def sizes(found: Point) -> list[Row]:
    """Return the rows of a point in the table of batch sizes: the share of batches of each size."""
    if found.batch_sizes is None:
        return []
    total = int(found.batch_sizes.sum())
    about = {
        "policy": name(found.policy),
        "max_batch": most_together(found.policy),
        "delay_us": _microseconds(getattr(found.policy, "delay_s", None)),
        "rho": found.rate_per_s / found.saturation_per_s,
    }
    return [
        {**about, "size": size, "share": count / total}
        for size, count in enumerate(found.batch_sizes.tolist())
        if count
    ]


def table(rows: Sequence[Row], columns: Sequence[str] = COLUMNS) -> str:
    """Return the rows as CSV, the columns in order; what is absent is empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for told in rows:
        writer.writerow({column: _cell(value) for column, value in told.items()})
    return out.getvalue()


def _cell(value: object) -> object:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value
