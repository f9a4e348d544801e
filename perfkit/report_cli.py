"""The commands that show and check what was measured: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    results: Annotated[list[Path], typer.Argument(help="Result files, or folders of them.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file.")] = Path(
        "report.html"
    ),
    static: Annotated[
        bool, typer.Option("--static", help="Pictures without script, also where Altair is.")
    ] = False,
) -> None:
    """Write one self-contained HTML file of results: it needs no network and no file beside it.

    Files that cannot be read are named in it and here; the rest is shown.
    """
    from perfkit.reporting.page.gathering import gather
    from perfkit.reporting.page.writing import page
    from perfkit.results.store import check_file, write_whole

    gathered = gather(results)
    check_file(output)
    write_whole(output, page(gathered, interactive=False if static else None))
    for line in gathered.problems:
        typer.echo(f"perfkit: {line}", err=True)
    typer.echo(output)
