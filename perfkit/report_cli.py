"""The commands that show and check what was measured: report, verify and demo."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from perfkit.errors import UsageError


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
    if output.exists() and any(path.exists() and path.samefile(output) for path in gathered.read):
        raise UsageError(f"{output} is one of the files to report, which is not written over: -o")
    write_whole(output, page(gathered, interactive=False if static else None))
    for line in gathered.problems:
        typer.echo(f"perfkit: {line}", err=True)
    typer.echo(output)


def verify(
    files: Annotated[list[Path], typer.Argument(help="Result files, or folders of them.")],
) -> None:
    """Recompute every statistic of result files from their raw samples; 1 where one differs.

    Files of a folder that hold no figures are named, and do not matter.
    """
    from perfkit.results.store import json_files
    from perfkit.verifying.files import NoFiguresError
    from perfkit.verifying.files import verify as check
    from perfkit.verifying.lines import lines

    bad: list[str] = []
    differs = False
    for path in json_files(files, bad.append):
        try:
            document, found = check(path)
        except NoFiguresError as error:
            if path in files:
                bad.append(str(error))
            else:
                typer.echo(f"perfkit: {error}", err=True)
            continue
        except UsageError as error:
            bad.append(str(error))
            continue
        for line in lines(path, document, found):
            typer.echo(line)
        differs = differs or bool(found.mismatches)
    if bad:
        raise UsageError("; ".join(bad))
    raise typer.Exit(int(differs))


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file.")] = Path(
        "results/demo.html"
    ),
    no_open: Annotated[bool, typer.Option("--no-open", help="Print the path alone.")] = False,
) -> None:
    """Open a report of results measured on an H200 and an H100: it needs no GPU.

    A synthetic sample of TensorRT-LLM stands in it too, apart and marked as such.
    """
    from perfkit.paths import demo_results

    report(demo_results(), output, static=False)
    if not no_open and not webbrowser.open(output.resolve().as_uri()):
        typer.echo("perfkit: no browser could be started: open the file in one", err=True)
