"""``perfkit profile``: one case measured, then run once more under a profiler, and read at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perfkit.errors import UsageError, unknown
from perfkit.options import Device, Model, Rounds, Warmup

if TYPE_CHECKING:
    from perfkit.cases import Case
    from perfkit.profiling.table import Profile
    from perfkit.suite import Measuring

_TOOLS = ("torch", "nsys", "ncu")


def profile(
    case: Annotated[
        str, typer.Argument(help="As torch-eager/llama2-7b/bf16/fmha/b8/p512/n16/tp1.")
    ],
    tool: Annotated[str, typer.Option(help="torch, nsys or ncu.")] = "torch",
    rounds: Rounds = 5,
    max_warmup: Warmup = 3,
    model: Model = None,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(help="Seed of weights and prompts.")] = 0,
    output: Annotated[Path, typer.Option(help="Folder of results, traces and tables.")] = Path(
        "profiles"
    ),
    plots: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("plots"),
) -> None:
    """Measure one case, then say which kernels its prefill and its decode steps spend time in.

    torch's profiler works everywhere; nsys sees CUDA alone; ncu counts in the attention kernels.
    """
    from perfkit.cases import Case
    from perfkit.profiling import tools
    from perfkit.results.store import check_writable
    from perfkit.running import check_runs, resolve_device
    from perfkit.suite import Measuring

    if tool not in _TOOLS:
        raise UsageError(unknown("tool", tool, _TOOLS))
    found = resolve_device(device)
    asked = Case.parse(case)
    if tool != "torch":
        tools.check(tool, found, f"perfkit profile {asked.id} --tool {tool}")
    check_runs(asked, found)
    _check_seen(asked)
    check_writable(plots)
    stem = output / asked.id.replace("/", "_")
    matrix = _matrix(asked, found, stem.with_name(f"{stem.name}.toml"))
    what = Measuring(
        matrices=(str(matrix),),
        model=model,
        device=found,
        prompts=None,
        rounds=rounds,
        max_warmup=max_warmup,
        seed=seed,
        profile=output,
        profiler=tool,
    )
    if tool == "ncu":
        _ncu(what, stem)
    else:
        _phases(what, asked, stem, plots)


def _check_seen(case: Case) -> None:
    """Raise UsageError for a case whose engine nobody can look into."""
    if case.tp > 1 or case.backend.startswith("trtllm"):
        raise UsageError(
            f"{case.id}: its engine runs in a process of its own, which has no profile yet"
        )


def _matrix(case: Case, device: str, path: Path) -> Path:
    """Write the matrix of one cell, so that the session's command can be typed again."""
    from perfkit.results.store import check_writable, write_whole

    check_writable(path.parent)
    axes = "\n".join(f"{name} = [{json.dumps(value)}]" for name, value in case.model_dump().items())
    write_whole(path, f'description = "one cell"\ndevice = "{device}"\n\n[axes]\n{axes}\n')
    return path


def _phases(what: Measuring, case: Case, stem: Path, plots: Path) -> None:
    """Measure, profile by torch or nsys, and show the phases by kernel class."""
    from dataclasses import replace

    from perfkit.profiling.reading import read
    from perfkit.profiling.summary import summary
    from perfkit.reporting import profiling as report
    from perfkit.results import store
    from perfkit.running import Request, measure

    by_nsys = what.profiler == "nsys"
    if by_nsys:
        stem = _beside(stem, "_nsys")
    result = _beside(stem, ".json")
    alone = replace(what, profile=None, profiler="torch") if by_nsys else what
    code = measure(Request(alone, (), result, resume=False))
    if code not in (0, 1) or not result.is_file():
        raise typer.Exit(code or 1)
    document = store.read(result)
    cell = store.cells_of(document)[case.id]
    profile: Profile | None = None
    if by_nsys:
        profile = _by_nsys(what, stem)
        cell["profile"] = {"tool": "nsys", "file": Path(profile.source).name, **summary(profile)}
        store.write_whole(result, json.dumps(document, indent=1) + "\n")
    elif "file" in (told := cell.get("profile") or {}):
        profile = read(stem.parent / told["file"])
    for line in report.lines(cell):
        typer.echo(line)
    if profile is not None:
        _write(profile, document, case.id, stem, plots)
    typer.echo(result)
    raise typer.Exit(code)


def _write(
    profile: Profile, document: dict[str, Any], case_id: str, stem: Path, plots: Path
) -> None:
    from perfkit.reporting import profiling as report
    from perfkit.reporting.plots import save
    from perfkit.results.store import write_whole

    table = _beside(stem, "_kernels.csv")
    write_whole(table, profile.kernels.to_csv(index=False))
    typer.echo(table)
    figures = {
        "kernel_breakdown": report.breakdown([document]),
        "timeline": report.timeline(profile, case_id),
    }
    for name, figure in figures.items():
        if figure is not None:
            typer.echo(save(figure, plots / f"{name}.png", [document]))


def _by_nsys(what: Measuring, stem: Path) -> Profile:
    """Run the case once more under nsys, one round, and read what it saw."""
    from perfkit.profiling import tools
    from perfkit.profiling.reading import read

    report_file = _beside(stem, ".nsys-rep")
    code = _once(what, stem, tools.nsys(report_file), report_file)
    if code or not report_file.is_file():
        raise UsageError(
            f"the run under nsys ended with exit code {code} and "
            f"{'a' if report_file.is_file() else 'no'} {report_file}: see what it said above"
        )
    return read(report_file)


def _ncu(what: Measuring, stem: Path) -> None:
    """Count in the attention kernels, and show what was counted."""
    from perfkit.profiling import tools
    from perfkit.profiling.reading import read
    from perfkit.reporting.kernels import metric_table
    from perfkit.reporting.tables import console_of
    from perfkit.results.store import write_whole

    log = _beside(stem, "_ncu.csv")
    code = _once(what, stem, tools.ncu(log), log)
    said = tools.complaints(log)
    try:
        found = read(log)
    except UsageError as error:
        raise UsageError(f"ncu counted nothing: {said or error}") from None
    for note in (*found.notes, *([said] if said else [])):
        typer.echo(note)
    if found.metrics is not None:
        table = _beside(stem, "_ncu_metrics.csv")
        write_whole(table, found.metrics.to_csv(index=False))
        console_of(160).print(metric_table(found.metrics, tools.LAUNCHES))
        typer.echo(table)
    raise typer.Exit(code)


def _once(what: Measuring, stem: Path, under: list[str], made: Path) -> int:
    """Run the case under a profiler that makes a file, one round; its own row is of no use."""
    from dataclasses import replace

    from perfkit.running import Request, measure

    made.unlink(missing_ok=True)
    scratch = stem.with_name(f".under-{stem.name}.json")
    request = Request(
        replace(what, rounds=1, max_warmup=1), (), scratch, resume=False, under=tuple(under)
    )
    try:
        return measure(request)
    finally:
        for left in (scratch, scratch.with_suffix(".csv")):
            left.unlink(missing_ok=True)


def _beside(stem: Path, ending: str) -> Path:
    return stem.with_name(f"{stem.name}{ending}")
