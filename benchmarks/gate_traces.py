"""Runs from which docs/regression-gate.md scores gates: unchanged ones, and ones with more work.

    python benchmarks/gate_traces.py OUT [--same 44] [--more 20] [--device cpu] [--base llama-mini]

Every run is a fresh process over the whole matrix. The model is a folder of the same name in each
arm, of as many layers as the base has, one more or two more (of llama-mini's 20: 5 and 10 %), so
that cell ids are equal and the work is real. Arms come in random order. Run it again to go on where
it stopped. OUT/traces.jsonl holds what gate_score.py needs of each run.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from perfkit.architectures import ARCHITECTURES
from perfkit.gating.fresh import fresh_run
from perfkit.inputs import models
from perfkit.plan import load_plan
from perfkit.results import store
from perfkit.suite import Measuring

ARMS = {"same": 0, "plus5": 1, "plus10": 2}


def make_model(folder: Path, base: str, more_layers: int, device: str) -> Path:
    """Save the base model with some layers more; the layers that both have hold equal weights."""
    place = folder / "model"
    if not (place / "config.json").is_file():
        arch = replace(ARCHITECTURES[base], layers=ARCHITECTURES[base].layers + more_layers)
        source = replace(models.find(base), arch=arch)
        models.build(source, "bf16", device).save_pretrained(place)
    return place


def slim(arm: str, run: dict[str, Any]) -> dict[str, Any]:
    """Return what a gate and its rivals read of a run, times to six digits."""
    block = run["perfkit"]
    return {
        "arm": arm,
        "schema": block["schema"],
        "machine": block["machine"],
        "session": {"started": block["session"]["started"]},
        "canaries": rounded(block["canaries"]),
        "cells": {
            name: {
                "case": cell["case"],
                "verdict": cell["verdict"],
                "agreement": {"status": cell["agreement"]["status"]},
                "samples": rounded(
                    {kind: cell["samples"][kind] for kind in ("ttft_s", "itl_s", "device_s")}
                ),
            }
            for name, cell in block["cells"].items()
        },
    }


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


def main() -> None:
    """Make the runs that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--same", type=int, default=44)
    parser.add_argument("--more", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--base", default="llama-mini")
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    counts = {"same": asked.same, "plus5": asked.more, "plus10": asked.more}
    runs = [(arm, number) for arm, count in counts.items() for number in range(count)]
    random.Random(5).shuffle(runs)  # noqa: S311  (an order)
    for position, (arm, number) in enumerate(runs):
        output = asked.out / arm / f"{number:03}.json"
        if output.is_file():
            continue
        device = "cuda" if asked.device == "gpu" else "cpu"
        model = make_model(asked.out / "models" / arm, asked.base, ARMS[arm], device)
        what = Measuring(
            (f"gate-{asked.device}",),
            model,
            asked.device,
            None,
            asked.rounds,
            max_warmup=2,
            seed=0,
            for_gate=True,
        )
        ids = [cell.case.id for cell in load_plan(what.matrices, str(model))]
        start = time.monotonic()
        fresh_run(what, ids, output, seed=position)
        print(f"{position + 1}/{len(runs)} {output} {time.monotonic() - start:.1f} s", flush=True)  # noqa: T201
    print(pack(asked.out))  # noqa: T201


if __name__ == "__main__":
    main()
