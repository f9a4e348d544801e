"""A sweep's folder: what was asked, what is finished, and who is at work on it."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError
from perfkit.machine.leases import claimed
from perfkit.results.record import SCHEMA
from perfkit.results.store import Journal, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Folder:
    """The files of one sweep, by what they hold."""

    path: Path

    @property
    def journal(self) -> Path:
        """One line a finished cell."""
        return self.path / "matrix_results.journal.jsonl"

    @property
    def earlier(self) -> Path:
        """The lines of cells that were measured again: no figure is thrown away."""
        return self.path / "matrix_results.earlier.jsonl"

    @property
    def definition(self) -> Path:
        """What was asked for: a resumed sweep must ask for the same."""
        return self.path / "sweep.json"

    @property
    def results(self) -> Path:
        """The pytest-benchmark JSON of all cells."""
        return self.path / "matrix_results.json"

    @property
    def table(self) -> Path:
        """The same cells, one row each."""
        return self.path / "matrix_results.csv"

    @property
    def logs(self) -> Path:
        """What each worker printed."""
        return self.path / "logs"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for this process. Raises UsageError while another sweep lives in it.

        The system lets go of the lock when its holder dies, however it dies.
        """
        with (self.path / ".lock").open("a+", encoding="utf-8") as lock:
            if (owner := claimed(lock)) is not None:
                raise UsageError(
                    f"{self.path} is in use by a sweep ({owner}): wait for it, end it, or choose "
                    "another --output"
                )
            yield

    def check(self, asked: dict[str, Any], *, resume: bool) -> None:
        """Hold what is asked against what was, changing nothing.

        A resumed sweep may ask for more cells than before, never for fewer. Raises UsageError where
        a sweep would be lost or another one continued.
        """
        asked = {"schema": SCHEMA} | asked
        before = self._before()
        if not resume:
            if self.journal.is_file() and self.journal.stat().st_size:
                raise UsageError(
                    f"{self.path} holds a sweep already: go on with --resume, or choose another "
                    "--output"
                )
            return
        if before is None and self.journal.is_file():
            raise UsageError(
                f"--resume: {self.definition}, which says what is measured here, is missing: put "
                "it back, or choose another --output"
            )
        if before is None:
            raise UsageError(f"--resume: {self.path} holds no sweep; leave --resume out to begin")
        differing = [key for key in asked if not _continues(before.get(key), asked[key])]
        if differing:
            told = ", ".join(_difference(key, before.get(key), asked[key]) for key in differing)
            raise UsageError(f"--resume: {self.path} holds another sweep: {told}")

    def begin(self, asked: dict[str, Any], *, resume: bool) -> None:
        """Check as above, then write down what is asked."""
        self.check(asked, resume=resume)
        write_whole(self.definition, json.dumps({"schema": SCHEMA} | asked, indent=1))

    def _before(self) -> dict[str, Any] | None:
        if not self.definition.is_file():
            return None
        try:
            before = json.loads(self.definition.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UsageError(f"{self.definition} is not JSON ({error}): mend or move it") from None
        if not isinstance(before, dict) or not isinstance(before.get("cells"), list):
            raise UsageError(f"{self.definition} is no sweep's definition: mend or move it")
        return before

    def forget(self, verdicts: frozenset[str], machine_key: str) -> list[str]:
        """Move cells with these verdicts from the journal to ``earlier``; return their ids."""
        done = Journal(self.journal).read(machine_key)
        again = [case_id for case_id, (cell, _) in done.items() if cell["verdict"] in verdicts]
        if again:
            lines = self.journal.read_text(encoding="utf-8").splitlines(keepends=True)
            ids = [json.loads(line)["id"] for line in lines]
            taken = set(again)
            before = self.earlier.read_text(encoding="utf-8") if self.earlier.is_file() else ""
            moved = (line for line, case_id in zip(lines, ids, strict=True) if case_id in taken)
            write_whole(self.earlier, before + "".join(moved))
            kept = (line for line, case_id in zip(lines, ids, strict=True) if case_id not in taken)
            write_whole(self.journal, "".join(kept))
        return again

    def attempts(self) -> Counter[str]:
        """Return how often each cell was measured before its line in the journal."""
        if not self.earlier.is_file():
            return Counter()
        lines = self.earlier.read_text(encoding="utf-8").splitlines()
        return Counter(json.loads(line)["id"] for line in lines)


def _continues(before: Any, now: Any) -> bool:
    if isinstance(now, list) and isinstance(before, list):
        return set(before) <= set(now)
    return bool(before == now)


def _difference(key: str, before: Any, now: Any) -> str:
    if isinstance(now, list) and isinstance(before, list):
        return f"{len(set(before) - set(now))} {key} fewer, {len(set(now) - set(before))} more"
    return f"{key} was {before!r}, now {now!r}"
