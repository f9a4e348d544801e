"""Synthetic result documents: plausible figures, no machine was measured for them."""

from __future__ import annotations

import itertools
import random
from typing import Any

GIB = 2**30
SPEED = {"torch-eager/fmha": 1.4, "torch-eager/nofmha": 1.0, "torch-compile/fmha": 2.6}


def cell(
    backend: str = "torch-eager",
    model: str = "llama2-7b",
    precision: str = "bf16",
    attention: str = "fmha",
    *,
    batch: int = 8,
    prompt: int = 512,
    new: int = 64,
    verdict: str = "ok",
    rounds: int = 10,
    rate: float | None = None,
    status: str = "agrees",
) -> tuple[str, dict[str, Any]]:
    """Return a cell's id and body; ``rate`` is output token/s, else made up from the shape."""
    case = {
        "backend": backend, "model": model, "precision": precision, "attention": attention,
        "batch": batch, "prompt_len": prompt, "new_tokens": new, "tp": 1,
    }  # fmt: skip
    name = f"{backend}/{model}/{precision}/{attention}/b{batch}/p{prompt}/n{new}/tp1"
    body: dict[str, Any] = {
        "case": case,
        "verdict": verdict,
        "reason": None if verdict == "ok" else f"{verdict}: made up for a test",
        "metrics": {},
        "absent": {},
        "memory": {"forecast": forecast(batch, prompt + new, attention)},
        "agreement": {"status": "unchecked", "relative_l2": None},
        "warnings": [],
    }
    if verdict in {"ok", "throttled", "unstable", "clock_mismatch"}:
        kind = SPEED.get(f"{backend}/{attention}", 1.2)
        body |= timed(random.Random(name), kind, batch, prompt, new, rounds, rate)
        body["metrics"]["peak_device_bytes"] = int(
            body["memory"]["forecast"]["total_bytes"] * 1.06 + 0.5 * GIB
        )
        body["agreement"] = {"status": status, "relative_l2": 3.1e-3, "limit": 8e-3}
        ran = "flash" if attention == "fmha" else "math"
        body["attention"] = {"requested": attention, "prefill": {"class": ran},
                             "decode": {"class": ran}}  # fmt: skip
    return name, body


def forecast(batch: int, positions: int, attention: str) -> dict[str, int]:
    """Return a forecast in bytes for something like a 7 B model at two bytes a weight."""
    parts = {
        "weights_bytes": int(12.6 * GIB),
        "kv_bytes": batch * positions * 524_288,
        "activation_bytes": batch * positions * (40_000 if attention == "fmha" else 900_000),
    }
    return {**parts, "total_bytes": sum(parts.values())}


def timed(
    dice: random.Random, kind: float, batch: int, prompt: int, new: int, rounds: int,
    rate: float | None,
) -> dict[str, Any]:  # fmt: skip
    """Return metrics, quantiles and samples, all in seconds and token/s."""
    step = (0.024 + batch * prompt * 4e-7) / kind
    prefill = (0.02 + batch * prompt * 3e-5) / kind**0.5
    ttft = [prefill * dice.lognormvariate(0, 0.03) for _ in range(rounds)]
    itl = [[step * dice.lognormvariate(0, 0.06) for _ in range(new - 1)] for _ in range(rounds)]
    e2e = [first + sum(rest) for first, rest in zip(ttft, itl, strict=True)]
    middle = sorted(e2e)[rounds // 2]
    metrics = {
        "ttft_s": prefill, "tpot_s": step, "e2e_s": middle, "mfu": 0.012 * kind, "mbu": 0.3 * kind,
        "output_tokens_per_s": rate or batch * new / middle, "energy_j_per_token": None,
        "peak_allocated_bytes": 13 * GIB, "load_s": 12.5,
    }  # fmt: skip
    flat = sorted(x for rest in itl for x in rest)
    quantiles = {
        "method": "linear",
        "ttft_s": {"p50": sorted(ttft)[rounds // 2], "p90": max(ttft), "p99": None},
        "itl_s": {f"p{share}": flat[len(flat) * share // 100] for share in (50, 90, 99)},
    }  # fmt: skip
    samples = {"ttft_s": ttft, "e2e_s": e2e, "host_e2e_s": e2e, "itl_s": itl}
    return {"metrics": metrics, "quantiles": quantiles, "samples": samples}


def document(*cells: tuple[str, dict[str, Any]], **perfkit: Any) -> dict[str, Any]:
    """Return a document of these cells; keywords replace keys under ``perfkit``."""
    return {
        "machine_info": {},
        "commit_info": {"id": "abc123"},
        "benchmarks": [],
        "datetime": "2026-11-24T10:00:00",
        "version": "5.3.1",
        "perfkit": {
            "schema": 1,
            "session": {"id": "s1", "started": "2026-11-24T09:59:00", "seed": 7, "device": "cuda"},
            "machine": {"key": "h200", "name": "NVIDIA H200", "fields": {}},
            "ceilings": {
                "gemm_flop_per_s": {"bf16": 7.6e14}, "copy_bytes_per_s": 4.2e12,
                "read_bytes_per_s": 4.4e12, "verdict": "ok", "reasons": [],
            },
            "cells": dict(cells),
            **perfkit,
        },
    }  # fmt: skip


def large() -> dict[str, Any]:
    """Return 40 cells of one model in six arms, a few without figures or in doubt."""
    arms = (("torch-eager", "fmha"), ("torch-eager", "nofmha"), ("torch-compile", "fmha"))
    product = itertools.product((1, 8, 32), (128, 512, 2048), arms, ("bf16", "fp16"))
    cells = []
    for batch, prompt, (backend, attention), precision in product:
        if batch == 1 and precision == "fp16" and prompt != 128:
            continue
        if batch == 8 and precision == "fp16" and prompt != 2048:
            continue
        verdict = "ok"
        if batch * prompt >= 65536 and attention == "nofmha":
            verdict = "oom"
        elif (batch, prompt, backend, precision) == (32, 512, "torch-compile", "fp16"):
            verdict = "throttled"
        elif (batch, prompt, backend, precision) == (8, 2048, "torch-compile", "fp16"):
            verdict = "diverged"
        cells.append(
            cell(backend, "llama2-7b", precision, attention, batch=batch, prompt=prompt,
                 verdict=verdict)
        )  # fmt: skip
    return document(*cells[-40:])


def small() -> dict[str, Any]:
    """Return six cells of two models, one of them out of memory, one unstable."""
    return document(
        cell("torch-eager", "gpt2-xl", "fp32", "nofmha", batch=1, prompt=128, new=32),
        cell("torch-eager", "gpt2-xl", "fp32", "fmha", batch=1, prompt=128, new=32),
        cell("torch-eager", "llama2-7b", "fp32", "nofmha", batch=4, prompt=128, verdict="oom"),
        cell("torch-eager", "llama2-7b", "fp32", "fmha", batch=4, prompt=128),
        cell("torch-compile", "llama2-7b", "fp32", "fmha", batch=4, prompt=128, rounds=3),
        cell("torch-eager", "llama2-7b", "fp32", "fmha", batch=1, prompt=128, verdict="unstable"),
    )


def matrix(
    backends: tuple[str, ...] = ("torch-eager", "torch-compile"),
    precisions: tuple[str, ...] = ("bf16", "fp16"),
) -> dict[str, Any]:
    """Return a whole matrix, 112 cells for each backend and precision, with holes of each kind."""
    batches, prompts, news = (1, 2, 4, 8, 16, 32, 64), (128, 512, 1024, 2048), (32, 128)
    product = itertools.product(backends, precisions, batches, prompts, news, ("nofmha", "fmha"))
    return document(
        *(
            cell(backend, "llama2-7b", precision, attention, batch=batch, prompt=prompt, new=new,
                 verdict=_fate(backend, attention, batch, prompt), rounds=5)
            for backend, precision, batch, prompt, new, attention in product
        )
    )  # fmt: skip


def _fate(backend: str, attention: str, batch: int, prompt: int) -> str:
    """Return what becomes of a cell of ``matrix``: large ones do not fit, a few go wrong."""
    if batch * prompt >= (32_768 if attention == "nofmha" else 131_072):
        return "oom"
    wrong = {
        ("torch-compile", "nofmha", 32, 512): "timeout",
        ("torch-compile", "fmha", 16, 2048): "diverged",
        ("torch-eager", "nofmha", 1, 128): "unstable",
        ("torch-eager", "fmha", 8, 512): "throttled",
        ("torch-eager", "fmha", 64, 1024): "clock_mismatch",
    }
    return wrong.get((backend, attention, batch, prompt), "ok")
