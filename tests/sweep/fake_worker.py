"""A worker that does what a test tells it: a real process beside a real journal.

python fake_worker.py JOURNAL MACHINE_KEY DEEDS.json OUTPUT ID...
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfkit.results.store import Journal
from perfkit.suite import Measuring
from perfkit.sweep.driver import Sweep
from perfkit.sweep.local import Local
from perfkit.sweep.planning import Request
from perfkit.sweep.transport import Host
from perfkit.sweep.worker import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

HOST = Host("a-machine", memory_bytes=None)
MATRIX = """
device = "cpu"
[axes]
backend = ["torch-eager"]
model = ["llama-tiny"]
precision = ["fp32", "bf16"]
attention = ["nofmha", "fmha"]
batch = [1, 2]
prompt_len = [8]
new_tokens = [2]
"""


def make(
    deeds: Path, what: Measuring, ids: Sequence[str], *, output: Path | None, journal: Path,
    resume: bool,
) -> list[str]:  # fmt: skip
    del what, resume
    return [sys.executable, __file__, str(journal), HOST.machine_key, str(deeds),
            str(output or ""), *ids]  # fmt: skip


def describe(device: str) -> Host:
    del device
    return HOST


class FakeHost(Local):
    """A host of any key and memory."""

    seen: Host = HOST

    def host(self) -> Host:
        return self.seen


def prepare(
    folder: Path, deeds: dict[str, str], seed: int = 3, matrix: str = MATRIX, device: str = "cpu"
) -> Measuring:
    """Write the matrix and the deeds into ``folder``; return what a sweep of them asks for."""
    folder.mkdir(exist_ok=True)
    (folder / "matrix.toml").write_text(matrix, encoding="utf-8")
    (folder / "deeds.json").write_text(json.dumps(deeds), encoding="utf-8")
    return Measuring(
        matrices=(str(folder / "matrix.toml"),), model=None, device=device, prompts=None, rounds=1,
        max_warmup=1, seed=seed, cell_timeout_s=0.5,
    )  # fmt: skip


def sweep(
    folder: Path, deeds: dict[str, str], said: list[str], *, host: Host = HOST, seed: int = 3,
    first_s: float = 20.0, **changes: Any,
) -> Sweep:  # fmt: skip
    """Return a sweep of MATRIX into ``folder/out``; ``deeds`` maps parts of ids to what happens."""
    what, limits = prepare(folder, deeds, seed), Limits(first_s, 1.5)
    journal = folder / "out" / "matrix_results.journal.jsonl"
    transport = FakeHost(what, journal, limits, said.append, partial(make, folder / "deeds.json"))
    transport.seen = host
    request = Request(what, folder / "out", **changes)
    return Sweep(request, transport, said.append, lambda _: None)


def cells(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the cells in the journal of ``folder/out``; every one must stand in it once."""
    text = (folder / "out" / "matrix_results.journal.jsonl").read_text(encoding="utf-8")
    records = [json.loads(line) for line in text.splitlines()]
    assert max(Counter(record["id"] for record in records).values()) == 1
    return {record["id"]: record["cell"] for record in records}


def _do(deed: str, deeds_file: Path, journal: Path) -> None:
    if deed == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if deed == "hang":
        child = subprocess.Popen(["sleep", "60"])
        deeds_file.with_name("child.pid").write_text(str(child.pid), encoding="utf-8")
        time.sleep(60)
    if deed == "kill-parent":
        time.sleep(0.6)  # so that what was finished before has been seen
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    if deed == "leave":
        sys.exit(0)
    if deed == "refuse":
        print("no such option")  # noqa: T201
        sys.exit(4)
    if deed == "full":
        print("the journal cannot be written: No space left on device")  # noqa: T201
        sys.exit(os.EX_IOERR)
    if deed == "tear":
        with journal.open("a", encoding="utf-8") as stream:
            stream.write('{"machine": "a-mach')
        os.kill(os.getpid(), signal.SIGKILL)
    if deed == "slow":
        time.sleep(0.5)


def _main(journal: str, machine: str, deeds_file: str, output: str, *ids: str) -> None:
    if output:
        done = Journal(Path(journal)).read(machine)
        cells = {case_id: cell for case_id, (cell, _) in done.items()}
        document = {"benchmarks": [], "perfkit": {"schema": 1, "cells": cells}}
        Path(output).write_text(json.dumps(document), encoding="utf-8")
        return
    deeds = json.loads(Path(deeds_file).read_text(encoding="utf-8"))
    for case_id in ids:
        deed = next((deed for part, deed in deeds.items() if part in case_id), "measure")
        _do(deed, Path(deeds_file), Path(journal))
        cell = {"verdict": "ok", "reason": None, "metrics": {}}
        Journal(Path(journal)).append(machine, case_id, cell, None)


if __name__ == "__main__":
    _main(*sys.argv[1:])
