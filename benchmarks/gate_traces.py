"""Runs from which docs/regression-gate.md scores gates: unchanged ones, and ones with more work.

    python benchmarks/gate_traces.py OUT [--same 44] [--more 20] [--device cpu] [--matrix gate-cpu]

Every run is a fresh process over the whole matrix. The model is a folder of the same name in each
arm: 20 layers, 21 (5 % more) or 22 (10 %), so that cell ids are equal and the work is real. Arms
come in random order. Run it again to go on where it stopped.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import replace
from pathlib import Path

from perfkit.architectures import ARCHITECTURES
from perfkit.gating.fresh import fresh_run
from perfkit.inputs import models
from perfkit.plan import load_plan
from perfkit.suite import Measuring

BASE = "llama-mini"
ARMS = {"same": 0, "plus5": 1, "plus10": 2}


def make_model(folder: Path, more_layers: int) -> Path:
    """Save the base model with some layers more; the layers that both have hold equal weights."""
    place = folder / "model"
    if not (place / "config.json").is_file():
        source = models.find(BASE)
        arch = replace(ARCHITECTURES[BASE], layers=ARCHITECTURES[BASE].layers + more_layers)
        models.build(replace(source, arch=arch), "fp32", "cpu").save_pretrained(place)
    return place


def main() -> None:
    """Make the runs that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--same", type=int, default=44)
    parser.add_argument("--more", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--matrix", default="gate-cpu")
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    counts = {"same": asked.same, "plus5": asked.more, "plus10": asked.more}
    runs = [(arm, number) for arm, count in counts.items() for number in range(count)]
    random.Random(5).shuffle(runs)  # noqa: S311  (an order)
    for position, (arm, number) in enumerate(runs):
        output = asked.out / arm / f"{number:03}.json"
        if output.is_file():
            continue
        model = make_model(asked.out / "models" / arm, ARMS[arm])
        what = Measuring(
            (asked.matrix,), model, asked.device, None, asked.rounds, max_warmup=2, seed=0
        )
        ids = [cell.case.id for cell in load_plan(what.matrices, str(model))]
        start = time.monotonic()
        fresh_run(what, ids, output, seed=position)
        print(f"{position + 1}/{len(runs)} {output} {time.monotonic() - start:.1f} s", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
