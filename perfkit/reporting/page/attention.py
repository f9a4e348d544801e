"""Attention kernels in a report: rates over length, and every provider's verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.reporting import attention as report
from perfkit.reporting import charts
from perfkit.reporting.page.blocks import Section, Table, digits
from perfkit.reporting.tables import DASH, machine_name
from perfkit.results.store import section

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.reporting.chart_rows import Row
    from perfkit.reporting.page.gathering import Found
    from perfkit.reporting.page.pictures import Draw

_HEADERS = ("problem", "cache", "provider", "verdict", "median µs", "TFLOP/s", "K and V GB/s",
            "of ceiling %", "why")  # fmt: skip
_TEXTS = frozenset({"problem", "cache", "provider", "verdict", "why"})


def attention_section(found: Found, draw: Draw) -> Section:
    """Return the section of one file of benchmarks/test_attention.py."""
    document = found.document
    block = document["perfkit_attention"]
    cells = block["cells"].values()
    pictures = []
    if cells and report.has_picture(document):
        pictures = draw(
            f"Attention kernels on {_machine(block)}: TFLOP/s over length, 16,384 tokens in all",
            lambda: report.figure(document),
            lambda: charts.attention(_rows(document), report.COLOURS),
        )  # fmt: skip
    day = str(section(block, "session").get("started"))[:10]
    words = [
        f"{found.path.name}: {_machine(block)}, {day}.",
        "Device time of a call; every output was held against fp32 before it was timed.",
    ]
    table = Table("Every provider and problem", _HEADERS, [_line(cell) for cell in cells], _TEXTS)
    return Section("kernels", f"Attention kernels: {found.path.name}", words, pictures, [table])


def _machine(block: Mapping[str, object]) -> str:
    return machine_name({"perfkit": block})


def _rows(document: Mapping[str, object]) -> list[Row]:
    made = []
    for row in report.rows(document, "cold"):
        if not report.drawn(row):
            continue
        problem = row.problem
        mask = "causal, half the FLOPs counted" if problem.causal else "full"
        made += [
            {"panel": f"head_dim {problem.head_dim}, {mask}", "provider": name,
             "length": problem.q_len, "TFLOP/s": rate / 1e12, "verdict": row.cells[name]["verdict"]}
            for name in row.cells if (rate := row.rate(name)) is not None
        ]  # fmt: skip
    return made


def _line(cell: Mapping[str, object]) -> tuple[str, ...]:
    def number(key: str, scale: float) -> str:
        value = cell.get(key)
        return digits(value * scale) if isinstance(value, int | float) else DASH

    return (
        str(cell["problem"]), str(cell["cache"]), str(cell["provider"]), str(cell["verdict"]),
        number("median_s", 1e6), number("flop_per_s", 1e-12), number("kv_bytes_per_s", 1e-9),
        number("share_of_ceiling", 100), str(cell.get("reason") or ""),
    )  # fmt: skip
