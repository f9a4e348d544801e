"""Result files found in folders, read once for each state of the file; nothing here draws."""

from __future__ import annotations

import os
import stat
import threading
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit.dashboard.batching import errors
from perfkit.dashboard.slim import BLOCKS, slim
from perfkit.dashboard.table import cells_frame
from perfkit.errors import UsageError, first_line
from perfkit.reporting.batching import NEEDED
from perfkit.reporting.pooled import groups
from perfkit.results.ablation import ablate
from perfkit.results.store import checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd

    from perfkit.results.ablation import Pair
    from perfkit.results.store import Document

GENERATION, ATTENTION = "generation", "attention"
SWEEP, VALIDATION = "batching sweep", "batching validation"
BROKEN, OTHER = "broken", "other"
_VALIDATION = "perfkit_batching_validation"
Stamp = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Source:
    """What one file holds, equal to itself alone; ``reason`` says what is wrong with a broken one.

    ``document`` is a result without samples, or a validation; ``frame`` a batching sweep's table.
    """

    label: str
    kind: str
    reason: str = ""
    document: Document = field(default_factory=dict)
    frame: pd.DataFrame | None = None


@dataclass(frozen=True)
class Shelf:
    """All that was found, in the order of its labels."""

    sources: tuple[Source, ...]

    def of(self, *kinds: str) -> list[Source]:
        """Return the sources of these kinds."""
        return [source for source in self.sources if source.kind in kinds]

    @cached_property
    def cells(self) -> pd.DataFrame:
        """A row each cell of each generation result, as ``table.COLUMNS`` has it."""
        return cells_frame((one.label, one.document) for one in self.of(GENERATION))

    def beside(self, more: Iterable[Source]) -> Shelf:
        """Return a shelf that has these too."""
        added = tuple(more)
        return Shelf((*self.sources, *added)) if added else self


class Index:
    """The files under some folders; asking again reads only those that changed."""

    def __init__(self, roots: Sequence[Path]) -> None:
        """Look at ``roots``: folders with all that is in them, or single files."""
        self._roots = tuple(roots)
        # Labels begin where the roots part, so that no two files have one label.
        self._base = Path(os.path.commonpath([root.parent for root in roots]))
        self._read: dict[Path, tuple[Stamp, Source | None]] = {}
        self._shelf = Shelf(())
        self._lock = threading.Lock()

    def shelf(self) -> Shelf:
        """Return what is there now; the same object while nothing changed."""
        with self._lock:
            found = {path: stamp for root in self._roots for path, stamp in _files(root)}
            if found != {path: stamp for path, (stamp, _) in self._read.items()}:
                before = self._read
                self._read = {
                    path: before[path]
                    if path in before and before[path][0] == stamp
                    else (stamp, _from_file(path, str(path.relative_to(self._base))))
                    for path, stamp in sorted(found.items())
                }
                kept = (source for _, source in self._read.values())
                self._shelf = Shelf(tuple(source for source in kept if source is not None))
            return self._shelf


@lru_cache
def shared(roots: tuple[str, ...]) -> Index:
    """Return the one index of these folders and files that all sessions of a server share."""
    return Index([Path(root) for root in roots])


@lru_cache(maxsize=8)
def pairs_of(sources: tuple[Source, ...]) -> list[Pair]:
    """Return the pairs of these results, each of its newest commit that has one to show.

    Remembered, as many files take seconds.
    """
    newest: dict[tuple[str, str], Pair] = {}
    for group in groups(source.document for source in sources):
        for pair in ablate(group.runs):
            place = pair.machine, pair.fused
            if place not in newest or pair.refused is None:
                newest[place] = pair
    return list(newest.values())


def _files(root: Path) -> Iterator[tuple[Path, Stamp]]:
    """Yield each JSON and CSV file with its time and size; hidden ones are left out."""
    paths = [root] if root.is_file() else _walk(root)
    for path in paths:
        try:
            told = path.stat()
        except OSError:  # gone since it was listed, or a link to nowhere
            if not path.is_symlink():
                continue
            told = path.lstat()
        yield path, (told.st_mtime_ns, told.st_size)


def _walk(root: Path) -> Iterator[Path]:
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in names:
            if name.endswith((".json", ".csv")) and not name.startswith("."):
                yield Path(folder, name)


def _from_file(path: Path, label: str) -> Source | None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return Source(label, BROKEN, "is no regular file")
        data = path.read_bytes()
    except OSError as error:
        return Source(label, BROKEN, f"cannot be read: {error.strerror}")
    return parse(label, data)


def parse(label: str, data: bytes) -> Source | None:
    """Return what a file of that name and content holds; None for a CSV that is no sweep."""
    try:
        return _csv(label, data) if label.endswith(".csv") else _json(label, data)
    except UsageError as error:
        return Source(label, BROKEN, str(error).removeprefix(label).strip())
    except Exception as error:  # whatever a file holds, the others are shown
        return Source(label, BROKEN, f"cannot be read: {first_line(error)}")


def _json(label: str, data: bytes) -> Source:
    from pydantic_core import from_json

    if not data.strip():
        raise UsageError("is empty")
    try:
        document = from_json(data)  # three times as fast as the standard library's
    except ValueError as error:
        raise UsageError(f"is not JSON ({error}): half-written, or of another program") from None
    if isinstance(document, dict) and _VALIDATION in document:
        return Source(label, VALIDATION, document=_validation(document))
    for block, kind in zip(BLOCKS, (GENERATION, ATTENTION), strict=True):
        if isinstance(document, dict) and block in document:
            return Source(label, kind, document=slim(checked(document, label, block), block))
    return Source(label, OTHER, "holds no result of perfkit")


def _validation(document: Document) -> Document:
    from perfkit.batching.server.document import SCHEMA

    if document[_VALIDATION] != SCHEMA:
        raise UsageError(f"has schema {document[_VALIDATION]!r}, expected {SCHEMA}")
    if not isinstance(document.get("compared"), list):
        raise UsageError("is damaged: it has no list of what was compared")
    errors(document)  # says what is wrong with what it holds
    return {key: document[key] for key in (_VALIDATION, "compared")}


def _csv(label: str, data: bytes) -> Source | None:
    import pandas as pd

    if not data.strip():
        raise UsageError("is empty")
    header = data.split(b"\n", 1)[0].decode("utf-8", "replace")
    if not set(header.strip().split(",")) >= NEEDED:
        return None
    try:
        frame = pd.read_csv(BytesIO(data))
    except ValueError as error:
        raise UsageError(f"cannot be read as a batching sweep: {first_line(error)}") from None
    for name in NEEDED - {"policy", "stable"}:
        frame[name] = pd.to_numeric(frame[name], errors="coerce")
    return Source(label, SWEEP, frame=frame)
