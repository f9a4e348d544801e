"""PyTorch beside TensorRT-LLM: throughput and latency of the workloads that both sides have."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError
from perfkit.reporting.latency import latency
from perfkit.reporting.scene import set_scene
from perfkit.reporting.throughput import throughput
from perfkit.results.record import DOUBTFUL
from perfkit.results.store import cells_of, section
from perfkit.results.validity import machine_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.figure import Figure

    from perfkit.results.store import Document

TORCH, TRT = "PyTorch", "TensorRT-LLM"
_BACKENDS = {"torch-": TORCH, "trtllm-": TRT}
# What two cells must have in common to stand side by side.
_WORKLOAD = ("model", "precision", "batch", "prompt_len", "new_tokens", "tp")


def side_of(cell: Mapping[str, Any]) -> str | None:
    """Return which side's backend a cell is of; None of another, and where it cannot run at all."""
    backend = str(section(cell, "case").get("backend"))
    if cell.get("verdict") == "unsupported":
        return None
    return next((side for head, side in _BACKENDS.items() if backend.startswith(head)), None)


def timed_sides(documents: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the sides of which any cell was timed."""
    return {
        side
        for document in documents
        for cell in cells_of(document).values()
        if (side := side_of(cell)) is not None
        and (cell.get("verdict") == "ok" or cell.get("verdict") in DOUBTFUL)
    }


def in_common(documents: Sequence[Document]) -> list[Document]:
    """Return the documents with the cells alone whose workload has a cell of either side.

    Raises UsageError where there is no such workload.
    """
    seen: dict[str, set[tuple[Any, ...]]] = {TORCH: set(), TRT: set()}
    for document in documents:
        for cell in cells_of(document).values():
            if (side := side_of(cell)) is not None:
                seen[side].add(_workload(cell))
    common = seen[TORCH] & seen[TRT]
    if not common:
        had = "; ".join(f"{side} has {_some(workloads)}" for side, workloads in seen.items())
        raise UsageError(f"no workload in common: {had}; measure the same on both sides")
    cut = [_with_cells(document, common) for document in documents]
    return [document for document in cut if cells_of(document)]


def figures(documents: Sequence[Document]) -> dict[str, Figure]:
    """Return both pictures by file stem, unsaved; they hold no ratio, and say whose machine.

    Raises UsageError as ``in_common`` does.
    """
    kept = in_common(documents)
    scene = set_scene(kept)
    left_out = sum(len(cells_of(one)) for one in documents) - sum(len(cells_of(k)) for k in kept)
    notes = [
        "different machines: do not read a ratio" if len({*map(machine_key, kept)}) > 1 else "",
        f"{left_out} cells without a counterpart left out" if left_out else "",
    ]
    about = "\n".join(part for part in (scene.about, "  |  ".join(filter(None, notes))) if part)
    scene = replace(scene, about=about)
    sides = f"{TORCH} against {TRT}"
    return {
        "trt_tokens_per_sec": throughput(scene, f"Output throughput, {sides}"),
        "trt_latency_cdf": latency(scene, f"Latency distribution, {sides}"),
    }


def _workload(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    case = section(cell, "case")
    return tuple(case.get(key) for key in _WORKLOAD)


def _with_cells(document: Document, workloads: set[tuple[Any, ...]]) -> Document:
    cells = {
        name: cell
        for name, cell in cells_of(document).items()
        if side_of(cell) is not None and _workload(cell) in workloads
    }
    return document | {"perfkit": document["perfkit"] | {"cells": cells}}


def _some(workloads: Iterable[tuple[Any, ...]]) -> str:
    words = sorted("{} {} b{} p{} n{} tp{}".format(*(part for part in one)) for one in workloads)
    return ", ".join(words[:2]) + (f" and {len(words) - 2} more" if len(words) > 2 else "")
