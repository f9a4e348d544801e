"""Runs from which docs/regression-gate.md scores gates: unchanged ones, and ones with more work.

    python benchmarks/gate_traces.py OUT [--same 44] [--plus5 20] ... [--device cpu]

Every run is a fresh process over the whole matrix. More work is a layer more or two in the model of
a copy of this checkout (of llama-mini's 20: 5 and 10 %; of tinyllama-1.1b's 22: 4.5 and 9 %), so
that cell ids are equal and the work is real. Arms come in random order, and runs beside a busy
neighbour last. Run it again to go on where it stopped. OUT/traces.jsonl holds what gate_score.py
needs of each run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from perfkit.architectures import ARCHITECTURES
from perfkit.gating.against import environment
from perfkit.gating.fresh import fresh_run
from perfkit.plan import load_plan
from perfkit.results import store
from perfkit.results.validity import SETTINGS
from perfkit.suite import Measuring

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSY = """
import time
while True:
    end = time.monotonic() + 2
    while time.monotonic() < end:
        sum(range(10_000))
    time.sleep(2)
"""


ROOT = Path(__file__).resolve().parents[1]
SUITE = ("perfkit", "benchmarks", "configs", "data", "conftest.py", "pytest.ini", "pyproject.toml")
# The model of the gate's cells.
MODELS = {"cpu": "llama-mini", "gpu": "tinyllama-1.1b"}


class Arm(NamedTuple):
    """How many runs of it there are, and what is otherwise in them."""

    runs: int
    more_layers: int = 0
    disturbed: bool = False


ARMS = {
    "same": Arm(44),
    "plus5": Arm(20, more_layers=1),
    "plus10": Arm(20, more_layers=2),
    "neighbour": Arm(8, disturbed=True),
}


def checkout(place: Path, model: str, more_layers: int) -> Path:
    """Copy this checkout's suite, its ``model`` with some layers more, unless it is there."""
    if place.is_dir():
        return place
    partial = place.with_name(f".{place.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for name in SUITE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, partial / name)
        else:
            shutil.copy(source, partial / name)
    layers = ARCHITECTURES[model].layers + more_layers
    with (partial / "perfkit" / "architectures.py").open("a", encoding="utf-8") as file:
        file.write(
            f"\nfrom dataclasses import replace\n\n"
            f"ARCHITECTURES[{model!r}] = replace(ARCHITECTURES[{model!r}], layers={layers})\n"
        )
    return partial.rename(place)


def slim(arm: str, run: dict[str, Any]) -> dict[str, Any]:
    """Return what a gate and its rivals read of a run, times to six digits."""
    block = run["perfkit"]
    return {
        "arm": arm,
        "schema": block["schema"],
        "machine": block["machine"],
        "session": {name: block["session"].get(name) for name in ("started", *SETTINGS)},
        "canaries": rounded(block["canaries"]),
        "cells": {
            name: {
                "case": cell["case"],
                "verdict": cell["verdict"],
                "agreement": {"status": (cell.get("agreement") or {}).get("status")},
                "telemetry": {"cpu_wait_share": rounded(waited(cell))},
                "metrics": {"peak_allocated_bytes": metrics_of(cell).get("peak_allocated_bytes")},
                "samples": rounded(
                    {
                        kind: (cell.get("samples") or {}).get(kind, [])
                        for kind in ("ttft_s", "itl_s", "device_s")
                    }
                ),
            }
            for name, cell in block["cells"].items()
        },
    }


def metrics_of(cell: dict[str, Any]) -> dict[str, Any]:
    """Return a cell's figures, none where it was not timed."""
    return cell.get("metrics") or {}


def waited(cell: dict[str, Any]) -> float:
    """Return the share of its timed rounds in which a cell waited for a CPU, 0 if not known."""
    return (cell.get("telemetry") or {}).get("cpu_wait_share") or 0.0


def rounded(value: Any) -> Any:
    """Round every number inside to six digits."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.6g}")


def pack(out: Path) -> Path:
    """Write the runs of all arms into one file, a line each."""
    lines = [
        json.dumps(slim(arm, store.read(path)))
        for arm in ARMS
        for path in sorted((out / arm).glob("*.json"))
    ]
    store.write_whole(out / "traces.jsonl", "\n".join(lines) + "\n")
    return out / "traces.jsonl"


@contextlib.contextmanager
def neighbour(present: bool) -> Iterator[None]:
    """Let another process compute for two seconds in four on the same cores."""
    if not present:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", BUSY]) as process:
        try:
            yield
        finally:
            process.kill()


def make_run(out: Path, arm: Arm, name: str, number: int, asked: argparse.Namespace) -> Path:
    """Make one run of an arm, if it is not there yet."""
    output = out / name / f"{number:03}.json"
    if output.is_file():
        return output
    place = None
    if arm.more_layers:
        place = checkout(out.resolve() / "checkouts" / name, MODELS[asked.device], arm.more_layers)
    what = Measuring(
        (f"gate-{asked.device}",), None, asked.device, None,
        rounds=asked.rounds, max_warmup=2, seed=0, for_gate=True,
    )  # fmt: skip
    ids = [cell.case.id for cell in load_plan(what.matrices, None)]
    start = time.monotonic()
    with neighbour(arm.disturbed):
        fresh_run(
            what,
            ids,
            output,
            seed=zlib.crc32(f"{name}/{number}".encode()),
            place=place,
            environment=environment(place) if place else None,
        )
    print(f"{output} {time.monotonic() - start:.1f} s", flush=True)  # noqa: T201
    return output


def main() -> None:
    """Make the runs that are not there yet: the undisturbed arms in random order, then the rest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    for name, arm in ARMS.items():
        parser.add_argument(f"--{name}", type=int, default=arm.runs, help="runs of this arm")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    runs = [(name, number) for name in ARMS for number in range(getattr(asked, name))]
    random.Random(5).shuffle(runs)  # noqa: S311  (an order)
    for name, number in sorted(runs, key=lambda one: ARMS[one[0]].disturbed):
        make_run(asked.out, ARMS[name], name, number, asked)
    print(pack(asked.out))  # noqa: T201


if __name__ == "__main__":
    main()
