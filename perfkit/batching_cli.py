"""``perfkit batching``: service times from results, a sweep of policies, the replicas needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from perfkit.batching_commands.grouped import grouped, not_negative
from perfkit.batching_commands.simulate import simulate
from perfkit.batching_commands.sweep import BATCHES, DELAYS_MS, draw, sweep
from perfkit.batching_commands.timing import BatchOptions
from perfkit.batching_commands.validate import validate
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from perfkit.batching.fleet import Routing
    from perfkit.batching.service import Error, Service

batching = typer.Typer(help="Simulate request batching.", no_args_is_help=True)
_ARM = "Of which cells: as in backend=torch-eager; repeatable."


@batching.command()
def fit(
    files: Annotated[list[Path], typer.Argument(help="Result files of one machine.")],
    arm: Annotated[list[str] | None, typer.Option(help=_ARM)] = None,
    output: Annotated[Path | None, typer.Option(help="Write the fit to this JSON file.")] = None,
) -> None:
    """Fit service times to measured cells, and say how far off it is for cells it has not seen."""
    import json

    from perfkit.batching import service
    from perfkit.results.store import check_file, measured, read, write_whole

    if output is not None:
        check_file(output)
    documents = [measured(read(path), path) for path in files]
    of, found = service.samples(documents, dict(_pair(one) for one in arm or []))
    fitted = service.fit(found, of)
    for line in _lines(fitted, len(found)):
        typer.echo(line)
    if output is not None:
        write_whole(output, json.dumps(fitted.to_json(), indent=1) + "\n")
        typer.echo(output)


batching.command()(sweep)
batching.command("plots")(draw)
batching.command()(simulate)
batching.command()(validate)


@batching.command()
@grouped
def capacity(
    batch: BatchOptions,
    rate: Annotated[float, typer.Option(help="Requests a second.")],
    p99_ms: Annotated[float, typer.Option(help="Limit of p99 latency.")],
    max_batch: Annotated[list[int] | None, typer.Option(help="Largest batch; repeatable.")] = None,
    delay_ms: Annotated[
        list[float] | None, typer.Option(help="Queue delay in ms; repeatable.")
    ] = None,
    routing: Annotated[
        str, typer.Option(help="random, round-robin, power-of-d or shortest.")
    ] = "power-of-d",
) -> None:
    """Say how many replicas a rate needs, with which batch and delay, to keep p99 under a limit."""
    from perfkit.batching.capacity import Need, capacity

    batches = tuple(max_batch or BATCHES)
    if min(batches) < 1:
        raise UsageError(f"--max-batch {min(batches)}: expected 1 or more")
    batch.check_lengths()
    given, words = batch.batches(max(batches))
    need = Need(rate, p99_ms / 1e3, cast("Routing", routing))  # Fleet refuses others
    for one in delay_ms or ():
        not_negative("delay_ms", one)
    delays = tuple(one / 1e3 for one in delay_ms or DELAYS_MS)
    found = capacity(need, given.seconds, batches, delays)
    typer.echo(
        f"{found.replicas} replicas, at most {found.max_batch} together, delay "
        f"{found.delay_s * 1e3:g} ms: p99 {found.p99.mean * 1e3:.4g} ms "
        f"(+- {found.p99.half * 1e3:.2g}), {found.margin:.1%} under {p99_ms:g} ms"
    )
    typer.echo(f"{rate:g} Poisson requests/s, routing {routing}; service: {words}; simulated")


def _pair(text: str) -> tuple[str, str | int]:
    name, equals, value = text.partition("=")
    names = ("backend", "model", "precision", "attention", "tp")
    if not equals or name not in names:
        raise UsageError(f"--arm {text}: expected NAME=VALUE with one of {', '.join(names)}")
    return name, int(value) if name == "tp" and value.isdigit() else value


def _lines(fitted: Service, cells: int) -> list[str]:
    reach = f"batch {fitted.batch:g}, prompt {fitted.prompt_len:g}, {fitted.context:g} tokens"
    c0, c1, c2 = fitted.prefill
    c3, c4, c5 = fitted.step
    prefill = f"{c0 * 1e3:.4g} ms + {c1 * 1e6:.4g} us * b * P + {c2 * 1e9:.4g} ns * b * P^2"
    step = f"{c3 * 1e3:.4g} ms + {c4 * 1e6:.4g} us * b + {c5 * 1e9:.4g} ns * b * context"
    return [
        f"{cells} cells of {fitted.of}, up to {reach}",
        f"prefill = {prefill}{_unseen(fitted.prefill_error)}",
        f"step = {step}{_unseen(fitted.step_error)}",
    ]


def _unseen(error: Error | None) -> str:
    """Return what a fit is worth: each cell by a fit to the others."""
    if error is None:
        return ""
    return f"; unseen cells: off by {error.mean:.1%} in the mean, {error.worst:.1%} at worst"
