"""Result files: pytest-benchmark JSON with a ``perfkit`` key, and the journal of a session."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError, unknown
from perfkit.results.record import SCHEMA, VERDICTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from io import FileIO
    from pathlib import Path

Document = dict[str, Any]
_BLOCKS = ("perfkit", "perfkit_attention")
# Parts of a block, and of a cell, that readers look into.
_WHOLE = ("session", "machine", "ceilings")
_PARTS = ("case", "agreement", "metrics", "samples", "telemetry")
_CHUNK_BYTES = 1 << 16


def read(path: Path, name: str = "perfkit") -> Document:
    """Read a result file whose block ``name`` holds cells.

    Raises UsageError that names the file and what is wrong with it.
    """
    return checked(parse(path), path, name)


def parse(path: Path) -> Any:
    """Return the JSON of a file. Raises UsageError that names a file that has none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON ({error}); it was left as it is") from None


def json_files(paths: Iterable[Path], say: Callable[[str], None]) -> Iterator[Path]:
    """Yield each file once; of a folder its JSON files, none of them hidden."""
    seen = set()
    for path in paths:
        found = [path]
        if path.is_dir():
            found = [
                one for one in sorted(path.rglob("*.json"))
                if not any(part.startswith(".") for part in one.relative_to(path).parts)
            ]  # fmt: skip
            if not found:
                say(f"{path} holds no .json file: give result files of perfkit run, or a folder")
        for one in found:
            if (place := one.resolve()) not in seen:
                seen.add(place)
                yield one


def checked(document: object, source: Path | str, name: str = "perfkit") -> Document:
    """Return what was parsed from ``source`` if its block ``name`` holds cells.

    Raises UsageError that names the source and what is wrong with it.
    """
    block = document.get(name) if isinstance(document, dict) else None
    if not isinstance(block, dict) or not isinstance(block.get("cells"), dict):
        raise UsageError(f"{source} was not written by perfkit: it has no {name}.cells")
    if block.get("schema") != SCHEMA:
        raise UsageError(f"{source} has schema {block.get('schema')!r}, expected {SCHEMA}")
    for part in _WHOLE:
        if not isinstance(block.get(part), dict | None):
            raise UsageError(f"{source} is damaged: its {part} is no object")
    for cell_id, cell in block["cells"].items():
        if not isinstance(cell, dict):
            raise UsageError(f"{source} is damaged: its cell {cell_id} is no object")
        for part in _PARTS:
            if not isinstance(cell.get(part), dict | None):
                raise UsageError(f"{source} is damaged: {part} of its cell {cell_id} is no object")
    result: Document = document  # type: ignore[assignment]
    return result


def synthetic(document: Mapping[str, Any]) -> str | None:
    """Return what made a document that nobody measured; None of one that was measured."""
    for name in _BLOCKS:
        maker = section(document, name).get("synthetic")
        if maker is not None and maker is not False:  # an empty text is a mark too
            return str(maker)
    return None


def measured(document: Document, path: Path | str) -> Document:
    """Return the document read from ``path``: whatever judges asks here first.

    Raises UsageError, naming the file, for one that is synthetic.
    """
    maker = synthetic(document)
    if maker is not None:
        raise UsageError(
            f"{path} is synthetic (made by {maker}): nobody measured it, so nothing is judged by "
            "it; give a result of perfkit run"
        )
    return document


def section(holder: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return the mapping under ``keys``, empty where any of them is missing or null."""
    found: Mapping[str, Any] = holder
    for key in keys:
        found = found.get(key) or {}
    return dict(found)


def cells_of(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the document's cells by id, in its own order."""
    return section(document, "perfkit", "cells")


def check_benchmarks(folder: Path) -> None:
    """Raise UsageError for JSON files in ``folder`` that pytest-benchmark cannot compare with."""
    bad = []
    for path in sorted(folder.rglob("[0-9][0-9][0-9][0-9]_*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            bad.append(f"{path} is not JSON")
            continue
        if not isinstance(document, dict) or not isinstance(document.get("benchmarks"), list):
            bad.append(f"{path} holds no benchmarks")
    if bad:
        raise UsageError(f"cannot compare: {'; '.join(bad)}; mend or move what is wrong")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: a temporary file beside it, then a rename."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    place = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with place.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        place.replace(path)
    finally:
        place.unlink(missing_ok=True)


def check_writable(folder: Path, room_bytes: int = 0) -> None:
    """Raise UsageError when a file of ``room_bytes`` cannot be made in ``folder``.

    Asked before anything is measured.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x" * room_bytes)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}") from None


def check_file(path: Path) -> None:
    """Raise UsageError when a file cannot be written at ``path``. Asked before anything is done."""
    if path.is_dir():
        raise UsageError(f"cannot write to {path}: it is a folder; expected the name of a file")
    check_writable(path.parent)


def _write_all(stream: FileIO, data: bytes) -> None:
    if stream.write(data) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Journal:
    """One JSON line per finished cell, flushed to disk: what a killed session leaves behind."""

    def __init__(self, path: Path) -> None:
        """Use the file at ``path``; it is made at the first line."""
        self._path = path

    def append(
        self, machine_key: str, case_id: str, cell: Document, entry: Document | None
    ) -> None:
        """Add a finished cell; ``entry`` is its pytest-benchmark entry, if it was timed.

        Raises OSError where the line cannot be written whole; the file is then as it was.
        """
        record = {"machine": machine_key, "id": case_id, "cell": cell, "entry": entry}
        # An entry's params hold the Case itself: keep its text, as pytest-benchmark does.
        self.extend([json.dumps(record, default=str).encode() + b"\n"])

    def extend(self, lines: Iterable[bytes]) -> None:
        """Add whole lines that another journal has. Raises OSError as ``append`` does."""
        data = b"".join(lines)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab", buffering=0) as stream:
            start = stream.seek(0, os.SEEK_END)
            try:
                _write_all(stream, data)
                os.fsync(stream.fileno())
            except OSError:
                stream.truncate(start)  # the next line must not be written behind half of this
                raise

    def mend(self) -> bool:
        """Cut off a last line that was not written to its end; return whether there was one."""
        if not self._path.is_file():
            return False
        with self._path.open("r+b") as stream:
            size = at = stream.seek(0, os.SEEK_END)
            whole = 0
            while at and not whole:
                start = max(0, at - _CHUNK_BYTES)
                stream.seek(start)
                found = stream.read(at - start).rfind(b"\n")
                whole, at = (start + found + 1 if found >= 0 else 0), start
            # Cutting needs no room, so it works on a full disk too.
            stream.truncate(whole)
        return whole < size

    def read(self, machine_key: str) -> dict[str, tuple[Document, Document | None]]:
        """Return finished cells as ``peek`` does; then drop a torn last line from the file."""
        done = self.peek(machine_key)
        self.mend()
        return done

    def peek(self, machine_key: str) -> dict[str, tuple[Document, Document | None]]:
        """Return finished cells by id, the last line of each winning; changes nothing.

        A torn last line is passed over. Raises UsageError for another machine's journal or for any
        other line that is not one of a journal.
        """
        done: dict[str, tuple[Document, Document | None]] = {}
        for number, line in enumerate(self.since(0), start=1):
            try:
                record = json.loads(line)
                done[record["id"]] = (record["cell"], record["entry"])
                owner, verdict = record["machine"], record["cell"]["verdict"]
            except (ValueError, KeyError, TypeError) as error:
                raise UsageError(
                    f"{self._path}:{number} is no journal line ({error!r}): mend or move it"
                ) from None
            if verdict not in VERDICTS:
                told = unknown("verdict", str(verdict), VERDICTS)
                raise UsageError(f"{self._path}:{number}: {told}: mend or move it")
            if owner != machine_key:
                raise UsageError(f"{self._path} belongs to {owner}, this machine is {machine_key}")
        return done

    def since(self, offset: int) -> list[bytes]:
        """Return the whole lines that begin at a byte offset or later, each with its line end."""
        if not self._path.is_file():
            return []
        with self._path.open("rb") as stream:
            stream.seek(offset)
            return [line for line in stream if line.endswith(b"\n")]
