"""What ``perfkit gate`` and ``perfkit baseline`` do, from what was asked to the files written."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfkit.cases import wanted
from perfkit.errors import UsageError, unknown
from perfkit.gating import baseline
from perfkit.gating.fresh import fresh_run
from perfkit.gating.session import against_baseline, against_version
from perfkit.paths import shipped
from perfkit.plan import find_matrix
from perfkit.results import store
from perfkit.results.outcome import Asked, Outcome
from perfkit.results.runs import METRICS, OF_ROUNDS, OF_RUNS, RunSet
from perfkit.results.store import cells_of
from perfkit.results.validity import crowded, read_run, settings
from perfkit.running import chosen
from perfkit.suite import Measuring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from perfkit.gating.session import Measure
    from perfkit.results.gate import Rule
    from perfkit.results.store import Document

    Say = Callable[[str], None]

_TRIES = 3


@dataclass(frozen=True)
class GateRequest:
    """What a person asked ``perfkit gate`` for; ``files`` take the place of runs to be made."""

    what: Measuring
    rule: Rule
    metrics: tuple[str, ...]
    cases: tuple[str, ...]
    retries: int
    baselines: Path
    output: Path
    files: tuple[Path, ...] = ()
    against: str | None = None


def check_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """Return the figures to judge. Raises UsageError for one that no result holds."""
    known = OF_ROUNDS | OF_RUNS
    for name in names:
        if name not in known:
            raise UsageError(unknown("metric", name, known))
    return tuple(names) or METRICS


def record(what: Measuring, root: Path, count: int, *, resume: bool, say: Say) -> Path:
    """Make a set of fresh runs of the matrices on this machine; it waits to be accepted."""
    folder = baseline.folder_of(root, _key(what.device), what.matrices)
    ids = chosen(what)
    store.check_writable(root)

    def measure(path: Path, number: int) -> Document:
        for _ in range(_TRIES):
            run = fresh_run(what, ids, path, seed=what.seed + number)
            busy = crowded(run)
            if busy is None:
                return run
            path.unlink()
            say(f"run {number} is no baseline: {busy}")
        raise UsageError(f"run {number} was disturbed {_TRIES} times: go on when it is quieter")

    like = {"rounds": what.rounds, "max_warmup": what.max_warmup}
    return baseline.record(folder, count, measure, like=like, resume=resume, say=say)


def gate(request: GateRequest, say: Say) -> tuple[Outcome, Asked]:
    """Judge this version against the stored baseline, or another commit; write what was found.

    Raises UsageError for wrong use, before anything is measured.
    """
    names = check_metrics(request.metrics)
    if request.against and request.files:
        raise UsageError("--against makes its own runs: leave out the result files")
    store.check_writable(request.output)
    if request.against:
        asked = Asked(chosen(request.what, request.cases), names, request.rule, request.retries)
        outcome = _against(request, asked, request.against, say)
        where: dict[str, Any] = {"against": request.against}
    else:
        asked, outcome, where = _stored(request, names, say)
    save(request.output, outcome, asked, where)
    return outcome, asked


def save(folder: Path, outcome: Outcome, asked: Asked, where: dict[str, Any]) -> None:
    """Write gate.json and gate.md into a folder, each whole."""
    from perfkit.reporting import gate as report

    found = report.to_json(outcome, asked, **where)
    store.write_whole(folder / "gate.json", json.dumps(found, indent=1))
    store.write_whole(folder / "gate.md", report.markdown(outcome, asked))


def _stored(
    request: GateRequest, names: tuple[str, ...], say: Say
) -> tuple[Asked, Outcome, dict[str, Any]]:
    documents = [_cut(read_run(path), request.cases) for path in request.files]
    folder, runs, what = _baseline_of(request.what, request.baselines)
    if request.cases:
        runs = RunSet(*(tuple(_cut(run, request.cases) for run in part)
                        for part in (runs.screening, runs.confirming)))  # fmt: skip
    if documents:
        cells, retries = tuple(cells_of(documents[0])), 0
        measure = _given(documents, None)
    else:
        cells, retries = chosen(what, request.cases), request.retries
        measure = _runner(what, request.output / "runs", say)
    asked = Asked(cells, names, request.rule, retries)
    return asked, against_baseline(asked, runs, measure, say), {"baseline": str(folder)}


def _cut(run: Document, patterns: Sequence[str]) -> Document:
    """Return a run of the cells that match, so that those left out are not missing."""
    kept = {name: cell for name, cell in cells_of(run).items() if wanted(name, patterns)}
    return run | {"perfkit": run["perfkit"] | {"cells": kept}}


@dataclass(frozen=True)
class SessionGate:
    """What ``pytest --perfkit-gate`` judges by: how to measure, and the baseline in its folder."""

    what: Measuring
    folder: Path
    runs: RunSet


def session_gate(
    device: str, matrices: tuple[str, ...], model: Path | None, seed: int, baselines: Path
) -> SessionGate:
    """Return how a session's cells are to be measured and judged.

    Raises UsageError without a baseline.
    """
    what = Measuring(
        matrices or (f"gate-{device}",), model, device, None, 1, 1, seed, for_gate=True
    )
    folder, runs, what = _baseline_of(what, baselines)
    return SessionGate(what, folder, runs)


def gate_session(by: SessionGate, first: Document, say: Say) -> tuple[Outcome, Asked]:
    """Judge a session's own cells, ``first``, with fresh runs to confirm; write what was found."""
    asked, output = Asked(tuple(cells_of(first))), Path("results/gate")
    measure = _given([first], _runner(by.what, output / "runs", say))
    outcome = against_baseline(asked, by.runs, measure, say)
    save(output, outcome, asked, {"baseline": str(by.folder)})
    return outcome, asked


def _given(documents: Iterable[Document], then: Measure | None) -> Measure:
    """Return what gives out documents one by one, and after them measures, if at all."""
    left = iter(documents)

    def measure(cells: Sequence[str]) -> Document | None:
        given = next(left, None)
        return given if given is not None or then is None else then(cells)

    return measure


def _baseline_of(what: Measuring, root: Path) -> tuple[Path, RunSet, Measuring]:
    """Return the baseline's folder, its runs, and how to measure as they were measured."""
    folder = baseline.folder_of(root, _key(what.device), what.matrices)
    runs = baseline.load(folder)
    return folder, runs, replace(what, **_measuring_of(runs))


def _measuring_of(runs: RunSet) -> dict[str, Any]:
    """Return how the baseline was measured: new runs must be measured alike."""
    found = settings(runs.runs[0])
    if None in found.values():
        raise UsageError(f"the baseline does not say how it was measured ({found}): record it anew")
    return found


def _runner(
    what: Measuring, folder: Path, say: Say, place: Path | None = None
) -> Callable[[Sequence[str]], Document]:
    """Return what measures cells once, in a fresh process, into numbered files of a folder."""
    from perfkit.gating.against import environment

    for path in folder.glob("[0-9]*_run.json"):
        path.unlink()
    made = 0

    def measure(cells: Sequence[str]) -> Document:
        nonlocal made
        made += 1
        say(f"{folder.name} {made}: {len(cells)} cells")
        output = folder.resolve() / f"{made:04}_run.json"
        env = environment(place) if place else None
        return fresh_run(what, cells, output, seed=what.seed + made, place=place, environment=env)

    return measure


def _against(request: GateRequest, asked: Asked, revision: str, say: Say) -> Outcome:
    from perfkit.gating.against import checkout

    # By path, so that both versions measure the same cells.
    matrices = tuple(str(find_matrix(name).resolve()) for name in request.what.matrices)
    model = request.what.model.resolve() if request.what.model else None
    what = replace(request.what, matrices=matrices, model=model)
    with checkout(revision, shipped("benchmarks").parent) as place:
        old = _runner(what, request.output / "runs-old", say, place)
        new = _runner(what, request.output / "runs", say)
        return against_version(asked, old, new, what.seed, say)


def accept(what: Measuring, root: Path, reason: str | None, rule: Rule) -> tuple[Path, str]:
    """Put the recorded candidate in the baseline's place; return the place and the log's entry.

    Raises UsageError without a reason, and then says what would change.
    """
    from perfkit.reporting.baseline_log import entry_of

    folder = baseline.folder_of(root, _key(what.device), what.matrices)
    candidate = baseline.candidate_of(folder)
    if not candidate.is_dir():
        raise UsageError(f"nothing to accept: {candidate} is not there; perfkit baseline record")
    new = baseline.load_whole(candidate)
    old = baseline.load(folder) if folder.is_dir() else None
    day = datetime.now(UTC).date().isoformat()
    entry = entry_of(old, new, reason or "(no reason given)", day, rule)
    if not reason or not reason.strip():
        raise UsageError(f"say why with --reason TEXT; it would replace:\n\n{entry}")
    baseline.replace(folder, entry)
    return folder, entry


def _key(device: str) -> str:
    from perfkit.machine.identity import identify

    return identify("cuda" if device == "gpu" else "cpu").key
