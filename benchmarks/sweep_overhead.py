"""What a sweep spends outside warm-up and timed rounds, against one process for each cell.

    python benchmarks/sweep_overhead.py MATRIX.toml OUT

Both ways measure the same cells with the same command, one warm-up and three rounds: a sweep, and
then a process a cell. Formula, per cell: (wall time - warm-up and timed rounds) / cells. OUT gets
overhead.json and both journals; run again, it goes on where it was cut off.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from perfkit.plan import load_plan
from perfkit.results.store import write_whole
from perfkit.running import resolve_device
from perfkit.suite import Measuring, command


def measured_s(journal: Path) -> tuple[int, float]:
    """Return the cells in a journal and the seconds of their warm-up and timed rounds."""
    cells = [json.loads(line)["cell"] for line in journal.read_text(encoding="utf-8").splitlines()]
    spent = sum(
        sum(cell["warmup"]["seconds"]) + sum(cell["samples"]["host_e2e_s"])
        for cell in cells
        if cell.get("samples")
    )
    return len(cells), spent


def timed(commands: list[list[str]], log: Path) -> list[float]:
    """Run commands one after the other; return the seconds of each."""
    walls = []
    with log.open("ab") as stream:
        for one in commands:
            start = time.monotonic()
            subprocess.run(one, stdout=stream, stderr=subprocess.STDOUT, check=False)
            walls.append(time.monotonic() - start)
    return walls


def told(walls: list[float], journal: Path) -> dict[str, Any]:
    """Return the figures of one way of measuring."""
    cells, spent = measured_s(journal)
    wall = sum(walls)
    return {
        "cells": cells,
        "processes": len(walls),
        "wall_s": wall,
        "warmup_and_rounds_s": spent,
        "outside_s_per_cell": (wall - spent) / cells,
        "cells_per_minute": 60 * cells / wall,
        "walls_s": walls,
    }


def main() -> None:
    """Measure both ways and write overhead.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("matrix", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    what = Measuring(
        matrices=(str(options.matrix),), model=None, device=resolve_device("auto"), prompts=None,
        rounds=3, max_warmup=1, seed=0,
    )  # fmt: skip
    folder = out / "sweep"
    program = [sys.executable, "-c", "from perfkit.cli import main; main()"]
    swept = [*program, "sweep", str(options.matrix), "--output", str(folder)]
    result = out / "overhead.json"
    before = json.loads(result.read_text(encoding="utf-8")) if result.is_file() else {}
    if "sweep" not in before:
        walls = timed([swept], out / "sweep.log")
        before["sweep"] = told(walls, folder / "matrix_results.journal.jsonl")
        write_whole(result, json.dumps(before, indent=1))
    sweep = before["sweep"]
    journal = out / "isolated.journal.jsonl"
    ids = [cell.case.id for cell in load_plan(what.matrices)]
    walls = list(before.get("one_process_a_cell", {}).get("walls_s", []))
    for one in ids[len(walls) :]:
        made = command(what, [one], output=None, journal=journal, resume=False)
        walls += timed([made], out / "isolated.log")
        isolated = told(walls, journal)
        before["one_process_a_cell"] = isolated
        before["ratio_outside"] = sweep["outside_s_per_cell"] / isolated["outside_s_per_cell"]
        write_whole(result, json.dumps(before, indent=1))
    sys.stdout.write(json.dumps(before, indent=1) + "\n")


if __name__ == "__main__":
    main()
