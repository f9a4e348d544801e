"""The table people read in a terminal, and the one line above it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from perfkit.reporting.mark import MARK_STYLE, mark_of
from perfkit.results.record import BROKEN, DOUBTFUL
from perfkit.results.store import cells_of, section

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

    from perfkit.results.store import Document

DASH = "–"  # noqa: RUF001
GIB = 2**30
# The best statement of what the cell took from the device that was recorded, best first.
PEAKS = ("peak_device_bytes", "peak_allocated_bytes", "peak_rss_bytes")
_SHAPE = ("model", "precision", "batch", "prompt_len", "new_tokens", "tp")
_HEADERS = (
    "TTFT\nms", "TPOT\nms", "E2E\nms", "output\ntok/s", "MFU\n%", "MBU\n%", "peak\nGiB",
    "attn\nran", "rel\nL2", "vs\nref",
)  # fmt: skip


def ratio(row_cell: Mapping[str, Any], reference_cell: Mapping[str, Any] | None) -> float | None:
    """Return output throughput over the reference arm's, or None where it must not be shown.

    Both cells need the verdict ``ok`` and logits that agree with the reference: a speed-up of
    something that computes another thing, or was timed badly, is no speed-up. Both must come from
    one session: between two, the host may have been another, or busier.
    Formula: output_tokens_per_s / output_tokens_per_s of the reference arm.
    """
    if reference_cell is None or not (_comparable(row_cell) and _comparable(reference_cell)):
        return None
    if row_cell.get("session") != reference_cell.get("session"):
        return None
    mine = section(row_cell, "metrics").get("output_tokens_per_s")
    theirs = section(reference_cell, "metrics").get("output_tokens_per_s")
    return float(mine / theirs) if mine is not None and theirs else None


def _comparable(cell: Mapping[str, Any]) -> bool:
    return cell.get("verdict") == "ok" and section(cell, "agreement").get("status") == "agrees"


def reference_arm(
    cell: Mapping[str, Any], cells: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """Return the torch-eager nofmha cell of the same model, precision, shape and tp, if any."""
    return reference_arms(cells).get(shape_of(cell))


def reference_arms(
    cells: Mapping[str, Mapping[str, Any]],
) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    """Return the torch-eager nofmha cells by their ``shape_of``."""
    found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for cell in cells.values():
        case = section(cell, "case")
        if (case.get("backend"), case.get("attention")) == ("torch-eager", "nofmha"):
            found.setdefault(shape_of(cell), cell)
    return found


def shape_of(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what a cell must have in common with its reference arm."""
    case = section(cell, "case")
    return tuple(case.get(key) for key in _SHAPE)


def peak(cell: Mapping[str, Any]) -> tuple[str, float] | None:
    """Return the name and value, in bytes, of the best peak memory recorded, or None."""
    metrics = section(cell, "metrics")
    return next(((key, metrics[key]) for key in PEAKS if metrics.get(key) is not None), None)


def gib(size: float) -> str:
    """Print GiB with one decimal, and two digits of what is under 1 GiB."""
    return f"{size:,.1f}" if abs(size) >= 1 else f"{size:.2g}"


def short_id(name: str) -> str:
    """Return a cell id without the tensor-parallel size when that is 1."""
    return name.removesuffix("/tp1")


def results_table(document: Mapping[str, Any]) -> Table:
    """Return a row per cell, none left out; a figure that is null is a dash.

    What is synthetic says so in its title, and has no ratio.
    """
    from rich import box
    from rich.table import Table

    mark = mark_of([document])
    table = Table(
        box=box.SIMPLE_HEAD, padding=0, show_edge=False, title=mark, title_style=MARK_STYLE,
        title_justify="left",
    )  # fmt: skip
    table.add_column("cell\nreason", overflow="fold")
    table.add_column("verdict\n", no_wrap=True)
    for header in _HEADERS:
        table.add_column(header, justify="right", no_wrap=True)
    cells = cells_of(document)
    for name, cell in cells.items():
        against = None if mark else ratio(cell, reference_arm(cell, cells))
        figures = _figures(cell, against)
        table.add_row(named(name, cell), verdict_words(cell), *figures)
    return table


def _figures(cell: Mapping[str, Any], against: float | None) -> list[str]:
    metrics = section(cell, "metrics")
    taken = peak(cell)
    return [
        _number(metrics.get("ttft_s"), 1e3),
        _number(metrics.get("tpot_s"), 1e3),
        _number(metrics.get("e2e_s"), 1e3),
        _number(metrics.get("output_tokens_per_s")),
        _number(metrics.get("mfu"), 100, "{:.1f}"),
        _number(metrics.get("mbu"), 100, "{:.1f}"),
        _number(taken[1] if taken else None, 1 / GIB, "{:.1f}"),
        _kernels(cell),
        _small(section(cell, "agreement").get("relative_l2")),
        _number(against, 1, "{:.2f}"),
    ]


def _number(value: float | None, scale: float = 1.0, form: str | None = None) -> str:
    """Print ``value * scale``: four digits when small, whole above 1000; a dash for null."""
    if value is None:
        return DASH
    scaled = value * scale
    if form is None:
        form = next((f for top, f in _FORMS if abs(scaled) < top), "{}")
    return form.format(scaled)


_FORMS = ((10, "{:.3f}"), (100, "{:.2f}"), (1000, "{:.1f}"), (float("inf"), "{:.0f}"))


def _small(value: float | None) -> str:
    """Print in scientific form with no padding in the exponent, as 3.1e-3."""
    if value is None:
        return DASH
    if value == 0:
        return "0"
    digits, sign, exponent = f"{value:.1e}".partition("e")
    return f"{digits}{sign}{int(exponent)}" if sign else digits


def _kernels(cell: Mapping[str, Any]) -> str:
    """Print the attention kernel classes that ran: one when both phases ran the same."""
    prefill = section(cell, "attention", "prefill").get("class")
    decode = section(cell, "attention", "decode").get("class")
    if prefill == decode:
        return prefill or DASH
    return f"{prefill or DASH}/\n{decode or DASH}"


def named(name: str, cell: Mapping[str, Any]) -> Text:
    """Return a cell's short id, and under it why there is anything to say of its verdict."""
    from rich.text import Text

    text = Text(short_id(name))
    if cell.get("verdict") != "ok":
        text.append(f"\n  {cell.get('reason') or 'no reason recorded'}", style="dim italic")
    return text


def verdict_words(cell: Mapping[str, Any]) -> Text:
    """Return a cell's verdict in the colour of its kind."""
    from rich.text import Text

    verdict = str(cell.get("verdict") or "unknown")
    style = "yellow"
    if verdict == "ok":
        style = "green"
    elif verdict in BROKEN:
        style = "bold red"
    elif verdict in DOUBTFUL:
        style = "magenta"
    return Text(verdict.replace("_", "\n"), style=style)


def markdown_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table; what would end a cell becomes a slash."""
    lines = [f"| {' | '.join(headers)} |", f"|{'---|' * len(headers)}"]
    return lines + [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]


def console_of(width: int) -> Console:
    """Return a console as wide as the terminal, or ``width`` columns where there is none."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=width)


def show(table: RenderableType, document: Document, width: int = 140) -> None:
    """Print a document's table, and under it what it was measured on."""
    console = console_of(width)
    console.print(table)
    console.print(headline(document), highlight=False, soft_wrap=True)


def headline(document: Mapping[str, Any]) -> str:
    """Return one line: machine, date, and the ceilings in TFLOP/s and GB/s (powers of ten).

    Of a synthetic document its mark comes first.
    """
    mark = mark_of([document])
    parts = (machine_name(document), date_of(document), _ceilings(document))
    return " | ".join(((mark,) if mark else ()) + parts)


def machine_name(document: Mapping[str, Any]) -> str:
    """Return the machine's name, its key where it has none."""
    machine = section(document, "perfkit", "machine")
    return str(machine.get("name") or machine.get("key") or "unknown machine")


def date_of(document: Mapping[str, Any]) -> str:
    """Return the day of the document as YYYY-MM-DD."""
    started = section(document, "perfkit", "session").get("started")
    day = str(document.get("datetime") or started or "")[:10]
    return day or "unknown date"


def _ceilings(document: Mapping[str, Any]) -> str:
    ceilings = section(document, "perfkit", "ceilings")
    if not ceilings:
        return _ceilings_of_cells(document)
    if ceilings.get("verdict") != "ok":
        reasons = "; ".join(ceilings.get("reasons") or []) or "no reason recorded"
        return f"ceilings INVALID: {reasons}"
    gemm = section(ceilings, "gemm_flop_per_s")
    parts = [
        f"GEMM {name} {_number(value, 1e-12)} TFLOP/s"
        for name, value in gemm.items()
        if value is not None
    ]
    for name in ("copy", "read"):
        value = ceilings.get(f"{name}_bytes_per_s")
        parts.append(f"{name} {DASH if value is None else f'{value / 1e9:,.0f}'} GB/s")
    return "ceilings: " + ", ".join(parts)


def _ceilings_of_cells(document: Mapping[str, Any]) -> str:
    """Tell the ranges over the cells' own ceilings, as a sweep's many processes measured them."""
    gemm: dict[str, list[float]] = {}
    moved: dict[str, list[float]] = {}
    for cell in cells_of(document).values():
        mine, precision = section(cell, "ceilings"), section(cell, "case").get("precision")
        if mine.get("gemm_flop_per_s"):
            gemm.setdefault(f"GEMM {precision}", []).append(mine["gemm_flop_per_s"] * 1e-12)
        for name in ("copy", "read"):
            if mine.get(f"{name}_bytes_per_s"):
                moved.setdefault(name, []).append(mine[f"{name}_bytes_per_s"] * 1e-9)
    if not gemm and not moved:
        return "ceilings not measured"
    parts = [f"{name} {_range(rates, _number)} TFLOP/s" for name, rates in gemm.items()]
    parts += [f"{name} {_range(rates, '{:,.0f}'.format)} GB/s" for name, rates in moved.items()]
    return f"ceilings: {', '.join(parts)}"


def _range(values: Sequence[float], form: Callable[[float], str]) -> str:
    least, most = form(min(values)), form(max(values))
    return least if least == most else f"{least} to {most}"
