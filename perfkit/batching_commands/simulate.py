"""``perfkit batching simulate``: one configuration under one load, as a table."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perfkit.batching_commands.arrivals import PROCESSES, ArrivalOptions
from perfkit.batching_commands.grouped import grouped
from perfkit.batching_commands.rules import RuleOptions
from perfkit.batching_commands.timing import BatchOptions, StepOptions, lengths, services
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from perfkit.batching.estimate import Estimate
    from perfkit.batching.job import Job
    from perfkit.batching.loads import AnyLoad, Share
    from perfkit.batching.point import Point

_MOST = {"vllm": 256, "trtllm": 256}
_LOAD = 0.8
_TIMES = {"wait": "wait", "ttft": "TTFT", "itl": "ITL", "latency": "latency"}
_OTHERS = {
    "throughput_per_s": ("requests served", "/s"),
    "goodput_per_s": ("goodput", "/s"),
    "output_tokens_per_s": ("output tokens", "/s"),
    "mean_batch": ("batch", ""),
    "utilisation": ("utilisation", ""),
    "preemptions": ("preemptions a request", ""),
    "reject_rate": ("rejected", ""),
    "timeout_rate": ("timed out", ""),
    "stranded_rate": ("never served", ""),
}


@grouped
def simulate(
    batch: BatchOptions,
    step: StepOptions,
    arrivals: ArrivalOptions,
    rules: RuleOptions,
    policy: Annotated[
        str,
        typer.Option(
            help="static, dynamic, one-by-one, vllm, trtllm-no-evict, trtllm-max-utilization or "
            "trtllm-static."
        ),
    ] = "dynamic",
    max_batch: Annotated[
        int | None,
        typer.Option(help="Most requests together: 16 a batch, 256 in continuous batching."),
    ] = None,
    delay_ms: Annotated[float | None, typer.Option(help="Queue delay (dynamic); 0.")] = None,
    rate: Annotated[float | None, typer.Option(help="Requests a second; or --load.")] = None,
    load: Annotated[float | None, typer.Option(help="Rate as a share of saturation; 0.8.")] = None,
    clients: Annotated[int | None, typer.Option(help="Customers of a closed loop.")] = None,
    seeds: Annotated[int, typer.Option(min=2, help="Independent runs; a trace is run once.")] = 10,
    slo_ms: Annotated[float | None, typer.Option(help="Latency that counts as good.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result to this file too.")
    ] = None,
) -> None:
    """Simulate one policy under one load: figures, each with its 95 % interval over seeds."""
    from perfkit.batching.job import Job, run
    from perfkit.results.store import check_file, write_whole

    if json_file is not None:
        check_file(json_file)
    (asked,) = rules.build(
        [policy],
        None if max_batch is None else [max_batch],
        None if delay_ms is None else [delay_ms],
        usual=[_MOST.get(policy.split("-")[0], 16)],
    )
    times, words = next(one for one in services(batch, step, [asked]) if one is not None)
    arrivals.check(
        {
            "rate": (rate, PROCESSES),
            "load": (load, PROCESSES),
            "clients": (clients, ("closed",)),
            **lengths(batch, step),
        }
    )
    come = _load(arrivals, rate, load, clients)
    job = Job(asked, come, times, words, seeds, None if slo_ms is None else slo_ms / 1e3)
    found = run(job)
    for line in table(found, job):
        typer.echo(line)
    if json_file is not None:
        text = json.dumps(to_json(found, job), indent=1, allow_nan=False)
        write_whole(json_file, text + "\n")
        typer.echo(json_file)


def _load(
    arrivals: ArrivalOptions, rate: float | None, share: float | None, clients: int | None
) -> AnyLoad | Share:
    """Return what comes."""
    from perfkit.batching.loads import Share

    if arrivals.arrival == "trace":
        return arrivals.replay()
    if arrivals.arrival == "closed":
        if clients is None:
            raise UsageError("--arrival closed needs --clients, the number of customers")
        return arrivals.closed(clients)
    if rate is not None and share is not None:
        raise UsageError("--rate and --load both say the rate: expected one of them")
    if rate is not None:
        return arrivals.open(rate)
    return Share(_LOAD if share is None else share, arrivals.open(1.0))


def table(found: Point, job: Job) -> list[str]:
    """Return a result as lines for people: times in ms, the mean over seeds +- half the interval.

    A figure that a run does not have is a dash.
    """
    from perfkit.batching.estimate import QUANTILES

    columns = ("mean", *QUANTILES)
    heads = ("mean", "p50", "p90", "p95", "p99", "p99.9")
    rows = {"ms": list(heads)}
    for figure, shown in _TIMES.items():
        rows[shown] = [_cell(found.figures[f"{figure}_{column}"], 1e3) for column in columns]
    width = 2 + max(18, *(len(cell) for cells in rows.values() for cell in cells))
    lines = [*_heading(found, job), ""]
    for shown, cells in rows.items():
        lines.append(f"{shown:<10}" + "".join(f"{cell:>{width}}" for cell in cells))
    lines.append("")
    for figure, (shown, unit) in _OTHERS.items():
        if figure in found.figures:
            lines.append(f"{shown:<24}{_cell(found.figures[figure])}{unit}")
    exact = "" if found.theory_wait_s is None else f"exact {found.theory_wait_s * 1e3:.4g} ms; "
    steady = {True: "; steady", False: "; NOT STEADY: figures grow with the run", None: ""}
    lines += [
        f"{'mean wait':<24}{exact}Little's law off by {found.little_error:.1g}",
        f"{'saturation':<24}{found.saturation_per_s:.4g}/s{steady[found.stable]}",
    ]
    return lines


def _heading(found: Point, job: Job) -> list[str]:
    from perfkit.batching.loads import Closed, Replay
    from perfkit.batching.sweep import words

    load = found.load
    if isinstance(load, Closed):
        thinking = f"{load.think} thinking of {load.think_s * 1e3:g} ms"
        come = f"{load.clients} clients, {thinking if load.think_s else 'no thinking'}"
    elif isinstance(load, Replay):
        come = f"{load.name} at {load.rate_per_s:.4g}/s in the mean"
        if load.trace.duplicates:
            come += f", {load.trace.duplicates} at the very time of the one before"
    else:
        come = f"{load.process} arrivals at {load.rate_per_s:.4g}/s"
    runs = "one run, so no interval" if found.seeds == 1 else f"{found.seeds} seeds"
    lines = [
        words(found.policy),
        f"{come}; {load.requests} requests, {runs}",
        f"service: {job.about}",
    ]
    if isinstance(load, Replay):
        whose = "are the trace's" if found.batch_sizes is None else "of the trace are not used"
        lines.append(f"lengths {whose}")
    if job.slo_s is not None:
        lines.append(f"goodput: latency of {job.slo_s * 1e3:g} ms or less")
    return lines


def _cell(figure: Estimate, scale: float = 1.0) -> str:
    if math.isnan(figure.mean):
        return "-"
    half = "" if math.isnan(figure.half) else f" +- {figure.half * scale:.2g}"
    return f"{figure.mean * scale:.4g}{half}"


def to_json(found: Point, job: Job) -> dict[str, Any]:
    """Return a result for programs: seconds, null for what there is not."""
    from perfkit.batching.job import name
    from perfkit.batching.sweep import row

    about = row(found, job, math.nan)
    kept = ("arrival", "cv", "n", "clients", "think", "think_s", "max_batch", "delay_us", "servers")
    sizes = found.batch_sizes
    return {
        "policy": name(found.policy),
        "described": repr(found.policy),
        **{key: _number(about.get(key)) for key in kept},
        "rate_per_s": _number(found.rate_per_s),
        "service_model": job.about,
        "seeds": found.seeds,
        "slo_s": job.slo_s,
        "figures": {
            figure: {"mean": _number(one.mean), "half": _number(one.half)}
            for figure, one in found.figures.items()
        },
        "batch_sizes": None if sizes is None else sizes.tolist(),
        "saturation_per_s": found.saturation_per_s,
        "stable": found.stable,
        "little_error": found.little_error,
        "theory_wait_s": found.theory_wait_s,
    }


def _number(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
