"""Make data/mock/metrics_trtllm_synthetic.json: no figure in it was measured by anybody.

    python benchmarks/make_mock.py [OUT]

The file has the form of a TensorRT-LLM result, so that pictures can be tried on a laptop. Its times
follow from round numbers: to the first token 10 ms and a fixed time per 4,096 prompt tokens, then a
fixed time a token (ARMS), and jitter drawn from a seed in whole steps of 0.1 ms. They say nothing
about TensorRT-LLM, on any machine.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
from pathlib import Path
from typing import Any

from perfkit import metrics
from perfkit.cases import Case
from perfkit.metrics import Trace
from perfkit.results.agreement import unchecked
from perfkit.results.record import SCHEMA, Result
from perfkit.results.store import write_whole

OUT = Path(__file__).resolve().parents[1] / "data/mock/metrics_trtllm_synthetic.json"
MAKER = "benchmarks/make_mock.py"
NOT_MEASURED = "synthetic: nobody measured this"
SEED = 0
ROUNDS = 5
# Those of the LLaMA-2-7B cells under baselines/ that README's first picture shows.
BATCHES, PROMPTS, NEW_TOKENS = (1, 8, 32), (128, 512, 2048), 64
TICKS = 10_000  # a second in steps of 0.1 ms: whole numbers of them keep the file short
# Backend and attention: steps of 0.1 ms to the first token per 4,096 prompt tokens, and a token.
ARMS = {
    ("trtllm-engine", "fmha"): (400, 100),
    ("trtllm-engine", "nofmha"): (800, 120),
    ("trtllm-pytorch", "fmha"): (500, 150),
}


def trace(dice: random.Random, case: Case) -> Trace:
    """Return the made-up token times of one round, in seconds."""
    per_block, step = ARMS[case.backend, case.attention]
    first = 100 + per_block * case.batch * case.prompt_len // 4096 + dice.randrange(20)
    steps = (step + dice.randrange(10) for _ in range(case.new_tokens - 1))
    return Trace(tuple(tick / TICKS for tick in itertools.accumulate(steps, initial=first)))


def result(case: Case) -> Result:
    """Return a cell of made-up rounds; its figures follow from them by perfkit's own formulas."""
    dice = random.Random(f"{SEED} {case.id}")  # noqa: S311  (made-up figures)
    traces = [trace(dice, case) for _ in range(ROUNDS)]
    samples = {
        "ttft_s": [one.ttft_s for one in traces],
        "e2e_s": [one.e2e_s for one in traces],
        "itl_s": [[round(gap, 4) for gap in one.itl_s] for one in traces],
        "device_s": [one.e2e_s for one in traces],
        "host_e2e_s": [one.e2e_s for one in traces],
    }
    flat = {"itl_s": list(itertools.chain(*samples["itl_s"]))}
    quantiles = {
        name: metrics.quantiles((samples | flat)[name]) for name in ("ttft_s", "e2e_s", "itl_s")
    }
    missing = ("mfu", "mbu", "peak_allocated_bytes", "peak_device_bytes")
    details = {
        "metrics": metrics.summarise(traces, case.batch, case.prompt_len) | dict.fromkeys(missing),
        "absent": dict.fromkeys(missing, NOT_MEASURED),
        "samples": samples,
        "quantiles": {"method": metrics.QUANTILE_METHOD} | quantiles,
        "agreement": unchecked("synthetic").to_json(),
        "session": "synthetic",
        "gpu_uuid": None,
    }
    return Result(case, "ok", None, details)


def cases() -> list[Case]:
    """Return the cells of the file, in its order."""
    return [
        Case(backend=backend, model="llama2-7b", precision="bf16", attention=attention,
             batch=batch, prompt_len=prompt, new_tokens=NEW_TOKENS)
        for batch, prompt, (backend, attention) in itertools.product(BATCHES, PROMPTS, ARMS)
    ]  # fmt: skip


def document() -> dict[str, Any]:
    """Return the whole file; it has no pytest-benchmark entry, so that nothing compares one."""
    day = "2000-01-01T00:00:00+00:00"
    return {
        "perfkit": {
            "schema": SCHEMA,
            "synthetic": MAKER,
            "session": {
                "id": "synthetic",
                "started": day,
                "command": f"python {MAKER}",
                "seed": SEED,
                "device": "cuda",
                "matrices": [],
                "rounds": ROUNDS,
                "max_warmup": 0,
                "warnings": [],
                "not_measured": [],
            },
            "machine": {
                "key": "synthetic",
                "name": "SYNTHETIC: nobody measured this",
                "fields": {},
            },
            "ceilings": None,
            "canaries": [],
            "cells": {case.id: result(case).to_json() for case in cases()},
        },
        "machine_info": {},
        "commit_info": {},
        "benchmarks": [],
        "datetime": day,
        "version": "synthetic",
    }


def text() -> str:
    """Return what the file holds."""
    return json.dumps(document()) + "\n"


if __name__ == "__main__":
    write_whole(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT, text())
