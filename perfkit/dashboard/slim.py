"""A result document without what the dashboard never shows: samples and long lists of kernels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError
from perfkit.reporting.frame import CASE_FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.results.store import Document

BLOCKS = ("perfkit", "perfkit_attention")
_WHOLE_NUMBERS = frozenset({"batch", "prompt_len", "new_tokens", "tp"})
_PHASES = ("prefill", "decode")
_OF_ATTENTION = ("median_s", "flop_per_s", "kv_bytes_per_s", "share_of_ceiling")


def slim(document: Mapping[str, Any], block: str) -> Document:
    """Return what tables and charts need of a document that ``store.checked`` let pass.

    Raises UsageError for one whose figures are no numbers, or whose cases lack a field.
    """
    told = document[block]
    cell_of = _cell if block == BLOCKS[0] else _attention_cell
    return {
        "datetime": str(document.get("datetime") or ""),
        "commit_info": _object(document, "commit_info"),
        block: {
            "schema": told["schema"],
            "synthetic": told.get("synthetic"),
            "session": _object(told, "session"),
            "machine": _object(told, "machine"),
            "cells": {str(name): cell_of(str(name), cell) for name, cell in told["cells"].items()},
        },
    }


def _object(holder: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = holder.get(key)
    if not isinstance(found, dict | None):
        raise UsageError(f"is damaged: its {key} is no object")
    return found or {}


def _cell(name: str, cell: Mapping[str, Any]) -> Document:
    attention, agreement = _object(cell, "attention"), _object(cell, "agreement")
    return {
        **_verdict(cell),
        "case": _case(name, _object(cell, "case")),
        "session": cell.get("session"),
        "metrics": _numbers(name, _object(cell, "metrics")),
        "agreement": {key: agreement.get(key) for key in ("status", "reason", "relative_l2")},
        "attention": {phase: _ran(_object(attention, phase)) for phase in _PHASES},
    }


def _attention_cell(name: str, cell: Mapping[str, Any]) -> Document:
    return {**_verdict(cell), **_numbers(name, {key: cell.get(key) for key in _OF_ATTENTION})}


def _verdict(cell: Mapping[str, Any]) -> Document:
    reason = cell.get("reason")
    return {"verdict": str(cell.get("verdict")), "reason": None if reason is None else str(reason)}


def _ran(phase: Mapping[str, Any]) -> Document:
    return {"class": phase.get("class"), "attention_kernels": _object(phase, "attention_kernels")}


def _case(name: str, case: Mapping[str, Any]) -> Document:
    for key in CASE_FIELDS:
        wanted = int if key in _WHOLE_NUMBERS else str
        if not isinstance(case.get(key), wanted):
            raise UsageError(
                f"is damaged: {key} of the case of its cell {name} is no {_of(wanted)}"
            )
    return dict(case)


def _of(kind: type) -> str:
    return "whole number" if kind is int else "text"


def _numbers(name: str, figures: Mapping[str, Any]) -> Document:
    for key, value in figures.items():
        if value is None:
            continue
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise UsageError(f"is damaged: {key} of its cell {name} is no finite number")
    return dict(figures)
