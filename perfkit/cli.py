"""The command ``perfkit`` and its subcommands. Wrong use ends with exit code 2."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perfkit import batching_cli, dashboard_cli, gate_cli, report_cli, start_cli, trt_cli
from perfkit.errors import UsageError, unknown
from perfkit.options import Cases, Device, Model, Prompts, Resume, Rounds, Warmup
from perfkit.profiling_commands.explain import explain
from perfkit.profiling_commands.parse import parse
from perfkit.profiling_commands.profile import profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.results.store import Document
    from perfkit.sweep.local import Local
    from perfkit.sweep.on_ray import OnRay

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A performance lab for LLM inference that says how it knows.",
)
_COMMANDS = (
    gate_cli.gate, gate_cli.compare, gate_cli.ablation, trt_cli.build_engine, trt_cli.trt,
    trt_cli.trt_plots, trt_cli.trtllm_bench, trt_cli.import_trtllm_bench, profile, parse, explain,
    start_cli.start, dashboard_cli.dashboard, report_cli.report, report_cli.verify, report_cli.demo,
)  # fmt: skip
for _command in _COMMANDS:
    app.command()(_command)
app.add_typer(gate_cli.baseline, name="baseline")
app.add_typer(batching_cli.batching, name="batching")
_RESULT = Path("results/metrics_pytorch.json")
_INTERRUPTED = 130


@app.command()
def run(
    matrix: Annotated[
        list[str] | None, typer.Option(help="Matrix name or TOML file; repeatable.")
    ] = None,
    case: Cases = None,
    model: Model = None,
    device: Device = "auto",
    prompts: Prompts = None,
    rounds: Rounds = 5,
    max_warmup: Warmup = 3,
    seed: Annotated[int, typer.Option(help="Seed of weights and prompts.")] = 0,
    output: Annotated[Path, typer.Option(help="Result file; a .csv goes beside it.")] = _RESULT,
    resume: Resume = False,
) -> None:
    """Measure the cells of a matrix on this machine, and print a table."""
    from perfkit.running import Request, measure_and_show
    from perfkit.suite import Measuring

    what = Measuring(
        matrices=tuple(matrix or ()),
        model=model,
        device=device,
        prompts=prompts,
        rounds=rounds,
        max_warmup=max_warmup,
        seed=seed,
    )
    raise typer.Exit(measure_and_show(Request(what, tuple(case or ()), output, resume)))


@app.command()
def sweep(
    matrix: Annotated[
        list[str] | None,
        typer.Argument(help="Matrix names or TOML files; smoke, or llama2-7b on a GPU."),
    ] = None,
    model: Model = None,
    device: Device = "auto",
    prompts: Prompts = None,
    rounds: Rounds = 3,
    max_warmup: Warmup = 1,
    seed: Annotated[int, typer.Option(help="Seed of weights, prompts and order.")] = 0,
    cell_timeout: Annotated[float, typer.Option(min=1, help="Limit of a cell, seconds.")] = 600,
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("data"),
    case: Cases = None,
    transport: Annotated[
        str, typer.Option(help="local, or ray: a cluster's nodes (extra ray).")
    ] = "local",
    resume: Annotated[bool, typer.Option("--resume", help="Measure only what is missing.")] = False,
    again: Annotated[
        list[str] | None, typer.Option(help="With --resume: this verdict too; repeatable.")
    ] = None,
    no_forecast: Annotated[
        bool, typer.Option("--no-forecast", help="Run what the memory forecast refuses.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan alone.")] = False,
) -> None:
    """Measure every cell of a matrix, each group of cells in a process of its own."""
    from perfkit.running import resolve_device
    from perfkit.suite import Measuring
    from perfkit.sweep.driver import Sweep, limits
    from perfkit.sweep.folder import Folder
    from perfkit.sweep.planning import Request, plan_lines
    from perfkit.sweep.progress import Progress

    if again and not resume:
        raise UsageError("--again measures cells of a finished sweep once more: add --resume")
    found = resolve_device(device)
    what = Measuring(
        matrices=tuple(matrix or ("smoke" if found == "cpu" else "llama2-7b",)),
        model=model,
        device=found,
        prompts=prompts,
        rounds=rounds,
        max_warmup=max_warmup,
        seed=seed,
        cell_timeout_s=cell_timeout,
    )
    request = Request(
        what, output, tuple(case or ()), resume, frozenset(again or ()), not no_forecast
    )
    progress, folder = Progress(sys.stdout), Folder(output)
    made = _transport(transport)(what, folder.journal, limits(request), progress.say)
    if dry_run:
        for line in plan_lines(request, made):
            typer.echo(line)
        return
    code = Sweep(request, made, progress.say, progress.state).run()
    for path in (folder.results, folder.table):
        if path.is_file():
            typer.echo(path)
    raise typer.Exit(code)


def _transport(name: str) -> type[Local | OnRay]:
    if name == "local":
        from perfkit.sweep.local import Local

        return Local
    if name == "ray":
        from perfkit.sweep.on_ray import OnRay

        return OnRay
    raise UsageError(unknown("transport", name, ("local", "ray")))


@app.command()
def doctor() -> None:
    """Say what this machine can run, and why the rest would skip."""
    from rich.console import Console

    from perfkit.doctor import report

    Console().print(report())


@app.command()
def plots(
    files: Annotated[list[Path] | None, typer.Argument(help="Result files.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("plots"),
    only: Annotated[
        list[str] | None, typer.Option(help="A picture, as memory; repeatable. All without it.")
    ] = None,
) -> None:
    """Draw result files: tokens_per_sec.png, latency_cdf.png and memory.png.

    Where they hold a range of batches or prompt lengths, also throughput_vs_batch.png,
    latency_vs_prompt.png and throughput_latency_pareto.png; where profiled, kernel_breakdown.png.
    """
    from perfkit.results.store import check_writable

    documents, bad = _read_all(files or [_RESULT])
    if documents:
        check_writable(output)
        from perfkit.reporting.plots import draw_all

        for path in draw_all(documents, output, only):
            typer.echo(path)
    if bad:
        raise UsageError("; ".join(bad))


@app.command()
def memory(
    files: Annotated[list[Path] | None, typer.Argument(help="Result files.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for the picture.")] = Path("plots"),
) -> None:
    """Print the memory forecast of each cell beside what it took, and draw memory.png."""
    from perfkit.reporting.memory_table import memory_table
    from perfkit.reporting.tables import show
    from perfkit.results.store import check_writable

    documents, bad = _read_all(files or [_RESULT])
    if documents:
        check_writable(output)
        for document in documents:
            show(memory_table(document), document, 160)
        from perfkit.reporting.plots import memory_figure, save

        typer.echo(save(memory_figure(documents), output / "memory.png", documents))
    if bad:
        raise UsageError("; ".join(bad))


@app.command()
def attention(
    file: Annotated[Path, typer.Argument(help="Result file of benchmarks/test_attention.py.")],
    output: Annotated[Path, typer.Option(help="Folder for the picture.")] = Path("plots"),
) -> None:
    """Print the attention table and draw attention_tflops.png from a result file."""
    from perfkit.reporting.attention import figure, has_picture, tables
    from perfkit.reporting.tables import console_of
    from perfkit.results.store import check_writable, read

    document = read(file, "perfkit_attention")
    console = console_of(170)
    for table in tables(document):
        console.print(table)
    if has_picture(document):
        check_writable(output)
        from perfkit.reporting.plots import save

        typer.echo(save(figure(document), output / "attention_tflops.png", [document]))


def _read_all(files: Sequence[Path]) -> tuple[list[Document], list[str]]:
    from perfkit.results.store import read

    documents, bad = [], []
    for path in files:
        try:
            documents.append(read(path))
        except UsageError as error:
            bad.append(str(error))
    return documents, bad


def main() -> None:
    """Run the command; a person's mistake is one line on stderr and exit code 2."""
    try:
        app()
    except UsageError as error:
        typer.echo(f"perfkit: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("perfkit: interrupted", err=True)
        sys.exit(_INTERRUPTED)
