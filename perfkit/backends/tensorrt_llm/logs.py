"""What TensorRT-LLM's log says: memory, the KV pool, fused attention that was not used."""

from __future__ import annotations

import re

_BYTES = {"B": 1, "KB": 2**10, "KiB": 2**10, "MB": 2**20, "MiB": 2**20, "GB": 2**30, "GiB": 2**30}
_SIZE = r"([\d.]+) ([KMG]?i?B)"
_WEIGHTS = (
    re.compile(rf"Loaded engine size: {_SIZE}"),
    re.compile(rf"Memory usage when loading weights: {_SIZE}"),
)
_WORKSPACE = re.compile(rf"Allocated {_SIZE} for execution context memory")
_BUFFERS = re.compile(rf"Allocated {_SIZE} GPU memory for (?:runtime buffers|decoder)")
_KV = re.compile(rf"Allocated {_SIZE} for max tokens in paged KV cache \((\d+)\)")
_KV_FINAL = re.compile(rf"Final KV cache size after resize: {_SIZE}")
_FELL_BACK = re.compile(r"Fall ?back to unfused MHA[^\n]*", re.IGNORECASE)
_MISMATCH = re.compile(
    r"Version tag does not match[^\n]*|expecting library version [^\n]*"
    r"|[^\n]*generated on an incompatible device[^\n]*"
)


def memory(log: str, ranks: int) -> dict[str, object]:
    """Return weights, workspace and KV of all ranks in bytes; a text says why one is missing.

    The worker's ranks print alike, one line each: sizes add up over ``ranks``.
    """
    weights = next((sizes for line in _WEIGHTS if (sizes := _sizes(line, log))), [])
    workspace = _sizes(_WORKSPACE, log)[-ranks:] + _sizes(_BUFFERS, log)
    kv = _sizes(_KV_FINAL, log)[-ranks:] or _sizes(_KV, log)[-ranks:]
    return {
        "weights_bytes": sum(weights[-ranks:]) or "the log names no size of the weights",
        "workspace_bytes": sum(workspace) or "the log names no workspace",
        "kv_bytes": sum(kv) or "the log names no KV pool",
        "kv_tokens": kv_tokens(log) or "the log names no KV pool",
    }


def kv_tokens(log: str) -> int | None:
    """Return how many tokens the last KV pool holds."""
    pools = _KV.findall(log)
    return int(pools[-1][2]) if pools else None


def fell_back(log: str) -> str | None:
    """Return the line that says fused attention was not used, or None."""
    found = _FELL_BACK.search(log)
    return found[0].strip() if found else None


def mismatch(log: str) -> str | None:
    """Return the line that says an engine was built for another version or GPU, or None."""
    found = _MISMATCH.search(log)
    return found[0].strip() if found else None


def _sizes(line: re.Pattern[str], log: str) -> list[int]:
    return [round(float(match[1]) * _BYTES[match[2]]) for match in line.finditer(log)]
