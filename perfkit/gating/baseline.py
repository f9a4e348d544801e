"""Stored baselines: sets of runs under baselines/<machine key>/<name>/, recorded, then accepted.

``screening`` and ``confirming`` hold the runs, one pytest-benchmark JSON each. A new set waits in
``<name>.candidate`` until a person accepts it with a reason; CHANGES.md keeps what was accepted.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError
from perfkit.results import store
from perfkit.results.gate import LEAST_RUNS
from perfkit.results.runs import RunSet
from perfkit.results.store import cells_of
from perfkit.results.validity import machine_key, read_run, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from perfkit.results.store import Document

PARTS = ("screening", "confirming")
LOG = "CHANGES.md"
# Of three runs one screens and two confirm: 15 runs make 5 and 10.
_TURNS = ("screening", "confirming", "confirming")
LEAST = LEAST_RUNS * len(_TURNS)


def folder_of(root: Path, key: str, matrices: Sequence[str]) -> Path:
    """Return where the baseline of these matrices lies on the machine of that key."""
    names = [name.rsplit("/", 1)[-1].removesuffix(".toml") for name in matrices]
    return root / key / "+".join(names)


def candidate_of(folder: Path) -> Path:
    """Return where a new set of runs waits to be accepted."""
    return folder.with_name(f"{folder.name}.candidate")


def load(folder: Path) -> RunSet:
    """Read a set of runs. Raises UsageError where it is missing, damaged, foreign or mixed."""
    parts = {part: {path: read_run(path) for path in files(folder, part)} for part in PARTS}
    found = {path: run for part in parts.values() for path, run in part.items()}
    if not found:
        raise UsageError(
            f"no baseline in {folder}: perfkit baseline record makes one, perfkit baseline accept "
            "puts it in place"
        )
    first = next(iter(found.values()))
    for path, run in found.items():
        if difference := unlike(run, first):
            raise UsageError(f"{path} does not belong to its set: {difference}; remove it")
    return RunSet(*(tuple(part.values()) for part in parts.values()))


def load_whole(folder: Path) -> RunSet:
    """Read a set as ``load`` does; it must hold enough runs, and the same cells in each."""
    runs = load(folder)
    for name, part in zip(PARTS, (runs.screening, runs.confirming), strict=True):
        if len(part) < LEAST_RUNS:
            raise UsageError(
                f"{folder} is not finished: {len(part)} {name} runs, expected {LEAST_RUNS} at "
                "least; go on with perfkit baseline record --resume"
            )
    cells = set(cells_of(runs.runs[0]))
    if any(set(cells_of(run)) != cells for run in runs.runs):
        raise UsageError(f"{folder}: its runs hold different cells; record it anew")
    return runs


def files(folder: Path, part: str) -> list[Path]:
    """Return the runs of a part, by number."""
    return sorted((folder / part).glob("[0-9]*.json"))


def unlike(run: Document, other: Document) -> str | None:
    """Say what keeps two runs from being of one set, None where nothing does."""
    if machine_key(run) != machine_key(other):
        return f"measured on {machine_key(run)}, the others on {machine_key(other)}"
    mine, theirs = settings(run), settings(other)
    told = [f"{name} {mine[name]!r} instead of {theirs[name]!r}"
            for name in mine if mine[name] != theirs[name]]  # fmt: skip
    return ", ".join(told) or None


def record(
    folder: Path,
    count: int,
    measure: Callable[[Path, int], Document],
    *,
    like: dict[str, Any],
    resume: bool,
    say: Callable[[str], None],
) -> Path:
    """Make ``count`` fresh runs into the candidate of ``folder``; return the candidate's place.

    ``measure(path, number)`` makes one, measured ``like`` these settings. Raises UsageError for too
    few, and for runs that lie there already, unless asked to go on with them and they are alike.
    """
    if count < LEAST:
        raise UsageError(
            f"--runs {count}: expected {LEAST} at least, {LEAST_RUNS} of them to screen"
        )
    candidate = candidate_of(folder)
    if candidate.exists() and not resume:
        raise UsageError(f"{candidate} holds runs already: --resume goes on, or remove it")
    for path in (path for part in PARTS for path in files(candidate, part)):
        found = settings(read_run(path))
        if found != like:
            raise UsageError(f"{path} was measured with {found}, now asked {like}: remove it")
    for number in range(1, count + 1):
        path = candidate / _TURNS[(number - 1) % len(_TURNS)] / f"{number:04}_run.json"
        if not path.is_file():
            measure(path, number)
            say(f"run {number} of {count}: {path}")
    load(candidate)
    return candidate


def replace(folder: Path, entry: str) -> None:
    """Put the candidate in the baseline's place, with one more entry in its log."""
    candidate, aside = candidate_of(folder), folder.with_name(f"{folder.name}.replaced")
    _finish_replacing(folder, aside)
    log = folder / LOG
    before = log.read_text(encoding="utf-8") if log.is_file() else "# Accepted baselines\n"
    store.write_whole(candidate / LOG, f"{before}\n{entry}")
    if folder.exists():
        folder.rename(aside)
    candidate.rename(folder)
    _finish_replacing(folder, aside)


def _finish_replacing(folder: Path, aside: Path) -> None:
    """Undo or end a replacement that was killed half way."""
    if aside.exists() and not folder.exists():
        aside.rename(folder)
    elif aside.exists():
        shutil.rmtree(aside)
