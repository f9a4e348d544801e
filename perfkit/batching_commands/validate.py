"""``perfkit batching validate``: a real batcher under recorded arrivals, beside its simulation."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perfkit.batching_commands.grouped import flag
from perfkit.errors import UsageError, unknown
from perfkit.options import Device

if TYPE_CHECKING:
    from perfkit.batching.policies import Policy
    from perfkit.batching.server.document import Document, Setup
    from perfkit.cases import Case

_LOADS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
_INTERRUPTED = 130


def validate(
    context: typer.Context,
    case: Annotated[
        str | None,
        typer.Argument(help="As torch-eager/llama-tiny/fp32/fmha/b4/p32/n8/tp1; b is the largest."),
    ] = None,
    policy: Annotated[str, typer.Option(help="dynamic, static or one-by-one.")] = "dynamic",
    max_batch: Annotated[
        int | None, typer.Option(min=1, help="Largest batch, instead of the case's.")
    ] = None,
    delay_ms: Annotated[float, typer.Option(min=0, help="Of dynamic batching.")] = 0.0,
    max_queue: Annotated[
        int, typer.Option(min=0, help="Of dynamic batching: refuse over so many waiting; 0: none.")
    ] = 0,
    timeout_ms: Annotated[
        float | None, typer.Option(help="Of dynamic batching: refuse who waited so long.")
    ] = None,
    load: Annotated[
        list[float] | None, typer.Option(help="Rate as a share of saturation; repeatable.")
    ] = None,
    requests: Annotated[int, typer.Option(min=1, help="Requests a load.")] = 200,
    fit_rounds: Annotated[
        int, typer.Option(min=1, help="Before each load: how often each batch size is timed.")
    ] = 10,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Of weights, prompts, order, arrivals.")] = 0,
    output: Annotated[Path, typer.Option(help="Every request's times, and the figures.")] = Path(
        "results/batching_validation.json"
    ),
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the loads that the output has.")
    ] = False,
    from_: Annotated[
        Path | None, typer.Option("--from", help="Measure nothing: predict for this file again.")
    ] = None,
) -> None:
    """Replay arrivals against a real batcher, and say how far off the simulator is.

    Before each load every batch size is timed, through the batcher. Then Poisson arrivals are sent
    in real time, and the simulator is run on the arrivals as received. Prediction needs numba
    (extra batching): without it, what was measured is kept, and --from predicts elsewhere.
    """
    from perfkit.batching.server import document as files
    from perfkit.running import resolve_device

    if from_ is not None:
        if case is not None:
            raise UsageError(f"--from {from_}: measures nothing, so expected no case")
        sources = {name: context.get_parameter_source(name) for name in context.params}
        given = (
            name for name, source in sources.items() if source and source.name == "COMMANDLINE"
        )
        others = [flag(name) for name in given if name != "from_"]
        if others:
            raise UsageError(
                f"--from {from_}: measures nothing, and the file says all else: leave out "
                f"{', '.join(others)}"
            )
        document, setup = files.read(from_)
        _predict(from_, document, setup)
        return
    if case is None:
        raise UsageError("expected a case to measure, or --from FILE")
    found = resolve_device(device)
    largest = _case(case, max_batch, policy, found)
    rules = _policy(policy, largest.batch, delay_ms, max_queue, timeout_ms)
    where = "cuda" if found == "gpu" else "cpu"
    setup = files.Setup(largest, rules, requests, fit_rounds, seed, where)
    _measure(setup, tuple(load or _LOADS), output, resume=resume)


def _measure(setup: Setup, loads: tuple[float, ...], output: Path, *, resume: bool) -> None:
    from perfkit.batching.server import document as files
    from perfkit.batching.server import session
    from perfkit.results.store import check_writable
    from perfkit.running import check_output

    if any(not 0 < one < math.inf for one in loads) or len(set(loads)) < len(loads):
        raise UsageError(f"--load {loads}: expected different shares over 0")
    check_output(output)
    check_writable(output.parent)
    document = session.begin(setup, ["perfkit", *sys.argv[1:]])
    if resume and output.is_file():
        kept, _ = files.read(output)
        session.resumable(kept, document)
        document = kept
    try:
        session.measure(setup, loads, document, lambda done: _write(output, done), typer.echo)
    except KeyboardInterrupt:
        finished = len(document["loads"])
        typer.echo(f"perfkit: interrupted; {finished} finished loads are kept", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    _predict(output, document, setup)


def _predict(path: Path, document: Document, setup: Setup) -> None:
    from perfkit.batching.server.comparison import compare
    from perfkit.reporting.validation import lines

    try:
        document["compared"] = compare(document, setup)
    except ImportError as error:
        typer.echo(
            f"measured, not predicted: {error.name} is not installed here; where it is: "
            f"perfkit batching validate --from {path}"
        )
        return
    _write(path, document)
    for line in lines(document["compared"]):
        typer.echo(line)
    typer.echo(path)


def _write(path: Path, document: Document) -> None:
    from perfkit.results.store import write_whole

    write_whole(path, json.dumps(document) + "\n")


def _case(text: str, max_batch: int | None, policy: str, device: str) -> Case:
    """Return the case at its largest batch. Raises UsageError where it cannot run here."""
    from perfkit.cases import Case
    from perfkit.running import check_runs

    case = Case.parse(text)
    if policy == "one-by-one":
        if max_batch is not None:
            raise UsageError("--max-batch is no option of one-by-one: leave it out")
        case = case.but(batch=1)
    elif max_batch is not None:
        case = case.but(batch=max_batch)
    check_runs(case, device)
    return case


def _policy(
    kind: str, batch: int, delay_ms: float, max_queue: int, timeout_ms: float | None
) -> Policy:
    from perfkit.batching.policies import Dynamic, OneByOne, Static

    if kind == "dynamic":
        if math.isinf(delay_ms):
            raise UsageError("--delay-ms inf: --policy static is what waits for a full batch")
        timeout_s = None if timeout_ms is None else timeout_ms / 1e3
        return Dynamic(batch, delay_ms / 1e3, max_queue=max_queue, timeout_s=timeout_s)
    if kind not in ("static", "one-by-one"):
        raise UsageError(unknown("policy", kind, ("dynamic", "static", "one-by-one")))
    if delay_ms or max_queue or timeout_ms is not None:
        raise UsageError(f"--policy {kind} has no delay, limit or timeout: leave them out")
    return Static(batch) if kind == "static" else OneByOne()
