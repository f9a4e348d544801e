"""A result document without what the dashboard never shows: samples and long lists of kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError
from perfkit.reporting.frame import CASE_FIELDS
from perfkit.results.store import synthetic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.results.store import Document

BLOCKS = ("perfkit", "perfkit_attention")
_WHOLE_NUMBERS = frozenset({"batch", "prompt_len", "new_tokens", "tp"})
# What charts can still hold, in every unit that people read.
_MOST, _LARGEST = 2**31, 1e300
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
            "synthetic": synthetic(document),
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
        "agreement": {key: _text(agreement.get(key)) for key in ("status", "reason")},
        "attention": {phase: _ran(_object(attention, phase)) for phase in _PHASES},
    }


def _attention_cell(name: str, cell: Mapping[str, Any]) -> Document:
    return {**_verdict(cell), **_numbers(name, {key: cell.get(key) for key in _OF_ATTENTION})}


def _verdict(cell: Mapping[str, Any]) -> Document:
    return {"verdict": str(cell.get("verdict")), "reason": _text(cell.get("reason"))}


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _ran(phase: Mapping[str, Any]) -> Document:
    kernels = _object(phase, "attention_kernels")
    return {"class": _text(phase.get("class")), "attention_kernels": kernels}


def _case(name: str, case: Mapping[str, Any]) -> Document:
    for key in CASE_FIELDS:
        value, whole = case.get(key), key in _WHOLE_NUMBERS
        if not (_is_whole(value) if whole else isinstance(value, str)):
            wanted = "whole number from 1" if whole else "text"
            raise UsageError(f"is damaged: {key} of the case of its cell {name} is no {wanted}")
    return dict(case)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST


def _is_figure(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= _LARGEST  # false for NaN too


def _numbers(name: str, figures: Mapping[str, Any]) -> Document:
    for key, value in figures.items():
        if value is not None and not _is_figure(value):
            raise UsageError(f"is damaged: {key} of its cell {name} is no finite number")
    return dict(figures)
