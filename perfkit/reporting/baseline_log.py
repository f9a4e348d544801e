"""The entry that an accepted baseline leaves in its log: what replaces what, and by how much."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from perfkit.reporting.gate import percent
from perfkit.reporting.tables import DASH, markdown_table, short_id
from perfkit.results.gate import interval_of, own_change, own_interval
from perfkit.results.runs import HIGHER_IS_BETTER, METRICS, values_of
from perfkit.results.store import cells_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.results.gate import Rule
    from perfkit.results.runs import RunSet
    from perfkit.results.store import Document

_HEADERS = ("cell", "figure", "was", "is", "change", "95 % over runs", "spread of runs", "")


def entry_of(old: RunSet | None, new: RunSet, reason: str, day: str, rule: Rule) -> str:
    """Return the Markdown of an entry; ``old`` is None where there was no baseline."""
    replaced = "the first baseline here" if old is None else f"in place of {_whose(old)}"
    table = markdown_table(_HEADERS, _rows(old, new, rule))
    return "\n".join([f"## {day}: {reason}", "", f"{_whose(new)}, {replaced}.", "", *table, ""])


def _whose(runs: RunSet) -> str:
    return f"{len(runs.screening)} + {len(runs.confirming)} runs of " + ", ".join(
        dict.fromkeys(_commit(run) for run in runs.runs)
    )


def _commit(run: Document) -> str:
    found = run.get("commit_info") or {}
    changed = " with changes" if found.get("dirty") else ""
    return f"commit {str(found.get('id') or 'unknown')[:12]}{changed}"


def _rows(old: RunSet | None, new: RunSet, rule: Rule) -> Iterator[tuple[str, ...]]:
    sets = [one for one in (old, new) if one is not None]
    cells = dict.fromkeys(cell for one in sets for run in one.runs for cell in cells_of(run))
    for cell in cells:
        for name in METRICS:
            was = values_of(old.runs, cell, name) if old is not None else ()
            found = values_of(new.runs, cell, name)
            if was or found:
                yield (short_id(cell), name, *_row(was, found, name, rule))


def _row(
    was: tuple[float, ...], found: tuple[float, ...], name: str, rule: Rule
) -> tuple[str, ...]:
    spread = f"{statistics.stdev(found) / statistics.fmean(found):.1%}" if len(found) > 1 else DASH
    middles = [f"{statistics.median(one):.4g}" if one else DASH for one in (was, found)]
    if not was or not found:
        return (*middles, DASH, DASH, spread, "gone" if was else "new")
    higher = name in HIGHER_IS_BETTER
    base, fresh = ([1 / x for x in one] if higher else list(one) for one in (was, found))
    cost = statistics.median(fresh) / statistics.median(base) - 1
    found_interval = interval_of(base, fresh)
    low, high = found_interval or (0.0, 0.0)
    ends = own_interval(found_interval, higher)
    word = "worse" if low > rule.limit else "better" if high < -rule.limit else ""
    between = f"{percent(ends[0])} to {percent(ends[1])}" if ends else DASH
    return (*middles, percent(own_change(cost, higher)), between, spread, word)
