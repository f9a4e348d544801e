"""``perfkit batching``: service times from results, a sweep of policies, the replicas needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from perfkit.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from perfkit.batching.fleet import Routing
    from perfkit.batching.point import Process
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
    from perfkit.results.store import check_writable, measured, read, write_whole

    documents = [measured(read(path), path) for path in files]
    found = service.samples(documents, dict(_pair(one) for one in arm or []))
    fitted = service.fit(found)
    for line in _lines(fitted, len(found)):
        typer.echo(line)
    if output is not None:
        check_writable(output.parent)
        write_whole(output, json.dumps(fitted.to_json(), indent=1) + "\n")
        typer.echo(output)


ServiceFile = Annotated[
    Path | None, typer.Option("--service", help="A fit's JSON; with --prompt and --new.")
]
Prompt = Annotated[int, typer.Option(min=1, help="Prompt tokens, for --service.")]
New = Annotated[int, typer.Option(min=1, help="New tokens, for --service.")]
Base = Annotated[float, typer.Option(help="Without --service: a batch takes this, in ms, and ...")]
Each = Annotated[float, typer.Option(help="... this for each request in it, in ms.")]
Batches = Annotated[list[int] | None, typer.Option(help="Largest batch; repeatable.")]
Delays = Annotated[list[float] | None, typer.Option(help="Queue delay in ms; repeatable.")]
Loads = Annotated[
    list[float] | None, typer.Option(help="Rate as a share of saturation; repeatable.")
]
_BATCHES, _DELAYS_MS, _LOADS = (4, 16, 64), (0.0, 20.0, 50.0), (0.2, 0.5, 0.8, 0.95)


@batching.command()
def sweep(
    service: ServiceFile = None,
    prompt: Prompt = 512,
    new: New = 128,
    base_ms: Base = 12.0,
    each_ms: Each = 0.8,
    max_batch: Batches = None,
    delay_ms: Delays = None,
    load: Loads = None,
    arrival: Annotated[str, typer.Option(help="poisson, deterministic or gamma.")] = "poisson",
    cv: Annotated[float, typer.Option(help="Of gamma's gaps.")] = 1.0,
    instances: Annotated[int, typer.Option(min=1, help="Servers that share one queue.")] = 1,
    requests: Annotated[int, typer.Option(help="Requests a seed.")] = 100_000,
    seeds: Annotated[int, typer.Option(min=2, help="Independent runs a point.")] = 10,
    slo_ms: Annotated[float | None, typer.Option(help="Latency that counts as good.")] = None,
    output: Annotated[Path, typer.Option(help="The table.")] = Path("data/dyn_batch_sweep.csv"),
    plots: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("plots"),
) -> None:
    """Simulate static and dynamic batching over rates, delays and batches: a table and pictures."""
    from perfkit.batching import sweep as sweeping
    from perfkit.reporting import batching as pictures
    from perfkit.reporting.plots import save
    from perfkit.results.store import check_writable, write_whole

    batches = tuple(max_batch or _BATCHES)
    grid = sweeping.Grid(
        max_batches=batches,
        delays_s=tuple(one / 1e3 for one in delay_ms or _DELAYS_MS),
        loads=tuple(load or _LOADS),
        process=cast("Process", arrival),  # Load refuses what is none
        cv=cv,
        instances=instances,
        requests=requests,
        seeds=seeds,
        slo_s=None if slo_ms is None else slo_ms / 1e3,
    )
    table, words = _service(service, (base_ms, each_ms), (max(batches), prompt, new))
    check_writable(output.parent)
    rows: list[dict[str, object]] = []
    sizes: list[dict[str, object]] = []
    try:
        for found, per_s in sweeping.points(grid, table):
            rows.append(sweeping.row(found, grid, words, per_s))
            sizes += sweeping.sizes(found)
            typer.echo(sweeping.line(found, len(rows), sweeping.size(grid)))
    except KeyboardInterrupt:
        typer.echo(f"perfkit: interrupted; {len(rows)} finished points are kept", err=True)
    if not rows:
        raise typer.Exit(130)
    beside = output.with_name(f"{output.stem}_sizes.csv")
    write_whole(output, sweeping.table(rows))
    write_whole(beside, sweeping.table(sizes, sweeping.SIZES))
    typer.echo(f"{output}\n{beside}")
    if len(rows) < sweeping.size(grid):
        raise typer.Exit(130)
    for name, figure in pictures.figures(pictures.read(output), pictures.sizes(beside)).items():
        typer.echo(save(figure, plots / f"{name}.png", []))


@batching.command()
def capacity(
    rate: Annotated[float, typer.Option(help="Requests a second.")],
    p99_ms: Annotated[float, typer.Option(help="Limit of p99 latency.")],
    service: ServiceFile = None,
    prompt: Prompt = 512,
    new: New = 128,
    base_ms: Base = 12.0,
    each_ms: Each = 0.8,
    max_batch: Batches = None,
    delay_ms: Delays = None,
    routing: Annotated[
        str, typer.Option(help="random, round-robin, power-of-d or shortest.")
    ] = "power-of-d",
) -> None:
    """Say how many replicas a rate needs, with which batch and delay, to keep p99 under a limit."""
    from perfkit.batching.capacity import Need, capacity

    batches = tuple(max_batch or _BATCHES)
    table, words = _service(service, (base_ms, each_ms), (max(batches), prompt, new))
    need = Need(rate, p99_ms / 1e3, cast("Routing", routing))  # Fleet refuses others
    delays = tuple(one / 1e3 for one in delay_ms or _DELAYS_MS)
    found = capacity(need, table, batches, delays)
    typer.echo(
        f"{found.replicas} replicas, at most {found.max_batch} together, delay "
        f"{found.delay_s * 1e3:g} ms: p99 {found.p99.mean * 1e3:.4g} ms "
        f"(+- {found.p99.half * 1e3:.2g}), {found.margin:.1%} under {p99_ms:g} ms"
    )
    typer.echo(f"{rate:g} Poisson requests/s, routing {routing}; service: {words}; simulated")


def _service(
    path: Path | None, linear_ms: tuple[float, float], shape: tuple[int, int, int]
) -> tuple[NDArray[np.float64], str]:
    """Return the seconds of batches up to the largest, and what they are in words."""
    import numpy as np

    most, prompt, new = shape
    if path is not None:
        return _fitted(path).table(most, prompt, new), f"{path}, prompt {prompt}, new {new}"
    base, each = linear_ms
    if not (base >= 0 and each >= 0 and base + each > 0):
        raise UsageError(f"a batch of {base} ms and {each} ms each: expected numbers >= 0, one > 0")
    seconds = np.array([0.0, *((base + each * b) / 1e3 for b in range(1, most + 1))])
    return seconds, f"{base:g} ms + {each:g} ms a request"


def _fitted(path: Path) -> Service:
    import json

    from perfkit.batching.service import Service

    try:
        return Service.from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} is no fit of perfkit batching fit: {error}") from None


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
        f"{cells} cells, up to {reach}",
        f"prefill = {prefill}{_unseen(fitted.prefill_error)}",
        f"step = {step}{_unseen(fitted.step_error)}",
    ]


def _unseen(error: Error | None) -> str:
    """Return what a fit is worth: each cell by a fit to the others."""
    if error is None:
        return ""
    return f"; unseen cells: off by {error.mean:.1%} in the mean, {error.worst:.1%} at worst"
