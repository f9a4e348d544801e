"""``perfkit batching sweep``: many points, a table and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from perfkit.batching_commands.arrivals import PROCESSES, ArrivalOptions
from perfkit.batching_commands.grouped import grouped
from perfkit.batching_commands.rules import RuleOptions
from perfkit.batching_commands.timing import BatchOptions, StepOptions, lengths, services
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.batching.job import AnyPolicy, Job
    from perfkit.batching.loads import Closed, Replay, Share
    from perfkit.batching.sweep import Done
    from perfkit.batching_commands.parallel import Transport

BATCHES, DELAYS_MS, LOADS = (4, 16, 64), (0.0, 20.0, 50.0), (0.2, 0.5, 0.8, 0.95)
_TABLE = Path("data/dyn_batch_sweep.csv")
_KINDS = ("one-by-one", "static", "dynamic")


@grouped
def sweep(
    batch: BatchOptions,
    step: StepOptions,
    arrivals: ArrivalOptions,
    rules: RuleOptions,
    policy: Annotated[
        list[str] | None,
        typer.Option(help="As of simulate; repeatable. Default one-by-one, static and dynamic."),
    ] = None,
    max_batch: Annotated[list[int] | None, typer.Option(help="Largest batch; repeatable.")] = None,
    delay_ms: Annotated[
        list[float] | None, typer.Option(help="Queue delay in ms (dynamic); repeatable.")
    ] = None,
    load: Annotated[
        list[float] | None, typer.Option(help="Rate as a share of saturation; repeatable.")
    ] = None,
    clients: Annotated[list[int] | None, typer.Option(help="Of closed; repeatable.")] = None,
    seeds: Annotated[int, typer.Option(min=2, help="Independent runs a point.")] = 10,
    slo_ms: Annotated[float | None, typer.Option(help="Latency that counts as good.")] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Points at once: 1 here, a cluster's CPUs on Ray.")
    ] = None,
    transport: Annotated[str, typer.Option(help="local, or ray: a cluster's nodes.")] = "local",
    output: Annotated[Path, typer.Option(help="The table.")] = _TABLE,
    plots: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("plots"),
) -> None:
    """Simulate policies over loads, delays and batches: a table and pictures."""
    from perfkit.batching import sweep as sweeping
    from perfkit.results.store import check_file, check_writable

    check_file(output)
    check_file(_beside(output))
    # The folder of pictures is made for pictures alone: what it will be made in is asked.
    check_writable(next(place for place in (plots, *plots.parents) if place.exists()))
    policies = _policies(rules, policy, max_batch, delay_ms)
    batches, work = services(batch, step, policies)
    arrivals.check(
        {
            "load": (load, PROCESSES),
            "clients": (clients, ("closed",)),
            **lengths(batch, step),
        }
    )
    loads = _loads(arrivals, load, clients)
    slo_s = None if slo_ms is None else slo_ms / 1e3
    points = sweeping.jobs(sweeping.Grid(policies, loads, batches, work, seeds, slo_s))
    done = _measured(points, jobs, cast("Transport", transport))
    if done and all(one.row.get("problem") for one in done):
        raise UsageError(f"no point could be simulated; the first: {done[0].row['problem']}")
    _write(done, output, plots, whole=len(done) == len(points))


def _policies(
    rules: RuleOptions,
    kinds: Sequence[str] | None,
    max_batch: Sequence[int] | None,
    delay_ms: Sequence[float] | None,
) -> tuple[AnyPolicy, ...]:
    if kinds is None and rules.replicas is not None:
        kinds = ("dynamic",)
    kinds = kinds or _KINDS
    if delay_ms is None and "dynamic" in kinds:
        delay_ms = DELAYS_MS
    return rules.build(kinds, max_batch, delay_ms, usual=BATCHES)


def _loads(
    arrivals: ArrivalOptions, load: Sequence[float] | None, clients: Sequence[int] | None
) -> tuple[Share | Closed | Replay, ...]:
    from perfkit.batching.loads import Share

    if arrivals.arrival == "trace":
        return (arrivals.replay(),)
    if arrivals.arrival == "closed":
        if not clients:
            raise UsageError("--arrival closed needs --clients, one or more numbers of customers")
        return tuple(arrivals.closed(number) for number in clients)
    return tuple(Share(share, arrivals.open(1.0)) for share in load or LOADS)


def _measured(points: Sequence[Job], processes: int | None, transport: Transport) -> list[Done]:
    """Simulate all points and say each as it ends; those that did when interrupted, in order."""
    from perfkit.batching.sweep import measure
    from perfkit.batching_commands.parallel import finished

    found: dict[int, Done] = {}
    width = len(str(len(points)))
    try:
        for place, done in finished(measure, points, processes=processes, transport=transport):
            found[place] = done
            typer.echo(f"[{len(found):>{width}}/{len(points)}] {done.line}")
    except KeyboardInterrupt:
        typer.echo(f"perfkit: interrupted; {len(found)} finished points are kept", err=True)
    return [found[place] for place in sorted(found)]


def _beside(output: Path) -> Path:
    """Return where the batch sizes are written."""
    return output.with_name(f"{output.stem}_sizes.csv")


def _write(done: Sequence[Done], output: Path, plots: Path, *, whole: bool) -> None:
    from perfkit.batching.sweep import SIZES, table
    from perfkit.results.store import write_whole

    if not done:
        raise typer.Exit(130)
    beside = _beside(output)
    write_whole(output, table([one.row for one in done]))
    write_whole(beside, table([size for one in done for size in one.sizes], SIZES))
    typer.echo(f"{output}\n{beside}")
    if not whole:
        raise typer.Exit(130)
    draw(output, plots)


def draw(
    table: Annotated[Path, typer.Argument(help="Table of perfkit batching sweep.")] = _TABLE,
    plots: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("plots"),
) -> None:
    """Draw a sweep's table; the batch sizes too, where their table lies beside it."""
    from perfkit.reporting import batching as pictures
    from perfkit.reporting.plots import save

    for name, figure in pictures.figures(pictures.read(table), _beside(table)).items():
        typer.echo(save(figure, plots / f"{name}.png", []))
