"""``perfkit sweep``: every cell of a matrix ends with a verdict, whatever happens to its worker."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perfkit.backends import backend
from perfkit.errors import UsageError
from perfkit.results import store
from perfkit.results.record import BROKEN, Result
from perfkit.results.store import Document, Journal, check_writable
from perfkit.sweep import estimate
from perfkit.sweep.folder import Folder
from perfkit.sweep.planning import asked, check, planned, refused
from perfkit.sweep.transport import Event, Job
from perfkit.sweep.worker import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from perfkit.plan import PlannedCell
    from perfkit.sweep.groups import Group
    from perfkit.sweep.planning import Request
    from perfkit.sweep.transport import Host, Transport
    from perfkit.sweep.worker import Ended

INTERRUPTED = 130
_START_S = 600.0  # imports, ceilings, loading, and whatever the first cell compiles
_GRACE_S = 60.0  # so that the limit seen between rounds, which loses no process, comes first
_CELL_S = 600.0
_ROOM_BYTES = 1 << 18  # some lines of a journal
_NEVER_BEGAN = (2, 3, 4)  # pytest's codes for what is wrong before any test


def limits(request: Request) -> Limits:
    """Return how long a worker may go without finishing a cell."""
    names = {cell.case.backend for group in planned(request) for cell in group.cells}
    start_s = max(backend(name).before_rounds_s() for name in names)
    cell_s = (request.what.cell_timeout_s or _CELL_S) + _GRACE_S
    return Limits(_START_S + start_s, cell_s + start_s)


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
    """A sweep at work: its request, where it measures, and the verdicts so far, by id.

    ``say`` is given each line that stays, ``state`` what is going on now.
    """

    request: Request
    transport: Transport
    say: Callable[[str], None]
    state: Callable[[str], None]
    verdicts: dict[str, str] = field(default_factory=dict)
    _host: Host = field(init=False)
    _cells: dict[str, PlannedCell] = field(default_factory=dict)
    _costs_s: dict[str, float] = field(default_factory=dict)
    _jobs: int = 0
    _read: int = 0
    _began_s: float = 0.0
    _spent_s: float = 0.0  # what the estimate gave to the cells measured since then
    _id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    def run(self) -> int:
        """Measure what is missing and write the results; return the exit code.

        Raises UsageError before anything is measured, or where nothing more can be written: what
        is finished stays in the journal.
        """
        groups = planned(self.request)
        self._cells = {cell.case.id: cell for group in groups for cell in group.cells}
        folder = Folder(self.request.folder)
        check(self.request)
        check_writable(folder.path)
        self._host = self.transport.host()
        with folder.held():
            wanted = asked(self.request, self._host, tuple(self._cells))
            folder.begin(wanted, resume=self.request.resume)
            self._take_up(folder)
            try:
                self._measure(folder, groups)
                self._write(folder)
            except KeyboardInterrupt:
                self._follow(folder)
                if not self.verdicts:
                    self.say("interrupted before any cell was finished")
                    return INTERRUPTED
                self.say(f"interrupted: {len(self.verdicts)} of {len(self._cells)} cells are kept "
                         f"in {folder.journal}; go on with --resume")  # fmt: skip
                self._write(folder)
                return INTERRUPTED
            except OSError as error:
                raise UsageError(
                    f"cannot write to {folder.path}: {error.strerror}; {_kept(folder)}"
                ) from None
        return 1 if BROKEN & set(self.verdicts.values()) else 0

    def _take_up(self, folder: Folder) -> None:
        """Learn what is finished already, mending the journal's end if it was torn."""
        journal = Journal(folder.journal)
        done = journal.peek(self._host.machine_key)  # what is no journal is refused as it is
        if journal.mend():
            self.say(f"the last line of {folder.journal} was torn and has been cut off: its cell "
                     "is measured again")  # fmt: skip
        if self.request.again:
            again = folder.forget(self.request.again, self._host.machine_key)
            self.say(f"{len(again)} cells are measured again")
            done = journal.peek(self._host.machine_key)
        self.verdicts = {case_id: cell["verdict"] for case_id, (cell, _) in done.items()}
        self._read = folder.journal.stat().st_size if folder.journal.is_file() else 0

    def _measure(self, folder: Folder, groups: Iterable[Group]) -> None:
        self._began_s = time.monotonic()
        what = self.request.what
        # Now, since while a cell is timed there is no time for it.
        self._costs_s = {i: estimate.cell_s(cell.case, what) for i, cell in self._cells.items()}
        for number, group in enumerate(groups, start=1):
            self._refuse(folder, group)
            self._submit(folder, f"group {number} ({group.name})", self._left(group.ids))
        with contextlib.closing(self.transport.events()) as events:
            self._state()
            for event in events:
                self._take(folder, event)
                self._state()

    def _refuse(self, folder: Folder, group: Group) -> None:
        """Give cells that no machine in reach can run their verdict, without a process."""
        for case_id in self._left(group.ids):
            result = refused(
                self._cells[case_id], self.request, self.transport, self._host.memory_bytes
            )
            if result is not None:
                self._record(folder, result)

    def _left(self, ids: Iterable[str]) -> tuple[str, ...]:
        return tuple(case_id for case_id in ids if case_id not in self.verdicts)

    def _submit(self, folder: Folder, name: str, ids: tuple[str, ...]) -> None:
        if ids:
            self._jobs += 1
            gpus = self._cells[ids[0]].case.tp if self.request.what.device == "gpu" else 0
            log = folder.logs / f"process{self._jobs}.log"
            log.unlink(missing_ok=True)
            self.transport.submit(Job(name, ids, gpus, log))

    def _take(self, folder: Folder, event: Event) -> None:
        if event.lines:
            Journal(folder.journal).extend(event.lines)
        if event.ended is not None:
            Journal(folder.journal).mend()
        self._follow(folder)
        if event.ended is not None:
            self._settle(folder, event.job, event.ended)

    def _settle(self, folder: Folder, job: Job, ended: Ended) -> None:
        """Give the cell that a worker died of its verdict; the rest go on in another process."""
        left = self._left(job.ids)
        if not left:
            return
        if ended.code == os.EX_IOERR:
            raise UsageError(f"a worker could not write its journal: {ended.said}; {_kept(folder)}")
        alone = len(left) == len(job.ids)
        if alone and ended.code in _NEVER_BEGAN:
            raise UsageError(f"no cell could be measured: {ended.said}; see {job.log}")
        self._check_room(folder)
        if ended.stood_still:
            limit_s = self.transport.limits.first_s if alone else self.transport.limits.next_s
            verdict, why = "timeout", f"no cell finished for {limit_s:.0f} s: its process was ended"
        else:
            verdict, why = "crash", f"{ended.words} and no result"
            # A line about a finished cell is no word about what went wrong.
            why += f"; it last said: {ended.said}" if ended.said and ended.said[0] != "[" else ""
        self._record(folder, Result(self._cells[left[0]].case, verdict, why))
        self._submit(folder, job.name, left[1:])

    def _check_room(self, folder: Folder) -> None:
        """Raise UsageError where a full disk, and no cell, is why a worker ended."""
        try:
            check_writable(folder.path, _ROOM_BYTES)
        except UsageError as error:
            raise UsageError(f"{error}; {_kept(folder)}") from None

    def _record(self, folder: Folder, result: Result) -> None:
        cell = result.to_json() | {"session": self._id}
        Journal(folder.journal).append(self._host.machine_key, result.case.id, cell, None)
        self._follow(folder)

    def _follow(self, folder: Folder) -> None:
        """Read the journal's new whole lines; say each finished cell."""
        for line in Journal(folder.journal).since(self._read):
            self._read += len(line)
            record = json.loads(line)
            self.verdicts[record["id"]] = record["cell"]["verdict"]
            if record["cell"].get("metrics") is not None:
                self._spent_s += self._costs_s.get(record["id"], 0.0)
            self.say(_told(record, len(self.verdicts), len(self._cells)))

    def _state(self) -> None:
        """Show the cell that is measured next and how much time is left."""
        left = self._left(self._cells)
        if not left:
            return
        pace = (time.monotonic() - self._began_s) / self._spent_s if self._spent_s else 1.0
        left_s = estimate.words(sum(self._costs_s[case_id] for case_id in left) * pace)
        at = len(self._cells) - len(left) + 1
        self.state(f"cell {at} of {len(self._cells)}, about {left_s} left, measuring {left[0]}")

    def _write(self, folder: Folder) -> None:
        """Put the journal's cells into one file, and flatten it."""
        from perfkit.reporting.frame import write_csv

        finished = tuple(case_id for case_id in self._cells if case_id in self.verdicts)
        document = self.transport.assembled(finished)
        earlier = folder.attempts()
        for case_id, cell in document["perfkit"]["cells"].items():
            cell["attempt"] = 1 + earlier[case_id]
        store.write_whole(folder.results, json.dumps(document, indent=1))
        write_csv(document, folder.table)
        counts = Counter(self.verdicts.values())
        self.say(", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))
        errors = forecast_errors(document)
        if errors:
            self.say(
                f"memory forecast against torch's peak over {len(errors)} cells: median "
                f"{statistics.median(errors):+.1%}, {min(errors):+.1%} to {max(errors):+.1%}"
            )


def _kept(folder: Folder) -> str:
    return f"finished cells are kept in {folder.journal}: make room, then go on with --resume"


def _told(record: Document, done: int, total: int) -> str:
    cell = record["cell"]
    metrics = cell.get("metrics") or {}
    text = f"[{done:>{len(str(total))}}/{total}] {record['id']} {cell['verdict']}"
    if metrics.get("ttft_s") is not None:
        text += f" ttft {metrics['ttft_s'] * 1e3:.1f} ms"
        text += f", {metrics['output_tokens_per_s']:.1f} tok/s"
    return text if cell.get("reason") is None else f"{text} ({cell['reason']})"
