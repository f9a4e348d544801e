"""The verdict table: every cell that any file asked for, the largest effect first."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from perfkit.reporting import charts, effects
from perfkit.reporting.chart_rows import effect_rows
from perfkit.reporting.gate import percent
from perfkit.reporting.page import words
from perfkit.reporting.page.blocks import Section, Table, digits
from perfkit.reporting.pooled import REFERENCE, rows
from perfkit.reporting.tables import DASH, GIB, gib, short_id
from perfkit.results.ablation import class_of
from perfkit.results.record import VERDICTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.reporting.page.gathering import Found
    from perfkit.reporting.page.pictures import Draw
    from perfkit.reporting.pooled import Figure, Row

_FIGURES = (
    ("ttft_s", "TTFT ms", 1e3), ("tpot_s", "TPOT ms", 1e3), ("e2e_s", "E2E ms", 1e3),
    ("output_tokens_per_s", "output tok/s", 1.0), ("mfu", "MFU %", 100.0), ("mbu", "MBU %", 100.0),
)  # fmt: skip
_EFFECT = ("effect on tok/s", "95 % over runs", "runs")
_TEXTS = frozenset({"machine", "commit", "cell", "verdict", "why", "attention ran"})


def verdict_section(found: Sequence[Found], draw: Draw, *, across: str) -> Section:
    """Return the table of verdicts, and how many there are of each."""
    made = rows(one.document for one in found)
    counts = Counter(row.verdict if row.verdict in VERDICTS else "mixed over runs" for row in made)
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    drawn = effects.shown(made)
    pictures = draw(
        "Effect of each cell on output throughput, the largest first, with intervals over runs",
        lambda: effects.figure(made), lambda: charts.effects(effect_rows(drawn)),
    )  # fmt: skip
    have = sum(row.effect is not None for row in made)
    cut = f"The picture shows the {len(drawn)} largest of {have} effects."
    said = [
        f"{len(made)} cells: {told or 'none'}.", words.VERDICTS,
        words.OVER_RUNS if any(row.runs > 1 for row in made) else words.ONE_RUN, across,
        cut if have > len(drawn) else "",
    ]  # fmt: skip
    return Section("verdicts", "Verdicts", [one for one in said if one], pictures, [_table(made)])


def _table(made: Sequence[Row]) -> Table:
    machines = len({row.group.key for row in made}) > 1
    commits = len({row.group.commit for row in made}) > 1
    head = (["machine"] if machines else []) + (["commit"] if commits else [])
    headers = (
        *head, "cell", "verdict", *_EFFECT, *(name for _, name, _ in _FIGURES), "spread %",
        "peak GiB", "attention ran", "why",
    )  # fmt: skip
    lines = [
        ((row.group.machine,) if machines else ())
        + ((row.group.commit,) if commits else ())
        + _line(row)
        for row in made
    ]
    return Table("Every cell", headers, lines, _TEXTS, folded=False)


def _line(row: Row) -> tuple[str, ...]:
    change = row.effect
    ends = change.interval if change else None
    return (
        short_id(row.cell),
        row.verdict,
        "reference" if row.no_effect == REFERENCE else percent(change.value if change else None),
        f"{percent(ends[0])} to {percent(ends[1])}" if ends else DASH,
        str(row.runs)
        if change is None or change.runs == row.runs
        else f"{row.runs}, effect {change.runs}",
        *(_figure(row.figures.get(name), scale) for name, _, scale in _FIGURES),
        DASH if row.spread is None else f"{100 * row.spread:.1f}",
        DASH if row.peak_bytes is None else gib(row.peak_bytes / GIB),
        _kernels(row),
        row.reason or (row.no_effect if row.runs else ""),
    )


def _figure(figure: Figure | None, scale: float) -> str:
    if figure is None:
        return DASH
    value = digits(figure.value * scale)
    if figure.interval is None:
        return value
    low, high = (digits(end * scale) for end in figure.interval)
    return f"{value}\n{low} to {high}"


def _kernels(row: Row) -> str:
    ran = [class_of(row.body, phase) for phase in ("prefill", "decode")]
    return " / ".join(dict.fromkeys(str(one) for one in ran if one)) or DASH
