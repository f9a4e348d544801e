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
    top: Annotated[int, typer.Option(min=1, help="How many kernels are printed.")] = 20,
) -> None:
    """Print where the time of a profile goes, by class and by kernel, and write it as CSV."""
    from perfkit.profiling.reading import read
    from perfkit.reporting.kernels import class_table, kernel_rows, metric_table
    from perfkit.reporting.tables import console_of
    from perfkit.results.store import check_writable

    kernels_csv = csv or _FOLDER / f"{stem(file)}_kernels.csv"
    if (
        kernels_csv.suffix != ".csv"
        or kernels_csv.is_dir()
        or kernels_csv.absolute() == file.absolute()
    ):
        raise UsageError(
            f"--csv {kernels_csv}: expected the name of a .csv file, not the profile's"
        )
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
        name = kernels_csv.stem.removesuffix("_kernels")
        _write(profile.metrics, kernels_csv.with_name(f"{name}_metrics.csv"))


def stem(file: Path) -> str:
    """Return a profile's name without what tells its kind."""
    return Path(file.name.removesuffix(".gz")).stem.removesuffix(".pt.trace")


def _write(table: pd.DataFrame, path: Path) -> None:
    from perfkit.results.store import write_whole

    write_whole(path, table.to_csv(index=False))
    typer.echo(path)
