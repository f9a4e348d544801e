"""``perfkit explain``: which kernels the time between two arms moved to, or from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perfkit.errors import UsageError, unknown

if TYPE_CHECKING:
    from perfkit.results.store import Document

_SIDE = "FILE of perfkit profile; FILE::TEXT where it holds several profiled cells."
_PHASES = ("prefill", "decode")


def explain(
    a: Annotated[str, typer.Argument(help=_SIDE)],
    b: Annotated[str, typer.Argument(help=_SIDE)],
    phase: Annotated[
        list[str] | None, typer.Option(help="prefill or decode; both where they are known.")
    ] = None,
    plots: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("plots"),
) -> None:
    """Say what moved from A to B, by kernel class: of one prefill, and of one decode step."""
    from perfkit.profiling.explain import moved
    from perfkit.reporting import profiling as report
    from perfkit.reporting.plots import save
    from perfkit.results.store import section
    from perfkit.results.validity import machine_key

    for name in phase or ():
        if name not in _PHASES:
            raise UsageError(unknown("phase", name, _PHASES))
    (first, one), (second, other) = (_side(text) for text in (a, b))
    if machine_key(first) != machine_key(second):
        raise UsageError(
            f"measured on {machine_key(first)} and on {machine_key(second)}: time moves between "
            "arms of one machine alone"
        )
    known = [name for name in _PHASES if section(one, "profile", "phases", name)
             and section(other, "profile", "phases", name)]  # fmt: skip
    for name in phase or known or _PHASES:
        found = moved(one, other, name)
        for line in report.waterfall_lines(found):
            typer.echo(line)
        stem = "waterfall" if name == "decode" else "waterfall_prefill"
        typer.echo(save(report.waterfall(found), plots / f"{stem}.png", [first, second]))
    figure = report.breakdown([_alone(first, one), _alone(second, other)])
    if figure is not None:
        typer.echo(save(figure, plots / "kernel_breakdown.png", [first, second]))


def _side(text: str) -> tuple[Document, dict[str, Any]]:
    """Return a file's document and its one profiled cell that is meant."""
    from perfkit.results import store

    name, _, pattern = text.partition("::")
    document = store.measured(store.read(Path(name)), Path(name))
    cells = {case: cell for case, cell in store.cells_of(document).items() if pattern in case}
    profiled = {case: cell for case, cell in cells.items() if cell.get("profile")}
    if len(profiled) != 1:
        told = ", ".join(profiled) or f"none of {len(cells)} cells: perfkit profile takes one"
        raise UsageError(f"{text}: expected one profiled cell, found {told}")
    return document, next(iter(profiled.values()))


def _alone(document: Document, cell: dict[str, Any]) -> Document:
    """Return the document with this one cell."""
    block = {**document["perfkit"], "cells": {"it": cell}}
    return {**document, "perfkit": block}
