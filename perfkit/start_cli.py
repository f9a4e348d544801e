"""``perfkit start``: how long a fresh process takes to its first token, and when that pays."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perfkit.errors import UsageError
from perfkit.options import Device, Model

if TYPE_CHECKING:
    from perfkit.cases import Case

_OUTPUT = Path("results/start.json")


def start(
    case: Annotated[
        str, typer.Argument(help="As torch-triton/llama2-7b/bf16/fmha/b1/p128/n128/tp1.")
    ],
    runs: Annotated[int, typer.Option(min=1, help="Warm starts, and torch-eager's.")] = 3,
    timeout: Annotated[float, typer.Option(min=1, help="Limit of a process, seconds.")] = 900,
    model: Model = None,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(help="Seed of weights and prompts.")] = 0,
    output: Annotated[Path, typer.Option(help="Result file.")] = _OUTPUT,
) -> None:
    """Start fresh processes, compiled code on disk or not, and time each to its first token.

    One cold start over an empty cache, warm ones over what it left, and torch-eager's between them.
    """
    from perfkit.backends import backend
    from perfkit.reporting import starts as report
    from perfkit.reporting.tables import console_of
    from perfkit.results.store import check_writable, write_whole
    from perfkit.running import check_output, resolve_device
    from perfkit.starting import document as files
    from perfkit.starting.runs import EAGER, Start, StartError, measured, sequence

    found = "cuda" if resolve_device(device) == "gpu" else "cpu"
    asked = _case(case, model)
    reason = backend(asked.backend).unsupported(asked, found)
    if reason is not None:
        raise UsageError(f"{asked.id} cannot run here: {reason}")
    check_output(output)
    check_writable(output.parent)
    mine = Start(asked, found, model, seed, timeout)
    eager = replace(mine, case=asked.model_copy(update={"backend": EAGER}))
    kinds = sequence(compared=asked.backend != EAGER, runs=runs)
    done = []
    try:
        with tempfile.TemporaryDirectory(prefix="perfkit-start-") as folder:
            asking = {EAGER: eager, "cold": mine, "warm": mine}
            for process in measured(asking, kinds, Path(folder)):
                done.append(process)
                typer.echo(report.line(process))
    except StartError as error:
        typer.echo(f"perfkit: {error}", err=True)
        raise typer.Exit(1) from None
    made = files.document(mine, runs, ["perfkit", *sys.argv[1:]], done)
    write_whole(output, json.dumps(made, indent=1) + "\n")
    console_of(100).print(report.table(made))
    for line in report.lines(made):
        typer.echo(line)
    typer.echo(output)


def _case(text: str, model: Path | None) -> Case:
    """Return the case, of a model that is there, in one process of perfkit's own."""
    from perfkit.cases import Case, check_positions
    from perfkit.inputs import models

    case = Case.parse(text)
    if case.tp > 1 or case.backend.startswith("trtllm"):
        raise UsageError(
            f"{case.id}: its engine runs in processes of its own, whose starts are not taken apart "
            "here: give a PyTorch case at tp1"
        )
    local = models.local(model) if model else None
    source = models.find(case.model, {local.name: local} if local else {})
    try:
        check_positions(case, source.arch.positions)
    except ValueError as error:
        raise UsageError(f"{case.id} cannot run: {error}") from None
    return case
