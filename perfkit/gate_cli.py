"""The commands that hold runs against runs: gate, baseline, compare and ablation."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perfkit.errors import UsageError
from perfkit.options import Cases, Device, Model, Rounds, Warmup

if TYPE_CHECKING:
    from perfkit.results.store import Document
    from perfkit.suite import Measuring

baseline = typer.Typer(no_args_is_help=True, help="Record baselines of runs, and accept them.")
Matrices = Annotated[
    list[str] | None,
    typer.Option("--matrix", help="Matrix name or TOML file; default gate-cpu or gate-gpu."),
]
Baselines = Annotated[Path, typer.Option(help="Where baselines lie, by machine key.")]
Seed = Annotated[int, typer.Option(help="Seed of orders, weights and prompts.")]
Limit = Annotated[float, typer.Option(min=0, max=1, help="A smaller change is none.")]
_ROOT = Path("baselines")


def gate(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Result files of new runs, instead of making runs: one screens."),
    ] = None,
    matrix: Matrices = None,
    case: Cases = None,
    metric: Annotated[list[str] | None, typer.Option(help="Figure to judge; repeatable.")] = None,
    against: Annotated[
        str | None, typer.Option(help="Commit to take turns with, instead of a baseline.")
    ] = None,
    limit: Limit = 0.02,
    detect: Annotated[
        float, typer.Option(min=0, max=1, help="Change that must be seen to say SAME.")
    ] = 0.05,
    q: Annotated[float, typer.Option(min=0, max=1, help="False share among changes.")] = 0.05,
    fresh: Annotated[int, typer.Option(min=5, help="Runs that confirm, at least.")] = 5,
    retries: Annotated[int, typer.Option(min=0, help="An invalid run again, this often.")] = 1,
    model: Model = None,
    device: Device = "auto",
    seed: Seed = 0,
    baselines: Baselines = _ROOT,
    output: Annotated[Path, typer.Option(help="Folder of gate.json, gate.md, runs.")] = Path(
        "results/gate"
    ),
) -> None:
    """Judge this version against its baseline.

    Exit code 0; 1 where anything REGRESSED; 3 INVALID or MISSING; 4 INCONCLUSIVE.
    """
    from perfkit.gating import command
    from perfkit.reporting import gate as report
    from perfkit.reporting.tables import console_of
    from perfkit.results.gate import NOT_JUDGED, Rule

    request = command.GateRequest(
        what=_measuring(matrix, model, device, seed),
        rule=Rule(limit=limit, detect=detect, q=q, fresh=fresh),
        metrics=tuple(metric or ()),
        cases=tuple(case or ()),
        retries=retries,
        baselines=baselines,
        output=output,
        files=tuple(files or ()),
        against=against,
    )
    try:
        outcome, asked = command.gate(request, typer.echo)
    except UsageError:
        raise
    except Exception:  # Python's own exit code for it, 1, would say REGRESSED
        traceback.print_exc()
        typer.echo("perfkit: the gate itself failed: nothing was judged", err=True)
        raise typer.Exit(NOT_JUDGED) from None
    console = console_of(160)
    console.print(report.table(outcome.judgements))
    console.print(report.headline(outcome, asked), highlight=False, soft_wrap=True)
    typer.echo(f"{output / 'gate.json'}\n{output / 'gate.md'}")
    raise typer.Exit(outcome.exit_code)


@baseline.command()
def record(
    runs: Annotated[int, typer.Option(min=1, help="Fresh runs; a third of them screen.")] = 15,
    matrix: Matrices = None,
    rounds: Rounds = 10,
    max_warmup: Warmup = 2,
    model: Model = None,
    device: Device = "auto",
    seed: Seed = 0,
    baselines: Baselines = _ROOT,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with runs made before.")] = False,
) -> None:
    """Measure a matrix in fresh processes; the set waits for perfkit baseline accept."""
    from perfkit.gating import command

    what = _measuring(matrix, model, device, seed, rounds=rounds, max_warmup=max_warmup)
    typer.echo(command.record(what, baselines, runs, resume=resume, say=typer.echo))


@baseline.command()
def accept(
    reason: Annotated[str | None, typer.Option(help="Why it takes the old one's place.")] = None,
    matrix: Matrices = None,
    device: Device = "auto",
    limit: Limit = 0.02,
    baselines: Baselines = _ROOT,
) -> None:
    """Put recorded runs in the baseline's place, and write what changed into its CHANGES.md."""
    from perfkit.gating import command
    from perfkit.results.gate import Rule

    what = _measuring(matrix, None, device, 0)
    place, entry = command.accept(what, baselines, reason, Rule(limit=limit))
    typer.echo(f"{entry}\n{place}")


def compare(
    a: Annotated[Path, typer.Argument(help="A result file.")],
    b: Annotated[Path, typer.Argument(help="Another one.")],
) -> None:
    """Set two result files side by side; ratios only where machine and outputs allow."""
    from perfkit.reporting import compare as report
    from perfkit.reporting.tables import console_of
    from perfkit.results import store

    one, other = (store.measured(_read_any(path), path) for path in (a, b))
    rows = report.compare(one, other)
    console = console_of(160)
    console.print(report.table(rows, report.block_of(one, other)))
    for path, cells in zip((a, b), report.only_in(one, other), strict=True):
        if cells:
            console.print(f"only in {path}: {', '.join(cells)}", highlight=False, soft_wrap=True)


def ablation(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Result files, one a run, instead of measuring.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Fresh runs to make.")] = 5,
    rounds: Rounds = 5,
    max_warmup: Warmup = 2,
    matrix: Annotated[
        list[str] | None,
        typer.Option(help="Matrix name or TOML file; default ablation-cpu or ablation-gpu."),
    ] = None,
    case: Cases = None,
    model: Model = None,
    device: Device = "auto",
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Keep runs made before.")] = False,
    output: Annotated[Path, typer.Option(help="Folder of runs and reports.")] = Path(
        "results/ablation"
    ),
    plots: Annotated[Path, typer.Option(help="Folder for the picture.")] = Path("plots"),
) -> None:
    """Report what fused attention changes: every pair of cells that differ in it alone."""
    from perfkit.gating import ablation as command
    from perfkit.reporting import ablation as report
    from perfkit.reporting.tables import console_of
    from perfkit.running import chosen

    if not files:
        what = _measuring(
            matrix, model, device, seed, kind="ablation", rounds=rounds, max_warmup=max_warmup
        )
        ids = chosen(what, tuple(case or ()))
        files = command.make_runs(what, ids, runs, output / "runs", resume=resume, say=typer.echo)
    pairs, written = command.write_report(files, output, plots)
    console = console_of(160)
    console.print(report.table(pairs))
    console.print("\n".join(report.quoted(pairs)), highlight=False, soft_wrap=True)
    for path in written:
        typer.echo(path)


def _read_any(path: Path) -> Document:
    """Read a result file of generation or of attention."""
    from perfkit.results import store

    try:
        return store.read(path)
    except UsageError as error:
        try:
            return store.read(path, "perfkit_attention")
        except UsageError:
            raise error from None


def _measuring(
    matrix: list[str] | None,
    model: Path | None,
    device: str,
    seed: int,
    *,
    kind: str = "gate",
    rounds: int = 10,
    max_warmup: int = 2,
) -> Measuring:
    """Return what to measure; ``kind`` names the default matrix, and a gate's has canaries."""
    from perfkit.running import resolve_device
    from perfkit.suite import Measuring

    found = resolve_device(device)
    return Measuring(
        matrices=tuple(matrix or (f"{kind}-{found}",)),
        model=model,
        device=found,
        prompts=None,
        rounds=rounds,
        max_warmup=max_warmup,
        seed=seed,
        for_gate=kind == "gate",
    )
