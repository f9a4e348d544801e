"""The command ``perfkit dashboard``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def dashboard(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders or files of results; default results, data and baselines."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port; default 8501 or the next free one.")
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Open no browser.")] = False,
    address: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own shows all to all.")
    ] = "127.0.0.1",
) -> None:
    """Show result files in a browser: compare, history, Pareto, ablation, batching."""
    from perfkit.dashboard import launch

    found = launch.places(folders or [])
    line = launch.command(found, address=address, port=port, headless=headless)
    raise typer.Exit(launch.serve(line))
