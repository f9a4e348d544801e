"""``perfkit sweep``: every cell of a matrix ends with a verdict, whatever happens to its worker."""

from __future__ import annotations

import json
import statistics
import subprocess
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perfkit.architectures import ARCHITECTURES
from perfkit.errors import UsageError, unknown
from perfkit.plan import load_plan
from perfkit.results.record import BROKEN, VERDICTS, Result
from perfkit.results.store import Document, Journal, check_writable
from perfkit.roofline import forecast
from perfkit.running import check_prompts
from perfkit.suite import Measuring, command
from perfkit.sweep import worker
from perfkit.sweep.folder import Folder
from perfkit.sweep.groups import Group, grouped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from perfkit.cases import Case

INTERRUPTED = 130
_START_S = 600.0  # imports, ceilings, loading, and whatever the first cell compiles
_GRACE_S = 60.0  # so that the limit seen between rounds, which loses no process, comes first
_NEVER_BEGAN = (2, 3, 4)  # pytest's codes for what is wrong before any test
_GIB = 2**30


@dataclass(frozen=True)
class Request:
    """What a person asked ``perfkit sweep`` for; ``again`` are verdicts to measure once more."""

    what: Measuring
    folder: Path
    resume: bool = False
    again: frozenset[str] = frozenset()
    forecast: bool = True

    @property
    def cell_timeout_s(self) -> float:
        """The limit of one cell, in seconds."""
        return self.what.cell_timeout_s or 600.0


@dataclass(frozen=True)
class Host:
    """The machine as the sweep sees it: its key, and how much memory its device has, if known."""

    machine_key: str
    memory_bytes: int | None


def host(device: str) -> Host:
    """Look at this machine; ``device`` is "cpu" or "gpu"."""
    from perfkit.machine.identity import gpus, identify

    if device == "gpu":
        found = gpus()
        return Host(identify("cuda").key, found[0].memory_bytes if found else None)
    import psutil

    return Host(identify("cpu").key, int(psutil.virtual_memory().total))


def planned(what: Measuring) -> tuple[Group, ...]:
    """Return the groups of the matrices' cells. Raises UsageError for what they have wrong."""
    cells = load_plan(what.matrices, str(what.model) if what.model else None)
    return grouped(cells, what.seed)


def too_large(case: Case, memory_bytes: int | None) -> Result | None:
    """Return the verdict ``oom`` where the forecast alone is more than the device has."""
    arch = ARCHITECTURES.get(case.model)
    if arch is None or memory_bytes is None:
        return None
    expected = forecast(case, arch)
    if expected.total_bytes <= memory_bytes:
        return None
    reason = (
        f"not run: forecast {expected.total_bytes / _GIB:.1f} GiB, the device has "
        f"{memory_bytes / _GIB:.1f} GiB; --no-forecast runs it"
    )
    return Result(case, "oom", reason, {"memory": {"forecast": expected.to_json()}})


def plan_lines(request: Request, machine: Host) -> Iterator[str]:
    """Say what would be measured, in which order, and what the forecast refuses."""
    groups = planned(request.what)
    cells = sum(len(group.cells) for group in groups)
    seed = request.what.seed
    yield f"{cells} cells in {len(groups)} groups on {machine.machine_key}, seed {seed}"
    for number, group in enumerate(groups, start=1):
        yield f"group {number}: {group.name}, {len(group.cells)} cells"
        for cell in group.cells:
            refused = too_large(cell.case, machine.memory_bytes) if request.forecast else None
            yield f"  {cell.case.id}" + (f" {refused.verdict}: {refused.reason}" if refused else "")


def forecast_errors(document: Document) -> list[float]:
    """Return (forecast - measured) / measured peak of torch's allocator, for each cell that ran."""
    errors = []
    for cell in document["perfkit"]["cells"].values():
        measured = (cell.get("metrics") or {}).get("peak_allocated_bytes")
        expected = (cell.get("memory") or {}).get("forecast")
        if measured and expected:
            errors.append(expected["total_bytes"] / measured - 1)
    return errors


@dataclass
class Sweep:
    """A sweep at work: its request, its machine, and the verdicts so far, by id."""

    request: Request
    host: Host
    say: Callable[[str], None]
    make: Callable[..., list[str]] = command
    start_s: float = _START_S
    grace_s: float = _GRACE_S
    verdicts: dict[str, str] = field(default_factory=dict)
    _read: int = 0
    _total: int = 0
    _id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    def run(self) -> int:
        """Measure what is missing and write the results; return the exit code.

        Raises UsageError before anything is measured, or where nothing more can be written: what
        is finished stays in the journal.
        """
        for verdict in self.request.again:
            if verdict not in VERDICTS:
                raise UsageError(unknown("verdict", verdict, VERDICTS))
        groups = planned(self.request.what)
        self._total = sum(len(group.cells) for group in groups)
        folder = Folder(self.request.folder)
        check_writable(folder.path)
        check_prompts(self.request.what)
        with folder.held():
            folder.begin(self._asked(groups), resume=self.request.resume)
            self._take_up(folder)
            try:
                for number, group in enumerate(groups, start=1):
                    self._group(folder, group, number)
                self._write(folder, groups)
            except KeyboardInterrupt:
                self._follow(folder)
                self.say(f"interrupted: {len(self.verdicts)} of {self._total} cells are kept in "
                         f"{folder.journal}; go on with --resume")  # fmt: skip
                return INTERRUPTED
            except OSError as error:
                raise UsageError(
                    f"cannot write to {folder.path}: {error.strerror}; finished cells are kept in "
                    f"{folder.journal}: make room, then go on with --resume"
                ) from None
        return 1 if BROKEN & set(self.verdicts.values()) else 0

    def _asked(self, groups: Iterable[Group]) -> dict[str, Any]:
        what = self.request.what
        return {
            "machine": self.host.machine_key,
            "device": what.device,
            "seed": what.seed,
            "rounds": what.rounds,
            "max_warmup": what.max_warmup,
            "cells": [case_id for group in groups for case_id in group.ids],
        }

    def _take_up(self, folder: Folder) -> None:
        """Learn what is finished already, mending the journal's end if it was torn."""
        if Journal(folder.journal).mend():
            self.say(f"the last line of {folder.journal} was torn and has been cut off: its cell "
                     "is measured again")  # fmt: skip
        if self.request.again:
            again = folder.forget(self.request.again, self.host.machine_key)
            self.say(f"{len(again)} cells are measured again")
        done = Journal(folder.journal).read(self.host.machine_key)
        self.verdicts = {case_id: cell["verdict"] for case_id, (cell, _) in done.items()}
        self._read = folder.journal.stat().st_size if folder.journal.is_file() else 0

    def _group(self, folder: Folder, group: Group, number: int) -> None:
        if self.request.forecast:
            for cell in group.cells:
                if cell.case.id not in self.verdicts:
                    refused = too_large(cell.case, self.host.memory_bytes)
                    if refused is not None:
                        self._record(folder, refused)
        while left := [cell.case for cell in group.cells if cell.case.id not in self.verdicts]:
            log = folder.logs / f"group{number}.log"
            made = self.make(
                self.request.what,
                [case.id for case in left],
                output=None,
                journal=folder.journal,
                resume=True,
            )
            limits_s = (self.start_s, self.request.cell_timeout_s + self.grace_s)
            before = len(self.verdicts)
            ended = worker.run(made, log, folder.journal, limits_s, lambda: self._follow(folder))
            self._settle(folder, left, ended, log, alone=len(self.verdicts) == before)

    def _settle(
        self, folder: Folder, left: list[Case], ended: worker.Ended, log: Path, *, alone: bool
    ) -> None:
        """Give the cell that a worker died of its verdict; the rest go on in another process."""
        Journal(folder.journal).mend()
        self._follow(folder)
        victim = next((case for case in left if case.id not in self.verdicts), None)
        if victim is None:
            return
        if alone and ended.code in _NEVER_BEGAN:
            raise UsageError(f"no cell could be measured: {worker.tail(log)}; see {log}")
        check_writable(folder.path)
        if ended.stood_still:
            limit_s = self.start_s if alone else self.request.cell_timeout_s + self.grace_s
            verdict, why = "timeout", f"no cell finished for {limit_s:.0f} s: its process was ended"
        else:
            said = worker.tail(log)
            verdict = "crash"
            why = f"its process ended with {ended.words} and no result" + (
                f"; it last said: {said}" if said else ""
            )
        self._record(folder, Result(victim, verdict, why))

    def _record(self, folder: Folder, result: Result) -> None:
        cell = result.to_json() | {"session": self._id}
        Journal(folder.journal).append(self.host.machine_key, result.case.id, cell, None)
        self._follow(folder)

    def _follow(self, folder: Folder) -> None:
        """Read the journal's new whole lines; say each finished cell."""
        for line in self._new_lines(folder.journal):
            record = json.loads(line)
            self.verdicts[record["id"]] = record["cell"]["verdict"]
            self.say(_told(record, len(self.verdicts), self._total))

    def _new_lines(self, journal: Path) -> Iterator[bytes]:
        if not journal.is_file():
            return
        with journal.open("rb") as stream:
            stream.seek(self._read)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                self._read += len(line)
                yield line

    def _write(self, folder: Folder, groups: Iterable[Group]) -> None:
        """Let pytest put all cells of the journal into one file, and flatten it."""
        from perfkit.reporting.frame import write_csv
        from perfkit.results import store

        partial = folder.path / ".matrix_results.json"
        partial.unlink(missing_ok=True)
        ids = [case_id for group in groups for case_id in group.ids]
        made = self.make(
            self.request.what, ids, output=partial, journal=folder.journal, resume=True
        )
        done = subprocess.run(made, capture_output=True, text=True, check=False)
        if not partial.is_file():
            raise UsageError(
                f"the results could not be written: pytest ended with {done.returncode}: "
                f"{(done.stdout + done.stderr).strip()[-300:]}; {folder.journal} holds all cells"
            )
        document: Document = store.read(partial)
        earlier = folder.attempts()
        for case_id, cell in document["perfkit"]["cells"].items():
            cell["attempt"] = 1 + earlier[case_id]
        store.write_whole(folder.results, json.dumps(document, indent=1))
        partial.unlink()
        write_csv(document, folder.table)
        counts = Counter(self.verdicts.values())
        self.say(", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))
        errors = forecast_errors(document)
        if errors:
            self.say(
                f"memory forecast against torch's peak over {len(errors)} cells: median "
                f"{statistics.median(errors):+.1%}, {min(errors):+.1%} to {max(errors):+.1%}"
            )


def _told(record: Document, done: int, total: int) -> str:
    cell = record["cell"]
    metrics = cell.get("metrics") or {}
    text = f"[{done:>{len(str(total))}}/{total}] {record['id']} {cell['verdict']}"
    if metrics.get("ttft_s") is not None:
        text += f" ttft {metrics['ttft_s'] * 1e3:.1f} ms"
        text += f", {metrics['output_tokens_per_s']:.1f} tok/s"
    return text if cell.get("reason") is None else f"{text} ({cell['reason']})"
