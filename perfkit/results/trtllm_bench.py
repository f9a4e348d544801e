"""What ``trtllm-bench`` reports, as a result document with one cell that no ratio and no gate uses.

Keys, units and rules are those of tensorrt_llm/bench/dataclasses/{reporting,statistics}.py, about
1.2.0rc2; docs/results.md has the mapping. Times of a report are ms, of a request file ns.
"""

from __future__ import annotations

import math
import re
from importlib import metadata
from typing import TYPE_CHECKING, Any

from perfkit.cases import LOCAL, make_case
from perfkit.errors import UsageError
from perfkit.precisions import PRECISIONS
from perfkit.results.agreement import unchecked
from perfkit.results.record import SCHEMA, Result
from perfkit.results.trtllm_report import positive

if TYPE_CHECKING:
    from datetime import datetime

    from perfkit.cases import Case
    from perfkit.results.store import Document
    from perfkit.results.trtllm_report import Report

# No machine has this key, so no baseline does.
MACHINE_KEY = "imported-trtllm-bench"
QUANTILE_METHOD = "trtllm-bench: sorted[int(n*q)]"
# Published models by their architecture here; of each, the first is what a command names.
HF_MODELS = {
    "tinyllama-1.1b": ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "TinyLlama/TinyLlama_v1.1"),
    "llama2-7b": ("meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-7b-chat-hf"),
    "llama2-13b": ("meta-llama/Llama-2-13b-hf", "meta-llama/Llama-2-13b-chat-hf"),
    "llama3-8b": ("meta-llama/Meta-Llama-3-8B", "meta-llama/Meta-Llama-3-8B-Instruct"),
}
_BACKENDS = {"TRT": "trtllm-engine", "Pytorch": "trtllm-pytorch"}
_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
_QUANTISED = {"FP8": "fp8"}
_NOT_QUANTISED = frozenset({None, "", "None", "NO_QUANT", "auto"})
# Two statements of one thing may differ this much: logs print four decimals.
_TOLERANCE = 1e-3
_QUANTILES = ("p50", "p90", "p99")
_NS = 1e9
_UNSEEN = "imported from trtllm-bench: outputs not seen"
# Of the engine's part, without the paths of the machine it ran on.
_KEPT = ("version", "model", "backend", "dtype", "quantization", "kv_cache_dtype")
_NOTES = (
    "output_tokens_per_s is all output tokens over the whole run, its start and end included",
    "ttft_s, tpot_s and e2e_s are means over requests by the host's clock, not medians of rounds",
    "the date is the import's: a report has none",
)
_NO_CEILINGS = "no ceilings: the machine's were not measured with the report"
_NO_FIGURE = {
    "prefill_tokens_per_s": "not in the report: it times no prefill of a whole batch",
    "decode_tokens_per_s": "not in the report: its generation rate is a mean over users",
    "mfu": _NO_CEILINGS,
    "mbu": _NO_CEILINGS,
    "energy_j_per_token": "not in the report",
    **dict.fromkeys(
        ("peak_allocated_bytes", "peak_reserved_bytes", "peak_device_bytes", "peak_rss_bytes"),
        "not in the report: it has no key for memory used",
    ),
    **dict.fromkeys(("load_s", "compile_s", "first_run_s"), "not in the report"),
}
_NOT_REPORTED = _NO_FIGURE | {
    "attention": "not in the report: it has no FMHA key; fmha, the default, is taken as asked for",
    "variance": "not in the report: it is of one run, without rounds",
    "quantiles.itl_s": "not in the report: its TPOT is a request's mean, not each token's time",
}


def document(
    report: Report, *, now: datetime, requests: object = None, requests_where: str = ""
) -> Document:
    """Return the result document of one report; ``requests`` is a parsed --request_json file.

    ``now`` dates the import, as a report has no date. Raises UsageError for a run that no cell of
    ours describes (mixed lengths, quantised weights, pipelines, speculation) and for no numbers.
    """
    case, notes = _case(report)
    session = f"import-{now:%Y%m%dT%H%M%S%f}"
    details = _details(report, case, [*notes, *_NOTES])
    if requests is not None:
        details["samples"] = _samples(report, requests, requests_where)
        details["imported"]["notes"].append("samples are of requests, not of rounds")
    cell = Result(case, "ok", None, details).to_json() | {"session": session, "gpu_uuid": None}
    return {
        "machine_info": {},
        "commit_info": {},
        "benchmarks": [],
        "datetime": now.isoformat(),
        "version": metadata.version("pytest-benchmark"),
        "perfkit": {
            "schema": SCHEMA,
            "session": {
                "id": session, "started": None, "command": "perfkit import-trtllm-bench",
                "seed": None, "device": "cuda", "matrices": [], "rounds": None, "max_warmup": None,
                "warnings": [], "not_measured": [],
            },
            "machine": {
                "key": MACHINE_KEY,
                "name": f"imported from trtllm-bench {report.text('engine', 'version')}",
                "fields": report.part("machine"),
            },
            "ceilings": None,
            "canaries": [],
            "cells": {case.id: cell},
        },
    }  # fmt: skip


def _case(report: Report) -> tuple[Case, list[str]]:
    """Return the cell that a report is of, and what was taken for granted in naming it."""
    _check_kind(report)
    batch, note = _batch(report)
    backend = report.text("engine", "backend")
    if backend not in _BACKENDS:
        raise UsageError(
            f"{report.where}: engine.backend is {backend!r}, expected one of {', '.join(_BACKENDS)}"
        )
    published = report.text("engine", "model")
    if not published:
        raise UsageError(f"{report.where} has no engine.model: expected a whole report or log")
    fields = {
        "backend": _BACKENDS[backend],
        "model": model_name(published),
        "precision": _precision(report),
        "attention": "fmha",
        "batch": batch,
        "prompt_len": _length(report, "avg_input_length", "isl_stats"),
        "new_tokens": _length(report, "avg_output_length", "osl_stats"),
        "tp": report.whole("world_info", "tp_size"),
    }
    return make_case(fields, report.where), [note]


def model_name(published: str) -> str:
    """Return our name of a Hugging Face model, local:NAME where its architecture is not ours."""
    for name, same in HF_MODELS.items():
        if published in same:
            return name
    return LOCAL + (re.sub(r"[^A-Za-z0-9._-]+", "--", published).strip("._-") or "unnamed")


def _check_kind(report: Report) -> None:
    """Refuse runs that no case describes, and a throughput that is not of output tokens."""
    where = report.where
    if (pipeline := report.optional("world_info", "pp_size") or 1) != 1:
        raise UsageError(f"{where}: pp_size is {pipeline:g}, expected 1: cells have tp alone")
    if report.part("decoding_stats"):
        raise UsageError(f"{where} has decoding_stats: speculative decoding has no cell")
    tokens = report.whole("request_info", "num_requests") * report.number(
        "request_info", "avg_output_length"
    )
    made = tokens * 1e3 / report.number("performance", "total_latency_ms")
    told = report.number("performance", "system_output_throughput_tok_s")
    if not math.isclose(told, made, rel_tol=_TOLERANCE):
        raise UsageError(
            f"{where} does not add up: output throughput {told:g} token/s, but requests x output "
            f"length / total latency is {made:g}: expected one run's whole report"
        )


def _batch(report: Report) -> tuple[int, str]:
    mean = report.optional("request_info", "avg_num_concurrent_requests")
    if mean is not None:
        return max(1, round(mean)), (
            f"batch is the mean number of concurrent requests, {mean:.4g}, rounded: a report does "
            "not hold --concurrency"
        )
    most = min(
        report.whole("request_info", "num_requests"), report.whole("world_info", "max_batch_size")
    )
    return most, (
        "batch is the most requests that could run at once, the smaller of their number and the "
        "largest batch: this log does not say how many did"
    )


def _length(report: Report, key: str, stats: str) -> int:
    """Return the one length of all prompts or outputs. Raises UsageError where they differ."""
    mean = report.number("request_info", key)
    spread = report.part("dataset", stats)
    ends = [
        positive(spread[end], f"{report.where}: dataset.{stats}.{end}")
        for end in ("minimum", "maximum")
        if spread.get(end) is not None
    ]
    if not mean.is_integer() or any(end != mean for end in ends):
        asked = f" ({ends[0]:g} to {ends[-1]:g} in the dataset)" if ends else ""
        raise UsageError(
            f"{report.where}: {key} is {mean:g}{asked}: mixed lengths have no cell; run it on "
            "requests of one length, as perfkit trtllm-bench CASE --dataset FILE writes them"
        )
    return int(mean)


def _precision(report: Report) -> str:
    quantised, dtype = report.text("engine", "quantization"), report.text("engine", "dtype")
    cache = report.text("engine", "kv_cache_dtype")
    if quantised not in _NOT_QUANTISED:
        ours = _QUANTISED.get(str(quantised))
        if ours not in PRECISIONS:
            known = [name for name, one in _QUANTISED.items() if one in PRECISIONS]
            raise UsageError(
                f"{report.where}: quantization {quantised!r} has no precision in perfkit; known: "
                f"{', '.join(known) or 'none'}"
            )
        return str(ours)
    if dtype not in _DTYPES:
        raise UsageError(
            f"{report.where}: dtype {dtype!r} has no precision in perfkit; known: "
            f"{', '.join(_DTYPES)}"
        )
    if cache not in _NOT_QUANTISED | {dtype}:
        raise UsageError(
            f"{report.where}: KV cache {cache!r} beside weights in {dtype} has no cell: ours have "
            "one precision"
        )
    return _DTYPES[dtype]


def _details(report: Report, case: Case, notes: list[str]) -> dict[str, Any]:
    absent = dict(_NOT_REPORTED)
    unknown = {"class": "unknown"}
    return {
        "metrics": dict.fromkeys(_NO_FIGURE) | _figures(report, case, absent),
        "quantiles": _quantiles(report, case, absent),
        "absent": absent,
        "agreement": unchecked(_UNSEEN).to_json(),
        "attention": {"requested": case.attention, "prefill": unknown, "decode": unknown},
        "imported": {
            "tool": "trtllm-bench",
            **{key: report.text("engine", key) for key in _KEPT},
            "requests": report.whole("request_info", "num_requests"),
            "world": report.part("world_info"),
            "notes": notes,
        },
    }


def _figures(report: Report, case: Case, absent: dict[str, str]) -> dict[str, Any]:
    """Return what a report holds of our figures, in seconds and token/s."""
    figures: dict[str, Any] = {
        "output_tokens_per_s": report.number("performance", "system_output_throughput_tok_s")
    }
    keys = {
        "ttft_s": ("streaming_metrics", "avg_ttft_ms"),
        "tpot_s": ("streaming_metrics", "avg_tpot_ms"),
        "e2e_s": ("performance", "avg_request_latency_ms"),
    }
    for name, (part, key) in keys.items():
        if name == "tpot_s" and case.new_tokens == 1:
            figures[name], absent[name] = None, "undefined at one new token"
            continue
        found = report.optional(part, key)
        figures[name] = None if found is None else found / 1e3
        if found is None:
            absent[name] = _why_not(part, key)
    return figures


def _why_not(part: str, key: str) -> str:
    if part == "streaming_metrics":
        return "not in the report: it has streaming_metrics only with --streaming, or of latency"
    return f"not in the report: no {part}.{key}"


def _quantiles(report: Report, case: Case, absent: dict[str, str]) -> dict[str, Any]:
    """Return the report's percentiles in seconds, by its own rule, which is high where n is small.

    At n requests its p90 is the largest of up to 10, its p99 the largest of up to 100.
    """
    places = {
        "ttft_s": ("streaming_metrics", "ttft_percentiles"),
        "tpot_s": ("streaming_metrics", "tpot_percentiles"),
        "e2e_s": ("performance", "request_latency_percentiles_ms"),
    }
    found: dict[str, Any] = {"method": QUANTILE_METHOD, "itl_s": dict.fromkeys(_QUANTILES)}
    for name, keys in places.items():
        found[name] = dict.fromkeys(_QUANTILES)
        if name == "tpot_s" and case.new_tokens == 1:
            absent[f"quantiles.{name}"] = "undefined at one new token"
        elif not report.part(*keys):
            absent[f"quantiles.{name}"] = _why_not(*keys)
        else:
            held = {q: report.optional(*keys, q) for q in _QUANTILES}
            found[name] = {q: None if v is None else v / 1e3 for q, v in held.items()}
    return found


def _samples(report: Report, requests: object, where: str) -> dict[str, list[float]]:
    """Return each request's times in seconds.

    That the file is of this run, and in ns, is checked: its mean latency is the report's.
    """
    if not isinstance(requests, list) or not all(isinstance(one, dict) for one in requests):
        raise UsageError(f"{where} is no request file: expected --request_json's list of objects")
    count = report.whole("request_info", "num_requests")
    if len(requests) != count:
        raise UsageError(
            f"{where} holds {len(requests)} requests, its report {count}: another run?"
        )
    e2e = _seconds(requests, "end_to_end_latency", where)
    here, told = sum(e2e) / count, report.number("performance", "avg_request_latency_ms") / 1e3
    if not math.isclose(here, told, rel_tol=_TOLERANCE):
        raise UsageError(
            f"{where}: mean latency, read as ns, is {here:g} s, in its report {told:g} s: another "
            "run?"
        )
    if report.optional("streaming_metrics", "avg_ttft_ms") is None:
        return {"e2e_s": e2e}  # without --streaming a first token's time is written as 0
    return {"e2e_s": e2e, "ttft_s": _seconds(requests, "time_to_first_token", where)}


def _seconds(requests: list[dict[str, Any]], key: str, where: str) -> list[float]:
    return [
        positive(one.get(key), f"{where}: {key} of request {number}") / _NS
        for number, one in enumerate(requests)
    ]
