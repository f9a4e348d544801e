"""What a sweep is asked for: its groups, what it refuses to run, and how it reads beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit.architectures import ARCHITECTURES
from perfkit.cases import wanted
from perfkit.errors import UsageError, unknown
from perfkit.plan import load_plan
from perfkit.results.record import VERDICTS, Result
from perfkit.results.store import Journal
from perfkit.roofline import forecast
from perfkit.running import check_prompts
from perfkit.sweep import estimate
from perfkit.sweep.folder import Folder
from perfkit.sweep.groups import Group, grouped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from perfkit.cases import Case
    from perfkit.plan import PlannedCell
    from perfkit.suite import Measuring
    from perfkit.sweep.transport import Host, Transport

_GIB = 2**30


@dataclass(frozen=True)
class Request:
    """What a person asked ``perfkit sweep`` for.

    ``cases`` are patterns, one of which an id must match; ``again`` are verdicts to measure once
    more.
    """

    what: Measuring
    folder: Path
    cases: tuple[str, ...] = ()
    resume: bool = False
    again: frozenset[str] = frozenset()
    forecast: bool = True


def planned(request: Request) -> tuple[Group, ...]:
    """Return the groups of the matrices' cells. Raises UsageError for what they have wrong."""
    what = request.what
    cells = load_plan(what.matrices, str(what.model) if what.model else None)
    chosen = [cell for cell in cells if wanted(cell.case.id, request.cases)]
    if not chosen:
        raise UsageError(
            f"none of the {len(cells)} cells of {', '.join(what.matrices)} matches "
            f"{', '.join(request.cases)}"
        )
    return grouped(chosen, what.seed)


def check(request: Request) -> None:
    """Raise UsageError for verdicts that do not exist and for prompts that cannot be read."""
    for verdict in request.again:
        if verdict not in VERDICTS:
            raise UsageError(unknown("verdict", verdict, VERDICTS))
    check_prompts(request.what)


def asked(request: Request, machine: Host, ids: Sequence[str]) -> dict[str, Any]:
    """Return what a resumed sweep must have asked for too, as sweep.json keeps it."""
    what = request.what
    return {
        "machine": machine.machine_key,
        "device": what.device,
        "seed": what.seed,
        "rounds": what.rounds,
        "max_warmup": what.max_warmup,
        "cells": list(ids),
    }


def refused(
    cell: PlannedCell, request: Request, transport: Transport, memory_bytes: int | None
) -> Result | None:
    """Return the verdict of a cell that no process need be started for, or None."""
    if cell.device != request.what.device:
        reason: str | None = f"this sweep measures the {request.what.device}: choose with --device"
    else:
        reason = transport.refuses(cell)
    if reason is not None:
        return Result(cell.case, "unsupported", reason)
    return too_large(cell.case, memory_bytes) if request.forecast else None


def too_large(case: Case, memory_bytes: int | None) -> Result | None:
    """Return the verdict ``oom`` where the forecast alone is more than the devices have."""
    arch = ARCHITECTURES.get(case.model)
    if arch is None or memory_bytes is None:
        return None
    expected, there = forecast(case, arch), memory_bytes * case.tp
    if expected.total_bytes <= there:
        return None
    reason = (
        f"not run: forecast {expected.total_bytes / _GIB:.1f} GiB, the device has "
        f"{there / _GIB:.1f} GiB; --no-forecast runs it"
    )
    return Result(case, "oom", reason, {"memory": {"forecast": expected.to_json()}})


def plan_lines(request: Request, transport: Transport) -> Iterator[str]:
    """Say what would be measured, in which order, on what, for how long, and what is refused.

    Changes nothing. Raises UsageError as the sweep itself would.
    """
    groups, machine, folder = planned(request), transport.host(), Folder(request.folder)
    what = request.what
    check(request)
    ids = [case_id for group in groups for case_id in group.ids]
    folder.check(asked(request, machine, ids), resume=request.resume)
    journal = Journal(folder.journal)
    finished = journal.peek(machine.machine_key) if request.resume else {}
    done = {case_id: cell["verdict"] for case_id, (cell, _) in finished.items()}
    lines: list[str] = []
    total_s, run = 0.0, 0
    for number, group in enumerate(groups, start=1):
        mine: list[str] = []
        spent_s = 0.0
        for cell in group.cells:
            words, seconds = _fate(cell, request, transport, machine.memory_bytes, done)
            mine.append(f"  {cell.case.id}{words}")
            spent_s += seconds
            run += seconds > 0
        if spent_s:
            spent_s += estimate.RATES[what.device].start_s
        total_s += spent_s
        gpus = (
            f", {group.gpus} GPU" + ("s" if group.gpus > 1 else "") if what.device == "gpu" else ""
        )
        time = f"about {estimate.words(spent_s)}" if spent_s else "nothing to measure"
        lines.append(f"group {number}: {group.name}{gpus}, {len(group.cells)} cells, {time}")
        lines += mine
    cells = sum(len(group.cells) for group in groups)
    yield f"{cells} cells in {len(groups)} groups on {machine.machine_key}, seed {what.seed}"
    yield f"devices: {machine.about}"
    yield f"{run} cells to measure, about {estimate.words(total_s)} by nominal rates"
    yield from lines


def _fate(
    cell: PlannedCell,
    request: Request,
    transport: Transport,
    memory_bytes: int | None,
    done: Mapping[str, str],
) -> tuple[str, float]:
    """Return what a plan says beside a cell, and the seconds it will take."""
    before = done.get(cell.case.id)
    if before is not None and before not in request.again:
        return f" {before}: finished", 0.0
    result = refused(cell, request, transport, memory_bytes)
    if result is not None:
        return f" {result.verdict}: {result.reason}", 0.0
    return "", estimate.cell_s(cell.case, request.what)
