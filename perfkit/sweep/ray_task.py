"""What a Ray worker does for a sweep: the very same worker command; its journal goes back."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit.errors import UsageError
from perfkit.machine.identity import gpus
from perfkit.results.store import Journal
from perfkit.sweep import worker
from perfkit.sweep.devices import Devices
from perfkit.sweep.local import assembled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from perfkit.results.store import Document
    from perfkit.suite import Measuring
    from perfkit.sweep.transport import Host

# Ray sets the first for each task; a bare host has what the person's shell has.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Part:
    """A job as it travels: ``files`` are matrices and prompts by name, ``threads`` the driver's."""

    what: Measuring
    name: str
    ids: tuple[str, ...]
    gpus: int
    limits: worker.Limits
    make: Callable[..., list[str]]
    files: Mapping[str, bytes]
    threads: Mapping[str, str]
    exclusive: bool


@dataclass(frozen=True)
class Message:
    """What comes back: lines for the journal, words for the person, or the end."""

    lines: tuple[bytes, ...] = ()
    said: str = ""
    ended: worker.Ended | None = None


@dataclass(frozen=True)
class Seen:
    """A node of the cluster: its name, its machine, and the niceness of its workers."""

    node: str
    host: Host
    nice: int


def look(device: str, describe: Callable[[str], Host]) -> Seen:
    """Look at the node that this runs on; ``device`` is "cpu" or "gpu"."""
    return Seen(socket.gethostname(), describe(device), os.nice(0))


def measure(part: Part) -> Iterator[Message]:
    """Run a job in a folder of its own and tell what comes of it."""
    yield Message()  # it has begun: from now on its limits count
    with tempfile.TemporaryDirectory(prefix="perfkit-") as name:
        folder = Path(name)
        said: list[str] = []
        uuids = [gpu.uuid for gpu in gpus()] if part.gpus else []
        devices = Devices(uuids, said.append)
        with devices.held(part.gpus, part.name) as visible:
            yield from _told(said)
            yield from _run(part, folder, visible)
        yield from _told(said)


def _run(part: Part, folder: Path, visible: Mapping[str, str]) -> Iterator[Message]:
    journal, sent = folder / "journal.jsonl", 0
    made = part.make(
        unpacked(part.what, part.files, folder), part.ids, output=None, journal=journal, resume=True
    )
    placed = _placed(part, visible)
    running = worker.run(
        made, folder / "log", journal, part.limits, environment(part) | dict(visible)
    )
    with contextlib.closing(running):
        ended = None
        while ended is None:
            ended = worker.advance(running)
            new = Journal(journal).since(sent)
            sent += sum(map(len, new))
            yield Message(lines=tuple(_line(line, placed) for line in new))
    yield Message(ended=ended)


def assemble(part: Part, journal: bytes) -> Document | str:
    """Return the journal's cells as one document, or why it could not be made."""
    with tempfile.TemporaryDirectory(prefix="perfkit-") as name:
        folder = Path(name)
        kept = folder / "journal.jsonl"
        kept.write_bytes(journal)
        what = unpacked(part.what, part.files, folder)
        made = part.make(what, part.ids, output=folder / "out.json", journal=kept, resume=True)
        try:
            return assembled(made, folder / "out.json")
        except UsageError as error:
            return str(error)


def packed(what: Measuring) -> dict[str, bytes]:
    """Return the files that a node may not have: matrices and prompts given by path."""
    paths = [Path(name) for name in what.matrices if name.endswith(".toml")]
    paths += [what.prompts] if what.prompts else []
    return {str(path): path.read_bytes() for path in paths}


def unpacked(what: Measuring, files: Mapping[str, bytes], folder: Path) -> Measuring:
    """Write packed files into ``folder`` and return what is asked for with their new places."""
    places = {}
    for number, (name, content) in enumerate(files.items()):
        places[name] = folder / f"{number}-{Path(name).name}"
        places[name].write_bytes(content)
    prompts = places[str(what.prompts)] if what.prompts else None
    matrices = tuple(str(places.get(name, name)) for name in what.matrices)
    return replace(what, matrices=matrices, prompts=prompts)


def environment(part: Part) -> dict[str, str]:
    """Return this worker's environment with the thread counts of a bare host."""
    kept = {name: value for name, value in os.environ.items() if name not in THREADS}
    return kept | dict(part.threads)


def _placed(part: Part, visible: Mapping[str, str]) -> dict[str, object]:
    return {
        "transport": "ray",
        "node": socket.gethostname(),
        "host": "exclusive" if part.exclusive else "shared",
        "nice": os.nice(0),
        "gpus": visible.get("CUDA_VISIBLE_DEVICES"),
    }


def _line(line: bytes, placed: Mapping[str, object]) -> bytes:
    record = json.loads(line)
    record["cell"]["placed"] = placed
    return json.dumps(record).encode() + b"\n"


def _told(said: list[str]) -> Iterator[Message]:
    while said:
        yield Message(said=f"{socket.gethostname()}: {said.pop(0)}")
