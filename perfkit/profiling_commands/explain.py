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
    from perfkit.reporting import profiling as report
    from perfkit.reporting.plots import save
    from perfkit.results.store import check_writable, section
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
    check_writable(plots)
    asked = tuple(phase or _PHASES)
    alone = [_alone(first, one), _alone(second, other)]
    refused = {name: _shown(one, other, name, plots, alone) for name in asked}
    reasons = list(dict.fromkeys(reason for reason in refused.values() if reason))
    if all(refused.values()):
        raise UsageError("; ".join(reasons))
    told = [section(side, "profile").get("notes") for side in (one, other)]
    notes = [note for each in told if isinstance(each, list) for note in each]
    for text in (*(f"not explained: {reason}" for reason in reasons), *dict.fromkeys(notes)):
        typer.echo(text)
    figure = report.breakdown(alone)
    if figure is not None:
        typer.echo(save(figure, plots / "kernel_breakdown.png", alone))


def _shown(
    one: dict[str, Any], other: dict[str, Any], phase: str, plots: Path, documents: list[Document]
) -> str | None:
    """Print and draw what moved in a phase; return why not, where it cannot be explained."""
    from perfkit.profiling.explain import moved
    from perfkit.reporting import profiling as report
    from perfkit.reporting.plots import save

    picture = plots / ("waterfall.png" if phase == "decode" else "waterfall_prefill.png")
    try:
        found = moved(one, other, phase)
    except UsageError as error:
        return str(error)
    for line in report.waterfall_lines(found):
        typer.echo(line)
    typer.echo(save(report.waterfall(found, documents), picture, documents))
    return None


def _side(text: str) -> tuple[Document, dict[str, Any]]:
    """Return a file's document and its one profiled cell that is meant."""
    from perfkit.results import store

    name, _, pattern = text.partition("::")
    document = store.measured(store.read(Path(name)), Path(name))
    cells = store.cells_of(document)
    meant = {case: cell for case, cell in cells.items() if _means(pattern, case)}
    profiled = {case: cell for case, cell in meant.items() if store.section(cell, "profile")}
    if not meant:
        raise UsageError(f"{text}: no cell is meant; {name} has {', '.join(cells) or 'none'}")
    if len(profiled) != 1:
        told = ", ".join(profiled) or f"none of {len(meant)} cells: perfkit profile takes one"
        raise UsageError(
            f"{text}: expected one profiled cell, found {told}; FILE::TEXT takes whole parts of an "
            "id, as in bf16/fmha/b8, or * and ?"
        )
    return document, next(iter(profiled.values()))


def _means(pattern: str, case_id: str) -> bool:
    """Return whether an id has these whole parts, or this pattern of * and ? in it."""
    from perfkit.cases import wanted

    if "*" in pattern or "?" in pattern:
        return wanted(case_id, [pattern])
    return not pattern or f"/{pattern.strip('/')}/" in f"/{case_id}/"


def _alone(document: Document, cell: dict[str, Any]) -> Document:
    """Return the document with this one cell."""
    block = {**document["perfkit"], "cells": {"it": cell}}
    return {**document, "perfkit": block}
