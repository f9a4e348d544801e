"""Starts one after the other, each a fresh process of its own with a time limit."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError
from perfkit.machine.compiled_cache import FOLDERS
from perfkit.machine.processes import end_with_parent, kill, tail, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perfkit.cases import Case

EAGER = "torch-eager"
_PACKAGE = Path(__file__).resolve().parents[1]
# Imported in this order: what a later one would import by itself is counted where it is named.
_IMPORTS = {
    "torch": "torch",
    "triton": "triton",
    "compiler": "torch._inductor.compile_fx",
    "transformers": "transformers.models.llama.modeling_llama",
    "perfkit": "perfkit.starting.generation",
}


class StartError(Exception):
    """A start that failed or took too long; one line."""


@dataclass(frozen=True)
class Start:
    """What each process is asked: a case on a ``device`` ("cpu" or "cuda"), in ``timeout_s``."""

    case: Case
    device: str
    model: Path | None
    seed: int
    timeout_s: float


def sequence(*, compared: bool, runs: int) -> list[str]:
    """Return the kinds of start in their order: eager (where ``compared``) and warm by turns.

    An eager start comes first: it reads the libraries from disk, if anybody must.
    """
    if not compared:
        return ["cold"] + ["warm"] * runs
    return [EAGER, "cold", "warm"] + [EAGER, "warm"] * (runs - 1)


def measured(starts: dict[str, Start], kinds: Sequence[str], folder: Path) -> Iterator[Any]:
    """Yield the report of each start, its ``kind`` and what its cache holds after it.

    ``folder`` is empty; "cold" and "warm" share one cache in it, eager has its own. Raises
    UsageError for a case that cannot run here, StartError for a start that fails.
    """
    for kind in kinds:
        place = folder / ("eager" if kind == EAGER else "arm")
        before = set(_files(place))
        report = _one(starts[kind], place, folder)
        after = set(_files(place))
        held = sum(path.stat().st_size for path in after)
        cache = {"files": len(after), "new_files": len(after - before), "bytes": held}
        yield {"kind": kind, "case": starts[kind].case.id, **report, "cache": cache}


def _one(start: Start, cache: Path, folder: Path) -> dict[str, Any]:
    """Start a process and return its report."""
    report, log = folder / "report.json", folder / "log"
    report.unlink(missing_ok=True)
    asked: dict[str, Any] = {
        "case": start.case.id,
        "device": start.device,
        "model": str(start.model.resolve()) if start.model else None,
        "seed": start.seed,
        "imports": imports(start.case),
        "report": str(report),
    }
    with log.open("wb") as stream:
        asked["spawned"] = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "perfkit.starting.worker", json.dumps(asked)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment(cache),
            start_new_session=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509  (this process has one thread)
        )
        try:
            process.wait(start.timeout_s)
        except subprocess.TimeoutExpired:
            said = f"; it last said: {tail(log)}" if tail(log) else ""
            raise StartError(
                f"{start.case.id}: not done {start.timeout_s:g} s after its start{said}; "
                "--timeout allows more"
            ) from None
        finally:
            kill(process)  # and what it may have started
    if process.returncode != 0 or not report.is_file():
        raise StartError(f"{start.case.id}: its process {words(process.returncode)}: {tail(log)}")
    told: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    if "refused" in told:
        raise UsageError(told["refused"])
    return told


def imports(case: Case) -> dict[str, str]:
    """Return what a case's process imports, by the names under which it is timed."""
    left_out = set() if case.backend == "torch-compile" else {"compiler"}
    if importlib.util.find_spec("triton") is None:
        left_out.add("triton")
    return {name: module for name, module in _IMPORTS.items() if name not in left_out}


def environment(cache: Path) -> dict[str, str]:
    """Return the environment of a start whose compiled code is in ``cache`` and nowhere else."""
    kept = {name: value for name, value in os.environ.items() if name not in FOLDERS}
    paths = os.pathsep.join(filter(None, (str(_PACKAGE.parent), os.environ.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": paths, "PERFKIT_CACHE": str(cache)}


def _files(place: Path) -> list[Path]:
    """Return files of compiled code and what belongs to it; locks are none."""
    found = [path for path in place.rglob("*") if path.is_file()]
    return [path for path in found if path.suffix != ".lock" and path.name != "lock"]
