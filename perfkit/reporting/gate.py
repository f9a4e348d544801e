"""A gate's verdicts for people: the table, Markdown for a CI summary, and JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from perfkit.reporting.tables import DASH, markdown_table, short_id
from perfkit.results.gate import IMPROVED, REGRESSED, SAME
from perfkit.results.runs import HIGHER_IS_BETTER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.table import Table

    from perfkit.results.gate import Judgement
    from perfkit.results.outcome import Asked, Outcome

HEADERS = ("cell", "figure", "verdict", "change", "95 % over runs", "runs", "detectable", "p")
_STYLES = {REGRESSED: "bold red", IMPROVED: "green", SAME: "dim"}
_MEANINGS = {
    0: "nothing regressed",
    1: "REGRESSED",
    3: "not comparable: INVALID or MISSING",
    4: "INCONCLUSIVE: noise hides what should be seen",
}


def ranked(judgements: Iterable[Judgement]) -> list[Judgement]:
    """Return judgements, worst change first; those without a change before all others."""

    def harm(judgement: Judgement) -> float:
        if judgement.change is None:
            return float("inf")
        better = judgement.metric in HIGHER_IS_BETTER
        return -judgement.change if better else judgement.change

    return sorted(judgements, key=lambda one: (-harm(one), one.cell, one.metric))


def headline(outcome: Outcome, asked: Asked) -> str:
    """Return the verdict in one line: what exits, how many of each, what it cost."""
    counts = Counter(judgement.verdict for judgement in outcome.judgements)
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    cost = outcome.cell_runs / len(asked.cells) if asked.cells else 0.0
    return (
        f"{_MEANINGS[outcome.exit_code]} ({told}); {outcome.runs} runs, {cost:.2f} of each cell; "
        f"limit {asked.rule.limit:.1%}, to be seen {asked.rule.detect:.1%}, q {asked.rule.q:g}"
    )


def table(judgements: Sequence[Judgement]) -> Table:
    """Return a row a figure, worst change first."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for header in HEADERS:
        left = header in {"cell", "figure", "verdict"}
        made.add_column(header, justify="left" if left else "right", overflow="fold")
    for judgement in ranked(judgements):
        cell, figure, verdict, *rest = row_of(judgement)
        name = Text(cell)
        if judgement.reason:
            name.append(f"\n  {judgement.reason}", style="dim italic")
        style = _STYLES.get(judgement.verdict, "yellow")
        made.add_row(name, figure, Text(verdict, style=style), *rest)
    return made


def markdown(outcome: Outcome, asked: Asked) -> str:
    """Return a CI summary: the verdict, what is not SAME, and all figures folded below."""
    told = [one for one in ranked(outcome.judgements) if one.verdict != SAME]
    lines = [f"## perfkit gate: {headline(outcome, asked)}", ""]
    lines += [f"- {problem}" for problem in outcome.problems]
    lines += [*_markdown_rows(told), ""] if told else []
    lines += ["<details><summary>All figures</summary>", ""]
    lines += [*_markdown_rows(ranked(outcome.judgements)), "", "</details>", ""]
    return "\n".join(lines)


def _markdown_rows(judgements: Iterable[Judgement]) -> list[str]:
    rows = ((*row_of(judgement), judgement.reason or "") for judgement in judgements)
    return markdown_table((*HEADERS, "reason"), rows)


def to_json(outcome: Outcome, asked: Asked, **where: Any) -> dict[str, Any]:
    """Return plain values: the rule, the verdicts, and ``where`` they come from."""
    return {
        "schema": 1,
        **where,
        "exit_code": outcome.exit_code,
        "rule": asdict(asked.rule),
        "runs": outcome.runs,
        "cell_runs": outcome.cell_runs,
        "problems": list(outcome.problems),
        "judgements": [asdict(judgement) for judgement in ranked(outcome.judgements)],
    }


def row_of(judgement: Judgement) -> tuple[str, ...]:
    """Return a figure's verdict as text, a column each of HEADERS."""
    interval = judgement.interval
    runs = judgement.runs
    return (
        short_id(judgement.cell),
        _figure(judgement),
        judgement.verdict,
        percent(judgement.change),
        DASH if interval is None else f"{percent(interval[0])} to {percent(interval[1])}",
        f"{runs[0]} v {runs[1]}" if any(runs) else DASH,
        DASH if judgement.detectable is None else f"{judgement.detectable:.1%}",
        DASH if judgement.p is None else f"{judgement.p:.2g}",
    )


def _figure(judgement: Judgement) -> str:
    of_rounds = f" ({judgement.statistic})" if judgement.statistic else ""
    return f"{judgement.metric}{of_rounds}" or DASH


def percent(change: float | None) -> str:
    """Return a relative change with its sign, in percent."""
    return DASH if change is None else f"{change:+.1%}"
