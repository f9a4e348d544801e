from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from perfkit.reporting import starts


def process(kind: str, torch_s: float, new_files: int = 0) -> dict[str, Any]:
    return {
        "kind": kind,
        "engine": {"fallback": "a CPU: plain torch" if kind == "cold" else None},
        "phases": {"import_torch": torch_s, "first_token": 2.0, "further_tokens": 1.0},
        "cache": {"files": 3, "new_files": new_files, "bytes": 10},
    }


def document() -> dict[str, Any]:
    one = {"first_token_s": 4.0, "imports_s": 2.0, "startup_s": 4.5, "ttft_s": 0.25}
    return {
        "case": "torch-compile/llama-tiny/fp32/fmha/b1/p8/n5/tp1",
        "machine": {"name": "A machine"},
        "datetime": "2026-11-27T10:00:00+00:00",
        "processes": [
            process("torch-eager", 1.0), process("cold", 2.0, new_files=3),
            process("warm", 1.0), process("warm", 4.0), process("warm", 3.0, new_files=1),
        ],
        "figures": {
            "torch-eager": one | {"tpot_s": 0.5}, "cold": one | {"tpot_s": 0.125},
            "warm": one | {"tpot_s": None},
        },
        "break_even": {
            "cold": {"tokens": 1200, "why": "starts later, and each token takes less"},
            "warm": {"tokens": None, "why": "one new token has no time per token"},
        },
    }  # fmt: skip


def test_a_row_a_phase_and_a_column_a_kind() -> None:
    stream = io.StringIO()
    Console(file=stream, width=100).print(starts.table(document()))
    rows = [line.split() for line in stream.getvalue().splitlines()]
    assert ["seconds,", "medians", "1", "started", "1", "started", "3", "started"] in rows
    assert ["import", "torch", "1.00", "2.00", "3.00"] in rows
    assert ["steady", "TPOT,", "ms", "500.00", "125.00", "–"] in rows


def test_the_lines_say_when_it_pays_and_what_was_not_on_disk() -> None:
    assert list(starts.lines(document())) == [
        "cold: level with torch-eager after 1,200 tokens: starts later, and each token takes less",
        "warm: level with torch-eager one new token has no time per token",
        "nothing like it runs here: a CPU: plain torch",
        "a warm start wrote 1 files: not all came from disk",
        "torch-compile/llama-tiny/fp32/fmha/b1/p8/n5/tp1 | A machine | 2026-11-27",
    ]


def test_a_line_a_process() -> None:
    assert starts.line(process("cold", 2.0)) == (
        "cold: first token 4.00 s after its process was started"
    )
