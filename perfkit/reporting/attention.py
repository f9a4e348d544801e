"""The attention benchmark as people read it: a table of rates, and attention_tflops.png."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit.attention.problem import Problem
from perfkit.attention.registry import NAMES, OURS
from perfkit.errors import UsageError
from perfkit.reporting.drawing import INK, legend_below, tidy
from perfkit.reporting.mark import MARK_STYLE, mark_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.table import Table

_TFLOP, _GB = 1e12, 1e9
_SHORT = {"flashinfer-fa3": "fa3", "triton-hopper": "hopper", "triton-decode": "decode"}
# Okabe and Ito's palette, told apart with any kind of colour vision; ours are the warm ones.
COLOURS = {
    "triton-hopper": "#D55E00",
    "triton": "#E69F00",
    "torch-cudnn": "#0072B2",
    "torch-flash": "#56B4E9",
    "torch-efficient": "#999999",
    "flex": "#CC79A7",
    "trtllm-fmha": "#009E73",
    "flashinfer-fa3": "#000000",
}


@dataclass(frozen=True)
class Row:
    """One problem in one cache state: each provider's cell, as the JSON has it."""

    problem: Problem
    cells: Mapping[str, Mapping[str, Any]]

    def rate(self, provider: str) -> float | None:
        """FLOP/s of a prompt, bytes/s of K and V in decode; None where not timed."""
        name = "kv_bytes_per_s" if self.problem.is_decode else "flop_per_s"
        value: float | None = self.cells.get(provider, {}).get(name)
        return value

    def best(self, providers: Iterable[str]) -> tuple[str, float] | None:
        """Return the fastest of these providers and its rate."""
        timed = [(rate, name) for name in providers if (rate := self.rate(name)) is not None]
        if not timed:
            return None
        rate, name = max(timed)
        return name, rate

    @property
    def ratio(self) -> float | None:
        """Our best kernel's rate over the best peer's; only outputs that agree were timed."""
        ours = self.best(OURS)
        peer = self.best(name for name in self.cells if name not in OURS)
        return ours[1] / peer[1] if ours and peer else None


def rows(document: Mapping[str, Any], cache: str) -> list[Row]:
    """Return the problems of a result document in one cache state ("cold" or "hot"), in order.

    Raises UsageError when the document holds no attention cells.
    """
    block = document.get("perfkit_attention")
    if not isinstance(block, dict) or not block.get("cells"):
        raise UsageError("no attention cells: make some with pytest benchmarks/test_attention.py")
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for cell in block["cells"].values():
        if cell["cache"] == cache:
            found.setdefault(cell["problem"], {})[cell["provider"]] = cell
    return [Row(Problem.parse(text), cells) for text, cells in found.items()]


def geometric_mean(values: Iterable[float]) -> float | None:
    """Return the geometric mean, None of nothing."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else None


def has_speed(document: Mapping[str, Any]) -> bool:
    """Say whether something was timed: the interpreter has no speed."""
    return any(row.rate(name) for row in rows(document, "cold") for name in row.cells)


def tables(document: Mapping[str, Any]) -> list[Table]:
    """Return the tables: rates cold and hot; without speed, verdicts and errors.

    What is synthetic says so in each title.
    """
    made, mark = _tables(document), mark_of([document])
    for table in made if mark else ():
        table.title = f"[{MARK_STYLE}]{mark}[/]\n{table.title}"
    return made


def _tables(document: Mapping[str, Any]) -> list[Table]:
    cold = rows(document, "cold")
    if not has_speed(document):
        return [_verdicts(cold)]
    made = []
    for cache, words in (("cold", "L2 flushed before each call"), ("hot", "L2 just used")):
        listed = rows(document, cache)
        for decode in (False, True):
            part = [row for row in listed if row.problem.is_decode == decode]
            if part:
                made.append(_rates(part, words, decode=decode))
    return made


def _rates(listed: Sequence[Row], words: str, *, decode: bool) -> Table:
    from rich.table import Table

    unit, scale = ("GB/s of K and V", _GB) if decode else ("TFLOP/s", _TFLOP)
    ceiling = "read" if decode else "GEMM"
    shown = {
        name
        for row in listed
        for name, cell in row.cells.items()
        if cell["verdict"] != "unsupported"
    }
    providers = [name for name in NAMES if name in shown]
    table = Table(title=f"Attention, {unit}: {words}", title_justify="left")
    table.add_column("problem", no_wrap=True)
    for name in providers:
        table.add_column(_SHORT.get(name, name), justify="right")
    table.add_column(f"% of {ceiling}", justify="right")
    table.add_column("ours / best peer", justify="right")
    for row in listed:
        table.add_row(
            _words(row.problem),
            *(_rate(row, name, scale) for name in providers),
            _share(row),
            f"{row.ratio:.3f}" if row.ratio else "-",
        )
    mean = geometric_mean(row.ratio for row in listed if row.ratio)
    table.add_section()
    blank = [""] * (len(providers) + 1)
    table.add_row("geometric mean", *blank, f"{mean:.3f}" if mean else "-")
    return table


def _rate(row: Row, name: str, scale: float) -> str:
    rate = row.rate(name)
    if rate is None:
        verdict = row.cells.get(name, {}).get("verdict", "-")
        return "-" if verdict == "unsupported" else str(verdict)
    mark = "~" if row.cells[name]["verdict"] != "ok" else ""
    best = row.best(row.cells)
    text = f"{mark}{rate / scale:,.0f}"
    return f"[bold]{text}[/]" if best and best[0] == name else text


def _share(row: Row) -> str:
    ours = row.best(OURS)
    share = row.cells[ours[0]]["share_of_ceiling"] if ours else None
    return f"{share:.0%}" if share else "-"


def _words(problem: Problem) -> str:
    mask = "causal" if problem.causal else "full"
    heads = f"{problem.heads}"
    if problem.kv_heads != problem.heads:
        heads += f"/{problem.kv_heads}"
    lengths = f"k{problem.kv_len}" if problem.is_decode else f"s{problem.q_len}"
    if problem.q_len not in (1, problem.kv_len):
        lengths = f"q{problem.q_len} k{problem.kv_len}"
    return f"{problem.dtype} d{problem.head_dim} {mask} b{problem.batch} h{heads} {lengths}"


def _verdicts(listed: Sequence[Row]) -> Table:
    from rich.table import Table

    title = "Attention in Triton's interpreter: correctness against fp32, no speed"
    table = Table(title=title, title_justify="left")
    for name in ("problem", "provider", "verdict", "max abs (limit)", "relative L2"):
        table.add_column(name, no_wrap=name != "verdict")
    for row in listed:
        for name, cell in row.cells.items():
            found = cell.get("accuracy")
            if found is None:
                continue
            errors = f"{found['max_abs']:.1e} ({found['max_abs_limit']:.1e})"
            verdict = cell["verdict"] if cell["reason"] is None else cell["reason"]
            table.add_row(_words(row.problem), name, verdict, errors, f"{found['rel_l2']:.1e}")
    return table


def has_picture(document: Mapping[str, Any]) -> bool:
    """Whether the file holds what `figure` draws: prompts of 16,384 tokens, timed."""
    return any(drawn(row) for row in rows(document, "cold"))


def figure(document: Mapping[str, Any]) -> Figure:
    """Draw TFLOP/s over length, a panel each head_dim and mask, of 16,384 tokens.

    Raises UsageError when nothing with a speed is there to draw.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    block = document.get("perfkit_attention", {})
    chosen = [row for row in rows(document, "cold") if drawn(row)]
    if not chosen:
        raise UsageError("nothing to draw: no prompts of 16,384 tokens were timed on a GPU")
    panels: dict[tuple[int, bool], list[Row]] = {}
    for row in chosen:
        panels.setdefault((row.problem.head_dim, row.problem.causal), []).append(row)
    canvas = Figure(figsize=(11, 3.7 * math.ceil(len(panels) / 2) + 1.1), layout="constrained")
    FigureCanvasAgg(canvas)
    machine = block.get("machine", {}).get("name", "")
    date = block.get("session", {}).get("started", "")[:10]
    canvas.suptitle(
        f"Attention forward, bf16, L2 flushed before each call\n{machine}  |  {date}",
        fontsize=12, color=INK,
    )  # fmt: skip
    columns = min(2, len(panels))
    shape = (math.ceil(len(panels) / columns), columns)
    grid = canvas.subplots(*shape, squeeze=False, sharey=True).flat
    gemm = (block.get("ceilings") or {}).get("gemm_flop_per_s", {}).get("bf16")
    for axes, ((head_dim, causal), listed) in zip(grid, sorted(panels.items()), strict=False):
        _panel(axes, listed, gemm)
        mask = "causal, half the FLOPs counted" if causal else "full"
        axes.set_title(f"head_dim {head_dim}, {mask}", fontsize=10, loc="left", color=INK)
    timed = {name for row in chosen for name in row.cells if row.rate(name)}
    legend_below(canvas, _legend([name for name in NAMES if name in timed], gemm))
    return canvas


def drawn(row: Row) -> bool:
    """Say whether the picture shows a problem: prompts of 16,384 tokens, timed."""
    problem = row.problem
    square = problem.q_len == problem.kv_len and problem.heads == problem.kv_heads
    whole = problem.batch * problem.q_len == 16384 and problem.heads * problem.head_dim == 2048
    return square and whole and any(row.rate(name) for name in row.cells)


def _panel(axes: Axes, listed: Sequence[Row], gemm: float | None) -> None:
    for name, colour in COLOURS.items():
        points = [
            (row.problem.q_len, rate / _TFLOP)
            for row in listed
            if (rate := row.rate(name)) is not None
        ]
        if points:
            ours = name in OURS
            axes.plot(
                *zip(*points, strict=True), marker="o", markersize=4 if ours else 3, color=colour,
                linewidth=2.4 if ours else 1.3, zorder=3 if ours else 2,
            )  # fmt: skip
    if gemm:
        axes.axhline(gemm / _TFLOP, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    lengths = sorted({row.problem.q_len for row in listed})
    axes.set_xscale("log", base=2)
    axes.set_xticks(lengths, [f"{n // 1024}k" if n >= 1024 else str(n) for n in lengths])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("sequence length in tokens (batch x length = 16,384)", fontsize=8)
    axes.set_ylabel("TFLOP/s", fontsize=8)
    tidy(axes, "y")


def _legend(names: Sequence[str], gemm: float | None) -> list[Any]:
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=COLOURS[name], linewidth=2.4 if name in OURS else 1.3, label=name)
        for name in names
        if name in COLOURS
    ]
    if gemm:
        label = f"GEMM ceiling, {gemm / _TFLOP:,.0f} TFLOP/s"
        lines.append(Line2D([], [], color=INK, linestyle=(0, (4, 3)), linewidth=1, label=label))
    return lines
