"""``perfkit parse``: what a profile from anywhere says, as tables and CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perfkit.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

_FOLDER = Path("profiles")


def parse(
    file: Annotated[
        Path,
        typer.Argument(
            help="SQLite export, .nsys-rep, nsys stats CSV, ncu --csv, or a trace of PyTorch."
        ),
    ],
    csv: Annotated[
        Path | None, typer.Option(help="The kernel table; profiles/NAME_kernels.csv.")
    ] = None,
    plots: Annotated[Path, typer.Option(help="Folder for the timeline.")] = Path("plots"),
    top: Annotated[int, typer.Option(min=1, help="How many kernels are printed.")] = 20,
) -> None:
    """Print where the time of a profile goes, by class and by kernel, and write it as CSV.

    Where ranges named prefill or decode tell phases, draw timeline.png too.
    """
    from perfkit.profiling.reading import read
    from perfkit.reporting.kernels import class_table, kernel_rows, metric_table
    from perfkit.reporting.plots import save
    from perfkit.reporting.profiling import timeline
    from perfkit.reporting.tables import console_of
    from perfkit.results.store import check_writable

    kernels_csv = csv or _FOLDER / f"{stem(file)}_kernels.csv"
    metrics_csv = kernels_csv.with_name(f"{kernels_csv.stem.removesuffix('_kernels')}_metrics.csv")
    if kernels_csv.suffix != ".csv" or kernels_csv.is_dir():
        raise UsageError(f"--csv {kernels_csv}: expected the name of a .csv file")
    for path in (kernels_csv, metrics_csv):
        if path.resolve() == file.resolve():
            raise UsageError(f"{path} is the profile itself, which is not written over: --csv")
    profile = read(file)
    check_writable(kernels_csv.parent)
    console = console_of(160)
    console.print(class_table(profile.kernels))
    console.print(kernel_rows(profile.kernels, top))
    if profile.metrics is not None:
        console.print(metric_table(profile.metrics, top))
    for note in profile.notes:
        typer.echo(f"note: {note}")
    _write(profile.kernels, kernels_csv)
    if profile.metrics is not None:
        _write(profile.metrics, metrics_csv)
    figure = timeline(profile, file.name)
    if figure is not None:
        typer.echo(save(figure, plots / "timeline.png", []))


def stem(file: Path) -> str:
    """Return a profile's name without what tells its kind."""
    return Path(file.name.removesuffix(".gz")).stem.removesuffix(".trace").removesuffix(".pt")


def _write(table: pd.DataFrame, path: Path) -> None:
    from perfkit.results.store import write_whole

    write_whole(path, table.to_csv(index=False))
    typer.echo(path)
