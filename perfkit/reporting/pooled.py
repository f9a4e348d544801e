"""Cells over runs: what each cell gave, with intervals where runs of one kind repeat it. Pure."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit import metrics
from perfkit.reporting.tables import machine_name, peak, ratio, reference_arms, shape_of
from perfkit.results.ablation import Change, change_of, interval_over_runs
from perfkit.results.record import DOUBTFUL
from perfkit.results.store import cells_of, section, synthetic
from perfkit.results.validity import machine_key, settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from perfkit.results.store import Document

FIGURES = (
    "ttft_s", "tpot_s", "e2e_s", "output_tokens_per_s", "mfu", "mbu", "energy_j_per_token",
)  # fmt: skip
REFERENCE = "is the reference"


@dataclass(frozen=True)
class Group:
    """Runs that repeat each other: of one machine and one commit, measured alike.

    ``machine`` and ``commit`` are words that no other group has both of.
    """

    machine: str
    key: str
    commit: str
    runs: tuple[Document, ...]


@dataclass(frozen=True)
class Figure:
    """The median over runs, in the figure's own unit, and its 95 % interval over them."""

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Row:
    """One cell of one group of runs.

    ``effect`` is its output throughput over eager nofmha's of the same session, less 1; where there
    is none, ``no_effect`` says why. ``runs`` counts those whose figures are here, ``spread`` is the
    median over runs of the standard deviation over mean of its rounds' e2e. ``body`` is the last
    run's.
    """

    group: Group
    cell: str
    verdict: str
    reason: str
    runs: int
    figures: Mapping[str, Figure]
    peak_bytes: float | None
    spread: float | None
    effect: Change | None
    no_effect: str
    body: Mapping[str, Any]


def groups(documents: Iterable[Document]) -> list[Group]:
    """Return the documents by machine, commit and how they were measured."""
    found: dict[tuple[str, str, str], list[Document]] = {}
    for document in sorted(documents, key=lambda one: str(one.get("datetime") or "")):
        told = settings(document).items()
        way = ", ".join(f"{name} {value}" for name, value in told).replace("_", " ")
        found.setdefault((machine_key(document), commit_of(document), way), []).append(document)
    names = {key: machine_name(runs[0]) for (key, _, _), runs in found.items()}
    alike = Counter(names.values())
    ways = Counter((key, commit) for key, commit, _ in found)
    return [
        Group(
            names[key] if alike[names[key]] == 1 else f"{names[key]} ({key})",
            key,
            commit if ways[key, commit] == 1 else f"{commit} ({way})",
            tuple(runs),
        )
        for (key, commit, way), runs in found.items()
    ]


def commit_of(document: Mapping[str, Any]) -> str:
    """Return a document's commit, with a plus where files had changed."""
    told = section(document, "commit_info")
    return f"{str(told.get('id') or 'unknown')[:12]}{'+' if told.get('dirty') else ''}"


def rows(documents: Iterable[Document]) -> list[Row]:
    """Return every cell, the largest effect first, whatever its sign; those without one last."""
    made = []
    for group in groups(documents):
        runs = [_Run.of(document) for document in group.runs]
        names = dict.fromkeys(name for run in runs for name in run.cells)
        made += [_row(group, runs, name) for name in names]
    return sorted(made, key=lambda row: -_size(row))


@dataclass(frozen=True)
class _Run:
    """A document's cells, and the reference arms among them by shape."""

    cells: Mapping[str, Mapping[str, Any]]
    references: Mapping[tuple[Any, ...], Mapping[str, Any]]
    synthetic: bool

    @classmethod
    def of(cls, document: Document) -> _Run:
        cells = cells_of(document)
        return cls(cells, reference_arms(cells), synthetic(document) is not None)


def _size(row: Row) -> float:
    if row.effect is None:
        return -1.0 if row.no_effect == REFERENCE else -2.0
    return abs(math.log1p(row.effect.value)) if row.effect.value > -1 else math.inf


def _row(group: Group, all_runs: Sequence[_Run], name: str) -> Row:
    runs = _distinct(all_runs, name)
    bodies = [run.cells[name] for run in runs]
    timed = [i for i, body in enumerate(bodies) if body["verdict"] == "ok"] or [
        i for i, body in enumerate(bodies) if body["verdict"] in DOUBTFUL
    ]
    kept = [(runs[i], bodies[i]) for i in timed]
    counts = Counter(body["verdict"] for body in bodies)
    effect, no_effect = _effect(kept)
    return Row(
        group,
        name,
        _verdict(counts),
        next((str(body["reason"]) for body in bodies if body.get("reason")), ""),
        len(kept),
        _figures([body for _, body in kept]),
        metrics.median([taken[1] if (taken := peak(body)) else None for _, body in kept]),
        metrics.median(
            [metrics.spread(section(body, "samples").get("e2e_s") or []) for _, body in kept]
        ),
        effect,
        no_effect,
        bodies[-1],
    )  # fmt: skip


def _verdict(counts: Counter[str]) -> str:
    """Return the verdict of all runs, or how many runs had each."""
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} x {verdict}" for verdict, count in counts.most_common())


def _distinct(runs: Sequence[_Run], name: str) -> list[_Run]:
    """Return the runs of a cell, one a session: a file's copy is no second run."""
    found: dict[Any, _Run] = {}
    for at, run in enumerate(runs):
        cell = run.cells.get(name)
        if cell is not None:
            found[cell.get("session") or at] = run
    return list(found.values())


def _figures(bodies: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    made = {}
    for name in FIGURES:
        told = (section(body, "metrics").get(name) for body in bodies)
        values = [float(value) for value in told if value is not None]
        if values:
            positive = all(value > 0 for value in values)
            ends = interval_over_runs(values) if positive else None
            made[name] = Figure(statistics.median(values), ends)
    return made


def _effect(kept: Sequence[tuple[_Run, Mapping[str, Any]]]) -> tuple[Change | None, str]:
    """Return the effect over runs, or why there is none."""
    if not kept:
        return None, "no figures"
    ratios, reasons = [], []
    for run, body in kept:
        reference = run.references.get(shape_of(body))
        if reference is body:
            return None, REFERENCE
        found = None if run.synthetic else ratio(body, reference)
        if found is None or found <= 0:
            reasons.append(_why_no_ratio(run, body, reference))
        else:
            ratios.append(found)
    return (change_of(ratios), "") if ratios else (None, reasons[0])


def _why_no_ratio(run: _Run, body: Mapping[str, Any], reference: Mapping[str, Any] | None) -> str:
    if run.synthetic:
        return "synthetic"
    if reference is None:
        return "no reference in its file"
    for words, cell in (("", body), ("the reference: ", reference)):
        if cell.get("verdict") != "ok":
            return f"{words}{cell.get('verdict')}"
        if section(cell, "agreement").get("status") != "agrees":
            return f"{words}outputs not shown to agree"
    if body.get("session") != reference.get("session"):
        return "the reference is of another session"
    return "no throughput"
