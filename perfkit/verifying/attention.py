"""An attention cell's figures from the data of its entry."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from perfkit.attention.problem import Problem
from perfkit.results.store import section

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.results.store import Document
    from perfkit.verifying.findings import Findings


def verify_attention(document: Document, found: Findings) -> None:
    """Compare every timed cell of an attention document with its entry's data."""
    block = document["perfkit_attention"]
    data = data_of(document)
    for name, cell in block["cells"].items():
        if cell.get("median_s") is None:
            if data.get(name) and cell.get("verdict") in {"ok", "unstable"}:
                found.differ(name, "median_s", None, "a number", "its entry has data")
            continue
        if cell.get("verdict") not in {"ok", "unstable"}:
            found.differ(name, "figures", "some", "none", f"its verdict is {cell.get('verdict')}")
        if not data.get(name):
            found.skipped[name] = "it has no samples"
            continue
        try:
            _cell(name, cell, data[name], section(block, "ceilings"), found)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            found.differ(name, "cell", "not readable", "numbers", str(error)[:200])


def data_of(document: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return the data of each entry that has some, by its cell; what is none is left out."""
    entries = document.get("benchmarks")
    found = {}
    for entry in entries if isinstance(entries, list) else []:
        stats = entry.get("stats") if isinstance(entry, dict) else None
        if isinstance(stats, dict) and isinstance(stats.get("data"), list):
            found[str(entry.get("param"))] = stats["data"]
    return found


def _cell(
    name: str, cell: Mapping[str, Any], data: list[float], ceilings: Mapping[str, Any],
    found: Findings,
) -> None:  # fmt: skip
    problem = Problem.parse(cell["problem"])
    found.compare(name, "id", name, f"{cell['provider']}/{problem.id}/{cell['cache']}")
    seconds = statistics.median(data)
    again = {
        "median_s": seconds,
        "rounds": len(data),
        "flop_per_s": problem.flops / seconds,
        "kv_bytes_per_s": problem.kv_bytes / seconds,
    }
    found.compare_all(name, cell, again)
    gemm = section(ceilings, "gemm_flop_per_s").get(problem.dtype)
    roof = ceilings.get("read_bytes_per_s") if problem.is_decode else gemm
    rate = again["kv_bytes_per_s"] if problem.is_decode else again["flop_per_s"]
    if roof:
        found.compare(name, "share_of_ceiling", cell["share_of_ceiling"], rate / roof)
