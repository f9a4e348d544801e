"""The FMHA ablation for people: Markdown, a piece of HTML, JSON and a picture, from stored runs."""

from __future__ import annotations

import html
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from perfkit.reporting.drawing import FAINT, blank, tidy
from perfkit.reporting.gate import percent
from perfkit.reporting.looks import looks
from perfkit.reporting.tables import DASH, markdown_table
from perfkit.results.ablation import FIGURES, PHASES, QUOTED
from perfkit.results.validity import machine_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.table import Table

    from perfkit.reporting.looks import Look
    from perfkit.results.ablation import Change, Pair
    from perfkit.results.store import Document

HEADERS = (
    "pair", "attention", "prefill ran", "decode ran", "TTFT", "TPOT", "E2E", "output tok/s",
    "peak memory", "runs",
)  # fmt: skip
# What the picture shows, and which way is better.
DRAWN = {
    "ttft_s": "TTFT, change in %  (less is better)",
    "tpot_s": "TPOT, change in %  (less is better)",
    "output_tokens_per_s": "output tok/s, change in %  (more is better)",
}
QUOTED_AT = {"tpot_s": -30.0, "output_tokens_per_s": 40.0}
_ROW_IN = 0.24


def rows(pairs: Iterable[Pair]) -> list[tuple[str, ...]]:
    """Return a row of text a pair, as HEADERS name the columns; a refused one says why."""
    made = []
    for pair in pairs:
        ran = (f"{before} → {after}" for before, after in (pair.actual[phase] for phase in PHASES))
        head = (about(pair.case), str(pair.case["attention"]), *ran)
        if pair.refused is not None:
            made.append((*head, f"refused: {pair.refused}", *[DASH] * 5))
            continue
        changes = [pair.changes.get(name) for name in FIGURES]
        count = max((change.runs for change in changes if change is not None), default=0)
        made.append((*head, *map(told, changes), str(count)))
    return made


def told(change: Change | None) -> str:
    """Return a change with its interval over runs, where there is one."""
    if change is None:
        return DASH
    if change.interval is None:
        return percent(change.value)
    low, high = change.interval
    return f"{percent(change.value)} ({percent(low)} to {percent(high)})"


def about(case: Mapping[str, Any]) -> str:
    """Return a case in words, without its attention."""
    return (
        f"{case['backend']} {case['model']} {case['precision']} "
        f"b{case['batch']} p{case['prompt_len']} n{case['new_tokens']}"
        + (f" tp{case['tp']}" if case["tp"] > 1 else "")
    )


def quoted(pairs: Sequence[Pair]) -> list[str]:
    """Say for which pairs the often-quoted gain holds here, for which it does not, and why."""
    known = [pair for pair in pairs if pair.refused is None]
    if not known:
        return [f'Quoted: "{QUOTED}". No pair here can say anything about it.']
    return [
        f'Quoted: "{QUOTED}". Taken as TPOT lower by 24 % or more, and 1.32 x tok/s or more.',
        *_holds("latency per token", known, [pair.lower_latency for pair in known]),
        *_holds("tokens/s", known, [pair.more_tokens for pair in known]),
    ]


def _holds(what: str, pairs: Sequence[Pair], held: Sequence[bool | None]) -> list[str]:
    """Return a line on the pairs for which the quoted gain holds, and one on the others."""
    lines = []
    told_of = ((True, "holds"), (False, "does not hold"), (None, "is open, by its interval,"))
    for wanted, words in told_of:
        some = [pair for pair, holds in zip(pairs, held, strict=True) if holds is wanted]
        if some:
            names = "; ".join(label_of(pair) for pair in some)
            lines.append(f"- {what}: {words} for {len(some)} of {len(pairs)} pairs, {_why(some)}"
                         f"{_decode(some) if wanted is False else ''}: {names}.")  # fmt: skip
        elif wanted:
            lines.append(f"- {what}: holds for none of {len(pairs)} pairs.")
    return lines


def _why(pairs: Sequence[Pair]) -> str:
    """Tell prefill's share of the time, and what each phase gained."""
    shares = [100 * pair.prefill_share for pair in pairs if pair.prefill_share is not None]
    return (
        f"where prefill was {_span(shares, '{:.0f}')} % of nofmha's time, TTFT changed by "
        f"{_span(_values(pairs, 'ttft_s'), '{:+.0f}')} % and TPOT by "
        f"{_span(_values(pairs, 'tpot_s'), '{:+.0f}')} %"
    )


def _decode(pairs: Iterable[Pair]) -> str:
    """Say what a decode step cannot gain, and how near its ceiling it ran."""
    mbus = [100 * pair.decode_mbu for pair in pairs if pair.decode_mbu is not None]
    ran = f" (decode ran at {_span(mbus, '{:.0f}')} % of the copy ceiling)" if mbus else ""
    return f"; a decode step has one query row, and no matrix of scores to save{ran}"


def _values(pairs: Iterable[Pair], name: str) -> list[float]:
    return [100 * pair.changes[name].value for pair in pairs if name in pair.changes]


def _span(values: Sequence[float], form: str) -> str:
    if not values:
        return DASH
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"


def markdown(pairs: Sequence[Pair], documents: Sequence[Document]) -> str:
    """Return the report: what it is of, the quoted gain, and a table."""
    lines = ["# FMHA ablation", "", *_about_runs(documents), "", *quoted(pairs), ""]
    return "\n".join([*lines, *markdown_table(HEADERS, rows(pairs)), ""])


def html_fragment(pairs: Sequence[Pair], documents: Sequence[Document]) -> str:
    """Return the same as a piece of HTML without head or script, to be put into a page."""
    texts = [*_about_runs(documents), *(line.removeprefix("- ") for line in quoted(pairs))]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in HEADERS)
    body = "\n".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>"
        for row in rows(pairs)
    )
    told_lines = "\n".join(f"<p>{html.escape(text)}</p>" for text in texts)
    return (
        f'<section class="perfkit-ablation">\n<h2>FMHA ablation</h2>\n{told_lines}\n'
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</section>\n"
    )


def _about_runs(documents: Sequence[Document]) -> list[str]:
    """Say what was measured where, and what the figures are."""
    machines = Counter(machine_key(document) for document in documents)
    where = "; ".join(f"{name}: {count} runs" for name, count in machines.items())
    how = (
        "Each figure is fused ÷ nofmha - 1 within a run, the median over runs, with Student's 95 % "
        "interval over runs in brackets; one run has none. What ran is read from a profile of each "
        "arm: nofmha → fused."
    )
    return [f"{where}. {how}"]


def to_json(pairs: Sequence[Pair], documents: Sequence[Document]) -> dict[str, Any]:
    """Return plain values: every pair with its changes, and the sentences about the quoted gain."""
    return {
        "schema": 1,
        "about": _about_runs(documents),
        "quoted": quoted(pairs),
        "pairs": [
            asdict(pair) | {"lower_latency": pair.lower_latency, "more_tokens": pair.more_tokens}
            for pair in pairs
        ],
    }


def table(pairs: Sequence[Pair]) -> Table:
    """Return the table for a terminal."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for header in HEADERS:
        made.add_column(header, overflow="fold")
    for row in rows(pairs):
        made.add_row(*row)
    return made


def figure(pairs: Sequence[Pair]) -> Figure:
    """Return the picture: a line a pair, its changes with intervals, and what is often quoted."""
    machines = ", ".join(dict.fromkeys(pair.machine for pair in pairs))
    height_in = 1.9 + _ROW_IN * max(4, len(pairs))
    made = blank(height_in, f"Fused attention against nofmha\n{machines}")
    panels = made.subplots(1, len(DRAWN), sharey=True, squeeze=False)[0]
    arms = looks(str(pair.case["attention"]) for pair in pairs)
    for axes, (name, label) in zip(panels, DRAWN.items(), strict=True):
        _panel(axes, pairs, name, arms)
        axes.set_xlabel(label, fontsize=8)
    panels[0].set_yticks(range(len(pairs)), [label_of(pair) for pair in pairs])
    panels[0].tick_params(axis="y", labelsize=7)
    panels[0].set_ylim(len(pairs) - 0.4, -0.6)
    _legend(made, arms)
    return made


def label_of(pair: Pair) -> str:
    """Return a pair in words: its case and its fused arm."""
    return f"{about(pair.case)}  {pair.case['attention']}"


def _panel(axes: Axes, pairs: Sequence[Pair], name: str, arms: Mapping[str, Look]) -> None:
    tidy(axes, "x")
    _scale(axes, pairs, name)
    axes.axvline(0, color=FAINT, linewidth=0.8)
    if name in QUOTED_AT:
        axes.axvline(QUOTED_AT[name], color=FAINT, linewidth=0.9, linestyle=":")
    for y, pair in enumerate(pairs):
        change = pair.changes.get(name)
        if change is None:
            axes.annotate(
                "refused" if pair.refused else "no figure", (0, y), xytext=(4, 0),
                textcoords="offset points", fontsize=6.5, va="center", color=FAINT, style="italic",
            )  # fmt: skip
            continue
        value, look = 100 * change.value, arms[str(pair.case["attention"])]
        if change.interval is not None:
            low, high = (100 * end for end in change.interval)
            axes.plot([low, high], [y, y], color=look.colour, linewidth=1.4)
        axes.plot([value], [y], look.marker, color=look.colour, markersize=4)


def _scale(axes: Axes, pairs: Sequence[Pair], name: str) -> None:
    """Show zero, every change with its interval, and what is quoted; ticks inside alone."""
    from matplotlib.ticker import MaxNLocator

    shown = [change for pair in pairs if (change := pair.changes.get(name)) is not None]
    ends = [end for change in shown for end in (change.value, *(change.interval or ()))]
    values = [-5.0, 5.0, QUOTED_AT.get(name, 0.0), *(100 * end for end in ends)]
    room = 0.06 * (max(values) - min(values))
    low, high = min(values) - room, max(values) + room
    axes.set_xlim(low, high)
    axes.set_xticks([tick for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high])


def _legend(made: Figure, arms: Mapping[str, Look]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], color=look.colour, marker=look.marker, label=f"{arm}: median, 95 % over runs"
        )
        for arm, look in arms.items()
    ]
    handles.append(Line2D([], [], color=FAINT, linestyle=":", label="often quoted: -30 %, +40 %"))
    made.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
