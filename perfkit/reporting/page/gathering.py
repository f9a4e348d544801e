"""From the files and folders that a report is asked of to what can be shown of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError
from perfkit.results import store
from perfkit.results.gate import Judgement
from perfkit.results.record import SCHEMA, VERDICTS
from perfkit.results.store import section

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from perfkit.results.store import Document

_TEXTS = ("backend", "model", "precision", "attention")
_COUNTS = ("batch", "prompt_len", "new_tokens", "tp")
# Parts of a cell that are objects, where they are there.
_OBJECTS = (
    ("attention", "prefill"), ("attention", "decode"), ("ceilings",), ("memory", "forecast"),
    ("phases",), ("quantiles", "ttft_s"), ("quantiles", "e2e_s"), ("quantiles", "itl_s"),
    ("warmup",), ("profile", "phases"),
)  # fmt: skip
_NUMBERS = (("metrics",), ("memory", "forecast"), ("ceilings",), ("quantiles", "ttft_s"),
            ("quantiles", "e2e_s"), ("quantiles", "itl_s"))  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A document and the file it is of."""

    path: Path
    document: Document


@dataclass(frozen=True)
class Gate:
    """What ``perfkit gate`` wrote: its verdicts, and why runs could not be compared."""

    path: Path
    judgements: tuple[Judgement, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Gathered:
    """What can be shown, and a line for each file or cell that cannot; ``read`` are all files."""

    results: tuple[Found, ...]
    attention: tuple[Found, ...]
    gates: tuple[Gate, ...]
    problems: tuple[str, ...]
    read: tuple[Path, ...] = ()


def gather(paths: Sequence[Path]) -> Gathered:
    """Read result files, and those in folders; what cannot be shown becomes a line of problems."""
    results, attention, gates = [], [], []
    problems: list[str] = []
    read = tuple(store.json_files(paths, problems.append))
    for path in read:
        try:
            content = store.parse(path)
            if isinstance(content, dict) and "judgements" in content:
                gates.append(_gate(content, path))
            elif isinstance(content, dict) and "perfkit_attention" in content:
                attention.append(Found(path, _attention(content, path, problems.append)))
            elif isinstance(content, dict) and "perfkit_start" in content:
                problems.append(f"{path} holds starts of processes, which no section shows")
            elif isinstance(content, dict) and "perfkit" not in content and "benchmarks" in content:
                problems.append(f"{path} holds pytest-benchmark entries alone, no perfkit cells")
            else:
                document = store.checked(content, path)
                _machine(document, "perfkit", path)
                results.append(Found(path, _whole_cells(document, path, problems.append)))
        except UsageError as error:
            problems.append(str(error))
    return Gathered(tuple(results), tuple(attention), tuple(gates), tuple(problems), read)


def _gate(content: Mapping[str, Any], path: Path) -> Gate:
    if content.get("schema") not in {None, SCHEMA}:
        raise UsageError(f"{path} has schema {content['schema']!r}, expected {SCHEMA}")
    try:
        made = tuple(_judgement(told) for told in content["judgements"])
        problems = tuple(map(str, content.get("problems") or ()))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is damaged: its judgements cannot be read ({error})") from None
    return Gate(path, made, problems)


def _judgement(told: Mapping[str, Any]) -> Judgement:
    """Return a verdict as a gate wrote it. Raises TypeError or ValueError for what is none."""
    ends, counts = told.get("interval"), tuple(map(int, told.get("runs") or (0, 0)))
    if len(counts) != 2 or (ends and len(ends) != 2):
        raise ValueError("runs and interval have two ends each")
    if not all(isinstance(told.get(key), str) for key in ("cell", "metric", "verdict")):
        raise TypeError("cell, metric and verdict must be texts")
    made = Judgement(**{**told, "interval": tuple(ends) if ends else None, "runs": counts})
    for value in (made.change, made.detectable, made.p, *(made.interval or ())):
        _check_number(value)
    return made


def _attention(content: Any, path: Path, say: Callable[[str], None]) -> Document:
    from perfkit.attention.problem import Problem

    document = store.checked(content, path, "perfkit_attention")
    _machine(document, "perfkit_attention", path)
    good = {}
    for name, cell in document["perfkit_attention"]["cells"].items():
        try:
            Problem.parse(cell["problem"])
            _check_attention(cell)
        except (KeyError, TypeError, ValueError) as error:
            say(f"{path} is damaged: its cell {name} cannot be read ({error}) and is left out")
            continue
        good[name] = cell
    return document | {"perfkit_attention": document["perfkit_attention"] | {"cells": good}}


def _check_attention(cell: Mapping[str, Any]) -> None:
    """Raise what says how an attention cell is not as docs/results.md has it."""
    if not (isinstance(cell["provider"], str) and isinstance(cell["verdict"], str)):
        raise TypeError("provider and verdict must be texts")
    if cell["cache"] not in {"cold", "hot"}:
        raise ValueError(f"cache {cell['cache']!r}")
    for key in ("median_s", "flop_per_s", "kv_bytes_per_s", "share_of_ceiling"):
        _check_number(cell.get(key))


def _machine(document: Mapping[str, Any], block: str, path: Path) -> None:
    """Raise UsageError where what a whole file says of itself is not as it should be."""
    for part in ("matrices", "warnings", "not_measured"):
        if not isinstance(section(document, block, "session").get(part), list | None):
            raise UsageError(f"{path} is damaged: {part} of its session is no list")
    if not isinstance(document.get("commit_info"), dict | None):
        raise UsageError(f"{path} is damaged: its commit_info is no object")
    try:
        ceilings = section(document, block, "ceilings")
        for value in (
            *section(ceilings, "gemm_flop_per_s").values(),
            ceilings.get("copy_bytes_per_s"),
            ceilings.get("read_bytes_per_s"),
        ):
            _check_number(value)
    except (AttributeError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is damaged: its ceilings cannot be read ({error})") from None


def _whole_cells(document: Document, path: Path, say: Callable[[str], None]) -> Document:
    """Return the document with the cells alone that can be read."""
    good = {}
    for name, cell in document["perfkit"]["cells"].items():
        try:
            _check(cell)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            say(f"{path} is damaged: its cell {name} cannot be read ({error}) and is left out")
            continue
        good[name] = cell
    return document | {"perfkit": document["perfkit"] | {"cells": good}}


def _check(cell: Mapping[str, Any]) -> None:
    """Raise what says how a cell is not as docs/results.md has it."""
    _check_case(cell["case"])
    if cell.get("verdict") not in VERDICTS:
        raise ValueError(f"unknown verdict {cell.get('verdict')!r}")
    if not isinstance(cell.get("session"), str | None):
        raise TypeError(f"session is {cell['session']!r}, expected a text")
    for keys in _OBJECTS:
        section(cell, *keys)
    for phase in ("prefill", "decode"):
        ran = section(cell, "attention", phase)
        if not isinstance(ran.get("class"), str | None):
            raise TypeError(f"the attention class of {phase} is no text")
        if not isinstance(ran.get("attention_kernels"), dict | None):
            raise TypeError(f"the attention kernels of {phase} are no object")
    for value in _numbers(cell):
        _check_number(value)
    for value in _readings(cell):
        if value is None:
            raise TypeError("null among samples or readings")
        _check_number(value)


def _check_case(case: Mapping[str, Any]) -> None:
    for key in _TEXTS:
        if not isinstance(case[key], str):
            raise TypeError(f"{key} is {case[key]!r}, expected a text")
    for key in _COUNTS:
        if not isinstance(case[key], int) or case[key] < 1:
            raise TypeError(f"{key} is {case[key]!r}, expected a count")


def _numbers(cell: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what must be a number, or null for none."""
    for keys in _NUMBERS:
        yield from (value for key, value in section(cell, *keys).items() if key != "method")
    for phase in section(cell, "profile", "phases").values():
        yield from (phase["window_s"], phase["busy_s"], *phase["classes"].values())
    telemetry = section(cell, "telemetry")
    yield from (telemetry.get(key) for key in ("temperature_c_max", "cpu_wait_share"))
    yield from (telemetry.get("throttle_bits"), cell.get("attempt"))


def _readings(cell: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what must be a number: each sample and each reading of a clock or meter."""
    for name, values in section(cell, "samples").items():
        yield from chain.from_iterable(values) if name == "itl_s" else values
    telemetry = section(cell, "telemetry")
    for key in ("sm_clock_mhz", "power_w"):
        yield from telemetry.get(key) or ()


def _check_number(value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{str(value)[:40]!r} is no number")
    try:
        finite = math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        finite = False
    if not finite:
        raise ValueError("a number is not finite")
