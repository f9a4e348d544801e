"""``perfkit run``: check what was asked, then let pytest measure it in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from perfkit.cases import wanted
from perfkit.errors import UsageError
from perfkit.paths import shipped
from perfkit.plan import load_plan
from perfkit.results import store
from perfkit.suite import Measuring, command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from perfkit.cases import Case

_DEVICES = ("auto", "cpu", "gpu")
_DEFAULTS = {"cpu": "baseline-cpu", "gpu": "baseline-gpu"}
_INTERRUPTED = 130


@dataclass(frozen=True)
class Request:
    """What a person asked ``perfkit run`` for.

    ``cases`` are patterns, one of which an id must match. ``what`` may still say device "auto" and
    no matrix: then the machine decides. ``under`` is the command of a profiler that runs it all.
    """

    what: Measuring
    cases: tuple[str, ...]
    output: Path
    resume: bool
    under: tuple[str, ...] = ()


def measure(request: Request) -> int:
    """Measure and write the result file and its CSV; return the exit code.

    Raises UsageError, before anything is measured, for whatever the request has wrong.
    """
    device = resolve_device(request.what.device)
    matrices = request.what.matrices or (_DEFAULTS[device],)
    what = replace(request.what, device=device, matrices=matrices)
    ids = chosen(what, request.cases)
    check_output(request.output)
    check_prompts(what)
    store.check_writable(request.output.parent)
    partial = request.output.with_name(f".{request.output.name}.partial")
    journal = request.output.with_suffix(".journal.jsonl")
    partial.unlink(missing_ok=True)
    if not request.resume:
        journal.unlink(missing_ok=True)
    made = command(what, ids, output=partial, journal=journal, resume=request.resume)
    code = _pytest([*request.under, *made])
    return _keep(request, code, partial, journal)


def measure_and_show(request: Request) -> int:
    """Measure, print the table and the names of the files; return the exit code."""
    code = measure(request)
    if request.output.is_file() and code != _INTERRUPTED:
        from perfkit.reporting.tables import results_table, show

        document = store.read(request.output)
        show(results_table(document), document)
        print(f"{request.output}\n{request.output.with_suffix('.csv')}")  # noqa: T201
    return code


def chosen(what: Measuring, patterns: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the ids of the cells to measure. Raises UsageError where none is left."""
    plan = load_plan(what.matrices, str(what.model) if what.model else None)
    ids = tuple(
        cell.case.id
        for cell in plan
        if cell.device == what.device and wanted(cell.case.id, patterns)
    )
    if not ids:
        raise UsageError(
            f"none of the {len(plan)} cells of {', '.join(what.matrices)} is left for the "
            f"{what.device}" + (f" with {', '.join(patterns)} in its id" if patterns else "")
        )
    return ids


def resolve_device(asked: str) -> str:
    """Return "cpu" or "gpu"; auto takes the GPU where there is one."""
    if asked not in _DEVICES:
        raise UsageError(f"unknown device {asked!r}: expected one of {', '.join(_DEVICES)}")
    from perfkit.machine.identity import gpu_absence, gpus

    if asked == "auto":
        return "gpu" if gpus() else "cpu"
    if asked == "gpu" and not gpus():
        raise UsageError(f"--device gpu: no GPU found ({gpu_absence()})")
    return asked


def check_runs(case: Case, device: str) -> None:
    """Raise UsageError where a backend cannot run a case on ``device``, "cpu" or "gpu"."""
    from perfkit.backends import backend

    reason = backend(case.backend).unsupported(case, "cuda" if device == "gpu" else "cpu")
    if reason is not None:
        raise UsageError(f"{case.id} cannot run here: {reason}")


def check_output(path: Path) -> None:
    """Raise UsageError where a result file cannot have that name."""
    if path.suffix != ".json" or path.is_dir():
        raise UsageError(f"--output {path}: expected the name of a .json file")


def check_prompts(what: Measuring) -> None:
    """Raise UsageError for prompts that cannot be read."""
    from perfkit.inputs.prompts import read

    read(what.prompts or shipped("data/prompts.txt"))


def _pytest(made: list[str]) -> int:
    """Run pytest; Ctrl-C reaches it too, so only wait for it to finish."""
    interrupted = False
    with subprocess.Popen(made) as process:
        while process.returncode is None:
            try:
                process.wait()
            except KeyboardInterrupt:
                interrupted = True
    return _INTERRUPTED if interrupted and process.returncode else process.returncode


def _keep(request: Request, code: int, partial: Path, journal: Path) -> int:
    if not partial.is_file():
        if code == _INTERRUPTED:
            sys.stderr.write("perfkit: interrupted before any cell was finished\n")
        return code or 1
    document = store.read(partial)
    partial.replace(request.output)
    if code == _INTERRUPTED:
        kept = f"finished cells are kept in {request.output}; go on with --resume"
        sys.stderr.write(f"perfkit: interrupted; {kept}\n")
        return code
    journal.unlink(missing_ok=True)
    from perfkit.reporting.frame import write_csv

    write_csv(document, request.output.with_suffix(".csv"))
    return code
