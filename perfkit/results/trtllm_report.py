"""A report of ``trtllm-bench``: the JSON of --report_json (1.x), or the tables that end its log.

Before 1.x there is only the log; labels from 0.12 on are known. Both become one ``Report``.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from perfkit.errors import UsageError

_PARTS = ("engine", "world_info", "request_info", "performance")
# The first table of a report, and so which backend ran.
_BACKENDS = {"ENGINE DETAILS": "TRT", "PYTORCH BACKEND": "Pytorch"}
_TABLE = re.compile(r"^= (ENGINE DETAILS|PYTORCH BACKEND)\s*$", re.MULTILINE)
_ROW = re.compile(r"^(?P<label>[A-Za-z][^:\n]*?)\s*:[ \t]*(?P<value>[^\n]*?)\s*$", re.MULTILINE)
# Where each label's value stands in a report, and how many of the report's unit one of it is; a
# scale of None is text.
_LABELS: dict[str, tuple[tuple[str, str], float | None]] = {
    "Model": (("engine", "model"), None),
    "TensorRT-LLM Version": (("engine", "version"), None),
    "TensorRT LLM Version": (("engine", "version"), None),
    "Dtype": (("engine", "dtype"), None),
    "KV Cache Dtype": (("engine", "kv_cache_dtype"), None),
    "Quantization": (("engine", "quantization"), None),
    "TP Size": (("world_info", "tp_size"), 1),
    "PP Size": (("world_info", "pp_size"), 1),
    "Max Runtime Batch Size": (("world_info", "max_batch_size"), 1),
    "Max Runtime Tokens": (("world_info", "max_num_tokens"), 1),
    "Number of requests": (("request_info", "num_requests"), 1),
    "Number of concurrent requests": (("request_info", "avg_num_concurrent_requests"), 1),
    "Average Input Length (tokens)": (("request_info", "avg_input_length"), 1),
    "Average Output Length (tokens)": (("request_info", "avg_output_length"), 1),
    # Up to 0.17 these are output tokens alone.
    "Token Throughput (tokens/sec)": (("performance", "system_output_throughput_tok_s"), 1),
    "Total Output Throughput (tokens/sec)": (("performance", "system_output_throughput_tok_s"), 1),
    "Total Latency (seconds)": (("performance", "total_latency_ms"), 1e3),
    "Total Latency (ms)": (("performance", "total_latency_ms"), 1),
    "Average request latency (ms)": (("performance", "avg_request_latency_ms"), 1),
    "Average time-to-first-token (ms)": (("streaming_metrics", "avg_ttft_ms"), 1),
    "Average time-to-first-token [TTFT] (ms)": (("streaming_metrics", "avg_ttft_ms"), 1),
    "Average inter-token latency (ms)": (("streaming_metrics", "avg_tpot_ms"), 1),
    "Average time-per-output-token [TPOT] (ms)": (("streaming_metrics", "avg_tpot_ms"), 1),
}


@dataclass(frozen=True)
class Report:
    """A report of one run; ``where`` is its file, with which what is wrong of it begins.

    Raises UsageError from every reading that finds another kind of value.
    """

    content: dict[str, Any]
    where: str

    def part(self, *keys: str) -> dict[str, Any]:
        """Return the mapping under ``keys``, empty where there is none."""
        found: Any = self.content
        for depth, key in enumerate(keys, start=1):
            found = found.get(key)
            if found is None:
                return {}
            if not isinstance(found, dict):
                name = ".".join(keys[:depth])
                raise UsageError(f"{self.where}: {name} is {found!r}, expected an object")
        return dict(found)

    def text(self, part: str, key: str) -> str | None:
        """Return a text, None where there is none."""
        found = self.part(part).get(key)
        if isinstance(found, str | None):
            return found
        raise UsageError(f"{self.where}: {part}.{key} is {found!r}, expected a text")

    def number(self, part: str, key: str) -> float:
        """Return a number over 0, which must be there."""
        found = self.optional(part, key)
        if found is None:
            raise UsageError(f"{self.where} has no {part}.{key}: expected a whole report or log")
        return found

    def whole(self, part: str, key: str) -> int:
        """Return a whole number over 0, which must be there."""
        found = self.number(part, key)
        if not found.is_integer():
            raise UsageError(f"{self.where}: {part}.{key} is {found:g}, expected a whole number")
        return int(found)

    def optional(self, *keys: str) -> float | None:
        """Return a number over 0, None where there is none."""
        found = self.part(*keys[:-1]).get(keys[-1])
        return None if found is None else positive(found, f"{self.where}: {'.'.join(keys)}")


def positive(value: object, what: str) -> float:
    """Return a finite number over 0. Raises UsageError that begins with ``what`` for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{what} is {value!r}, expected a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and number > 0):
        raise UsageError(f"{what} is {number!r}, expected a finite number over 0")
    return number


def parse(text: str, where: str) -> Report:
    """Read a report's JSON, or a log by the labels of its tables.

    Raises UsageError, beginning with ``where``, for a text that is neither.
    """
    # A log's own lines may begin with a bracket: [TensorRT-LLM], or a date.
    if _TABLE.search(text) or not text.lstrip().startswith(("{", "[")):
        return Report(report_of_log(text, where), where)
    try:
        content = json.loads(text, parse_constant=str, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        if text.lstrip().startswith("["):
            return Report(report_of_log(text, where), where)  # which says what a log lacks
        raise UsageError(f"{where} is not JSON ({error}): expected trtllm-bench's report") from None
    holder = content if isinstance(content, dict) else {}
    missing = [part for part in _PARTS if not isinstance(holder.get(part), dict)]
    if missing:
        raise UsageError(
            f"{where} is no trtllm-bench report: it has no {', '.join(missing)}; expected the file "
            "that trtllm-bench wrote for --report_json"
        )
    return Report(holder, where)


def _finite(text: str) -> float | str:
    """Return a number; one that a result file could not hold stays text, as NaN and Infinity do."""
    number = float(text)
    return number if math.isfinite(number) else text


def report_of_log(text: str, where: str) -> dict[str, Any]:
    """Return what a log's last tables say, under the names and in the units of a report.

    Raises UsageError, beginning with ``where``, for a log without them and for what is no number.
    """
    tables = list(_TABLE.finditer(text))
    if not tables:
        raise UsageError(
            f"{where} is neither JSON nor a trtllm-bench log: expected a file of --report_json, or "
            "a log that ends in the tables ENGINE DETAILS, WORLD + RUNTIME INFORMATION, STATISTICS"
        )
    last = tables[-1]
    report: dict[str, Any] = {"engine": {"backend": _BACKENDS[last[1]]}}
    for row in _ROW.finditer(text, last.end()):
        if row["label"] in _LABELS:
            (part, key), scale = _LABELS[row["label"]]
            value = row["value"] if scale is None else _number(row, scale, where)
            report.setdefault(part, {})[key] = value
    return report


def _number(row: re.Match[str], scale: float, where: str) -> float | str:
    try:
        found = float(row["value"]) * scale
        return found if math.isfinite(found) else str(row["value"])
    except ValueError:
        raise UsageError(
            f"{where}: {row['label']} is {row['value']!r}, expected a number: is the log whole?"
        ) from None
