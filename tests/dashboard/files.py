"""Folders of result files for the dashboard's tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.reporting.documents import cell, document

if TYPE_CHECKING:
    from pathlib import Path

SWEEP = (
    "policy,arrival,max_batch,delay_us,rate,rho,lat_p99,p99_ci,stable\n"
    "dynamic,poisson,4,0,10,0.5,0.020,0.001,True\n"
    "dynamic,poisson,4,20000,10,0.5,0.030,0.001,True\n"
    "dynamic,poisson,4,0,19,0.95,0.050,0.004,False\n"
    "one-by-one,poisson,1,,5,0.5,0.010,0.001,True\n"
)


def run(
    *,
    day: int = 24,
    rate: float = 100.0,
    commit: str = "abc123",
    driver: str = "580.1",
    **more: Any,
) -> dict[str, Any]:
    """Return a result of four cells that ran on a day of November 2026; ``rate`` is fmha's."""
    made = document(
        cell("torch-eager", attention="nofmha", batch=8, rate=80.0),
        cell("torch-eager", attention="fmha", batch=8, rate=rate),
        cell("torch-eager", attention="fmha", batch=32, rate=3 * rate),
        cell("torch-compile", attention="fmha", batch=8, verdict="unstable"),
        machine={"key": "gpu-a", "name": "GPU A",
                 "fields": {"driver": driver, "torch": "2.11.0", "cuda": "13.0"}},
        **more,
    )  # fmt: skip
    ran = {"nofmha": {"k1": 32}, "fmha": {"flash": 32}}
    for body in made["perfkit"]["cells"].values():
        body["session"] = f"s{day}-{rate}"
        for phase in ("prefill", "decode"):
            found = body["attention"][phase]
            kind = body["case"]["attention"]
            found["class"] = "materialised" if kind == "nofmha" else "flash"
            found["attention_kernels"] = {} if kind == "nofmha" else ran[kind]
    made["commit_info"] = {"id": commit, "dirty": False}
    made["datetime"] = f"2026-11-{day:02}T10:00:00"
    return made


def write(path: Path, content: object) -> Path:
    """Write text as it is, anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def validation() -> dict[str, Any]:
    """Return a validation of one load, one figure of which was not measured."""
    means = {name: {"mean": 0.020} for name in ("wait_s", "ttft_s", "e2e_s")}
    error = {"mean": -0.1, "p50": -0.2, "p90": None, "p99": 0.3}
    return {
        "perfkit_batching_validation": 1,
        "command": ["perfkit", "batching", "validate"],
        "machine": {"key": "cpu-a"},
        "compared": [
            {
                "load": 0.3,
                "measured": {**means, "tpot_s": None},
                "table": {
                    "predicted": {name: {"mean": 0.018} for name in means} | {"tpot_s": None},
                    "error": dict.fromkeys(means, error) | {"tpot_s": None},
                },
            }
        ],
    }


def room(folder: Path) -> Path:
    """Fill a folder with three runs, a sweep, a validation, and four files that are broken."""
    write(folder / "a.json", run(day=1))
    write(folder / "sub/b.json", run(day=2, rate=110.0, commit="def456"))
    write(folder / "sub/c.json", run(day=3, rate=120.0, commit="def456", driver="590.2"))
    write(folder / "sweep.csv", SWEEP)
    write(folder / "validation.json", validation())
    write(folder / "gate.json", {"judgements": []})
    write(folder / "bad/empty.json", "")
    write(folder / "bad/half.json", json.dumps(run())[:900])
    write(folder / "bad/old.json", {"perfkit": {"schema": 99, "cells": {}}})
    write(
        folder / "bad/words.json", run() | {"perfkit": {"schema": 1, "cells": {"x": {"case": 3}}}}
    )
    return folder
