"""What TensorRT-LLM's log says: memory, the KV pool, fused attention that was not used."""

from __future__ import annotations

import re

_BYTES = {"B": 1, "KB": 2**10, "KiB": 2**10, "MB": 2**20, "MiB": 2**20, "GB": 2**30, "GiB": 2**30}
_SIZE = r"([\d.]+) ([KMG]?i?B)"
_WEIGHTS = re.compile(rf"Loaded engine size: {_SIZE}")
_WORKSPACE = re.compile(rf"Allocated {_SIZE} for execution context memory")
_BUFFERS = re.compile(rf"Allocated {_SIZE} GPU memory for (?:runtime buffers|decoder)")
_KV = re.compile(rf"Allocated {_SIZE} for max tokens in paged KV cache \((\d+)\)")
_FINAL_KV = re.compile(rf"Final KV cache size after resize: {_SIZE}")
_FELL_BACK = re.compile(r"Fall ?back to unfused MHA[^\n]*", re.IGNORECASE)
_MISMATCH = re.compile(
    r"Version tag does not match[^\n]*|expecting library version [^\n]*"
    r"|[^\n]*generated on an incompatible device[^\n]*"
)


def memory(log: str, ranks: int) -> dict[str, object]:
    """Return weights, workspace and KV of all ranks in bytes; a text says why one is missing.

    The log is that of one load. Each rank prints a line of its own: sizes add up over ``ranks``,
    and with fewer lines than ranks the sum is not known.
    """
    workspace = _all(_WORKSPACE, log, ranks, "workspace")
    if isinstance(workspace, int):
        workspace += sum(_sizes(_BUFFERS, log))
    last = _FINAL_KV if _FINAL_KV.search(log) else _KV
    tokens = kv_tokens(log)
    return {
        "weights_bytes": _all(_WEIGHTS, log, ranks, "engine"),
        "workspace_bytes": workspace,
        "kv_bytes": _all(last, log, ranks, "KV pool"),
        "kv_tokens": "the log names no KV pool" if tokens is None else tokens,
    }


def _all(line: re.Pattern[str], log: str, ranks: int, what: str) -> int | str:
    """Return the sum of the last line of each rank, or why there is none."""
    sizes = _sizes(line, log)
    if not sizes:
        return f"the log names no {what}"
    if len(sizes) < ranks:
        return f"the log names the {what} of {len(sizes)} of {ranks} ranks"
    return sum(sizes[-ranks:])


def kv_tokens(log: str) -> int | None:
    """Return how many tokens the last KV pool holds."""
    pools = _KV.findall(log)
    return int(pools[-1][2]) if pools else None


def fell_back(log: str) -> str | None:
    """Return the line that says fused attention was not used, or None."""
    found = _FELL_BACK.search(log)
    return found[0].strip() if found else None


def failure(log: str) -> str | None:
    """Return the line that tells why a process ended, of TensorRT-LLM's or MPI's, or None.

    The last lines of an abort name no cause.
    """
    lines = [line.strip()[:200] for line in log.splitlines()]
    for words in (("out of memory",), ("[ERROR]", "[E] "), ("Error:", "terminate called")):
        found = [line for line in lines if any(word in line for word in words)]
        if found:
            return found[-1]
    return None


def mismatch(log: str) -> str | None:
    """Return the line that says an engine was built for another version or GPU, or None."""
    found = _MISMATCH.search(log)
    return found[0].strip() if found else None


def _sizes(line: re.Pattern[str], log: str) -> list[int]:
    return [round(float(match[1]) * _BYTES[match[2]]) for match in line.finditer(log)]
